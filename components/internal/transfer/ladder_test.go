package transfer

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"
	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/mesh"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// noOrigin implements Origin where reading goes on until the download's end.
type noOrigin struct{}

func (noOrigin) Fetch(ctx context.Context, _ origin.Request, _ []origin.Range, _ origin.Sink) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestADownloadThatGainsNothingGoesToTheOriginUnlessThereIsReasonToWait(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		idle, host time.Duration
		away       bool // no session
		held       bool // a parent has the piece
		seed       bool // it is there, and has more to send
		silent     bool // the supernode tells of nothing new
		want       bool
	}{
		{"it gained something a moment ago", time.Second, time.Second, false, true, false, false, false},
		{"nothing comes to this host", 3 * time.Second, 3 * time.Second, false, true, false, false, true},
		{"others of this host gain, and a parent has the piece", 3 * time.Second, 0, false, true, false, false, false},
		{"others gain, and no parent has the piece", 3 * time.Second, 0, false, false, false, false, true},
		{"others gain, and no supernode is there", 3 * time.Second, 0, true, true, false, false, true},
		{"others gain, for long", 16 * time.Second, 0, false, true, false, false, true},
		{"it waits for its turn at the seed", 16 * time.Second, 16 * time.Second, false, true, true, false, false},
		{"it waits for its turn at the seed, for long", 31 * time.Second, 31 * time.Second, false, true, true, false, true},
		{"it waits for its turn, and the supernode tells of nothing new", 16 * time.Second, 16 * time.Second, false, true, true, true, true},
		{"the seed is there, and no supernode", 3 * time.Second, 3 * time.Second, true, true, true, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := still(Spec{ID: digest.FromString(tc.name).Encoded()})
			defer d.wg.Wait()
			defer d.cancel(nil)
			defer close(d.ended)
			task, err := d.m.deps.Store.Create(d.spec.ID, api.Meta{Length: 4 * piece.MinSize, PieceSize: piece.MinSize})
			if err != nil {
				t.Fatal(err)
			}
			defer task.Release()
			d.task, d.plan = task, mesh.New(mesh.Config{}, task.Layout(), rand.New(rand.NewPCG(1, 1)))
			d.said.Set(0)
			d.plan.Know(0)
			d.plan.AddParent("parent", false)
			if tc.seed {
				d.plan.AddParent("seed", true)
			}
			if tc.held {
				d.plan.Gained("parent", new(bitset.BitSet).Set(0), 0)
			}
			if !tc.away {
				d.session = &electing{}
			}
			d.idle.time, d.host.time = tc.idle, tc.host
			now := time.Now()
			d.told = now
			if tc.silent {
				d.told = now.Add(-tc.idle)
			}
			d.climb(now)
			if got := d.atOrigin.Load(); got != tc.want {
				t.Errorf("it went to the origin: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestTheOriginMayFailAsOftenAsItWillWhileTheSwarmBringsPieces(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		steps string // o: the origin fails; p, s, g: a piece comes from a peer, the seed, the origin
		want  bool   // it failed
	}{
		{"twice", "oo", false},
		{"three times in a row", "ooo", true},
		{"with a peer's piece between", "oopoo", false},
		{"with the seed's piece between", "oosoosoo", false},
		{"three times after a peer's piece", "oopooo", true},
		{"with pieces of the origin's own between", "ogogo", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := still(Spec{ID: digest.FromString(tc.name).Encoded()})
			defer d.cancel(nil)
			d.plan = mesh.New(mesh.Config{}, piece.NewLayout(64*piece.MinSize), rand.New(rand.NewPCG(1, 1)))
			d.session = &electing{}
			for i, step := range tc.steps {
				if step == 'o' {
					d.fetched(errors.New("no route"))
					continue
				}
				d.gained(map[rune]string{'p': fromPeers, 's': fromSeed, 'g': fromOrigin}[step], i, piece.MinSize)
			}
			if got := d.over(); got != tc.want {
				t.Errorf("after %s: the download failed: %v, want %v", tc.steps, got, tc.want)
			}
		})
	}
}

func TestALullEndsWithAPiecesWorthOfBytes(t *testing.T) {
	t.Parallel()
	var l lull
	for _, tc := range []struct {
		arrived int64
		want    time.Duration
	}{
		{0, tick},
		{piece.MinSize - 1, 2 * tick},
		{piece.MinSize, 0},
		{piece.MinSize + 1, tick},
		{2*piece.MinSize - 1, 2 * tick},
		{9 * piece.MinSize, 0},
		{9 * piece.MinSize, tick},
	} {
		if l.pass(tc.arrived); l.time != tc.want {
			t.Errorf("after %d bytes: %v, want %v", tc.arrived, l.time, tc.want)
		}
	}
}
