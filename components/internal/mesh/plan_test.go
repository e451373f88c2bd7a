package mesh

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

var start = time.Unix(1000, 0)

// newPlan returns a plan for pieces pieces of 64 KiB whose digests are all known.
func newPlan(pieces int) *Plan {
	p := New(Config{}, piece.Layout{Length: int64(pieces) << 16, Size: 1 << 16}, rand.New(rand.NewPCG(1, 2)))
	for i := range pieces {
		p.Know(i)
	}
	return p
}

func set(pieces ...uint) *bitset.BitSet {
	s := &bitset.BitSet{}
	for _, i := range pieces {
		s.Set(i)
	}
	return s
}

func text(orders []Order) string {
	s := ""
	for _, o := range orders {
		switch {
		case o.Pick:
			s += fmt.Sprintf("%s:pick ", o.Parent)
		case o.Hedge:
			s += fmt.Sprintf("%s:hedge%d+%d ", o.Parent, o.First, o.Count)
		default:
			s += fmt.Sprintf("%s:%d+%d ", o.Parent, o.First, o.Count)
		}
	}
	return s
}

func next(t *testing.T, p *Plan, now time.Time, want string) []Order {
	t.Helper()
	orders, _ := p.Next(now)
	if got := text(orders); got != want {
		t.Fatalf("got orders %q, want %q", got, want)
	}
	return orders
}

func TestASeedIsPickedFromAndAskedForNothingElse(t *testing.T) {
	t.Parallel()
	p := newPlan(8)
	p.cfg.Window = 2
	p.AddParent("seed", true)
	o := next(t, p, start, "seed:pick seed:pick ")
	next(t, p, start, "")
	for i := range 4 {
		p.Hold(i)
	}
	p.End(o[0].ID, Served, 4<<16, start.Add(time.Millisecond))
	next(t, p, start.Add(time.Millisecond), "seed:pick ")
}

func TestTheRarestPieceComesFirstAndTheReadersBeforeIt(t *testing.T) {
	t.Parallel()
	p := newPlan(6)
	for _, id := range []string{"a", "b", "c"} {
		p.AddParent(id, false)
	}
	p.Gained("a", set(0, 1, 2, 5), 0)
	p.Gained("b", set(0, 1, 2), 9)
	p.Gained("c", set(0, 1), 9)
	if got := p.best(p.parents["a"].have.Words()); got != 5 {
		t.Errorf("got piece %d, want 5, which only one parent holds", got)
	}
	p.Want(1, start)
	if got := p.best(p.parents["a"].have.Words()); got != 1 {
		t.Errorf("got piece %d, want 1, which a reader waits for", got)
	}
}

func TestTheLeastLoadedParentIsAskedFirst(t *testing.T) {
	t.Parallel()
	p := newPlan(2)
	p.AddParent("busy", false)
	p.AddParent("idle", false)
	p.Gained("busy", set(0), 5)
	p.Gained("idle", set(0), 1)
	next(t, p, start, "idle:0+1 ")
}

func TestParentsShareTheWindowWithTwoRequestsAtLeast(t *testing.T) {
	t.Parallel()
	for others, want := range map[int]int{0: 9, 1: 5, 3: 2, 9: 2} {
		p := newPlan(9)
		p.AddParent("a", false)
		for i := range others {
			p.AddParent(fmt.Sprint("other", i), false)
		}
		p.Gained("a", set(0, 1, 2, 3, 4, 5, 6, 7, 8), 0)
		if orders, _ := p.Next(start); len(orders) != want {
			t.Errorf("with %d others got %q, want %d requests", others, text(orders), want)
		}
	}
}

func TestASeedIsPickedFromWithTheWholeWindowWhileItIsAlone(t *testing.T) {
	t.Parallel()
	p := newPlan(9)
	p.AddParent("seed", true)
	next(t, p, start, strings.Repeat("seed:pick ", 10))
	p.AddParent("peer", false)
	next(t, p, start, "")
}

func TestTheWindowBoundsRequestsOverAllParents(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ window, parents, want int }{{4, 4, 4}, {0, 3, 9}, {0, 8, 10}, {0, 16, 10}} {
		p := newPlan(40)
		p.cfg.Window = cmp.Or(tc.window, p.cfg.Window)
		all := &bitset.BitSet{}
		for i := range 40 {
			all.Set(uint(i))
		}
		for i := range tc.parents {
			id := string(rune('a' + i))
			p.AddParent(id, false)
			p.Gained(id, all, 0)
		}
		if orders, _ := p.Next(start); len(orders) != tc.want {
			t.Errorf("window %d, %d parents: got %q, want %d requests", tc.window, tc.parents, text(orders), tc.want)
		}
	}
}

func TestAParentThatTurnedUsAwayIsAskedWhenItCallsOrAfterAWhile(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		then func(p *Plan) time.Time
	}{
		{"it calls", func(p *Plan) time.Time { p.Room("a", 0); return start }},
		{"time passes", func(*Plan) time.Time { return start.Add(250 * time.Millisecond) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPlan(1)
			p.AddParent("a", false)
			p.Gained("a", set(0), 0)
			o := next(t, p, start, "a:0+1 ")
			p.End(o[0].ID, Busy, 0, start)
			if orders, wake := p.Next(start); len(orders) != 0 || wake.IsZero() {
				t.Fatalf("got %q and wake %v, want no request and a time to wake", text(orders), wake)
			}
			next(t, p, tc.then(p), "a:0+1 ")
		})
	}
}

func TestAFailedRequestIsAskedElsewhere(t *testing.T) {
	t.Parallel()
	for _, how := range []Outcome{Lacking, Broken} {
		p := newPlan(1)
		p.AddParent("a", false)
		p.Gained("a", set(0), 0)
		o := next(t, p, start, "a:0+1 ")
		p.AddParent("b", false)
		p.Gained("b", set(0), 3)
		p.End(o[0].ID, how, 0, start)
		next(t, p, start, "b:0+1 ")
	}
}

func TestAFastParentIsAskedForRuns(t *testing.T) {
	t.Parallel()
	p := newPlan(64)
	p.cfg.Window = 2
	p.AddParent("a", false)
	all := &bitset.BitSet{}
	for i := range uint(64) {
		all.Set(i)
	}
	p.Gained("a", all, 0)
	o, _ := p.Next(start)
	for _, x := range o {
		p.Hold(x.First)
		p.End(x.ID, Served, 1<<16, start.Add(time.Millisecond)) // 64 MiB/s: 10 ms are 10 pieces
	}
	o, _ = p.Next(start.Add(time.Millisecond))
	if len(o) == 0 || o[0].Count < 2 || o[0].Count > 10 {
		t.Errorf("got %q, want runs of up to 10 pieces", text(o))
	}
	for _, x := range o {
		for i := x.First; i < x.First+x.Count; i++ {
			if p.have.Test(uint(i)) {
				t.Errorf("piece %d is asked for though it is held", i)
			}
		}
	}
}

func TestALateRequestIsHedgedOnceAndItsLoserIsUseless(t *testing.T) {
	t.Parallel()
	p := newPlan(1)
	p.AddParent("slow", false)
	p.Gained("slow", set(0), 0)
	first := next(t, p, start, "slow:0+1 ")
	p.AddParent("fast", false)
	p.Gained("fast", set(0), 0)
	late := start.Add(400 * time.Millisecond)
	second := next(t, p, late, "fast:hedge0+1 ")
	next(t, p, late.Add(time.Second), "")
	p.Hold(0)
	p.End(second[0].ID, Served, 1<<16, late)
	if ids := p.Useless(); len(ids) != 1 || ids[0] != first[0].ID {
		t.Errorf("useless are %v, want the slow parent's request %d", ids, first[0].ID)
	}
	if !p.Done() {
		t.Error("the plan is not done")
	}
}

func TestAtTheEndALateRequestIsAskedElsewhereSooner(t *testing.T) {
	t.Parallel()
	const usual = time.Second
	for _, tc := range []struct {
		name   string
		pieces int64
		known  []uint // beside the piece that is late
		after  time.Duration
	}{
		{"nothing else is missing", 1, nil, usual * 3 / 2},
		{"a piece can be asked for", 2, []uint{1}, 4 * usual},
		{"pieces are still to be told of", 3, nil, 4 * usual},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := New(Config{}, piece.Layout{Length: tc.pieces << 16, Size: 1 << 16}, rand.New(rand.NewPCG(1, 2)))
			p.Know(0)
			p.AddParent("slow", false)
			p.Gained("slow", set(0), 0)
			next(t, p, start, "slow:0+1 ")
			p.AddParent("busy", false)
			p.parents["busy"].busyUntil = start.Add(time.Hour)
			p.AddParent("fast", false)
			p.Gained("fast", set(0), 0)
			p.perRequest = usual
			for _, i := range tc.known {
				p.Know(int(i))
				p.Gained("busy", set(i), 0)
			}
			next(t, p, start.Add(tc.after-time.Millisecond), "")
			next(t, p, start.Add(tc.after), "fast:hedge0+1 ")
		})
	}
}

func TestWhatOnlyTheSeedHoldsIsAskedOfItWhenNobodyCanSpreadIt(t *testing.T) {
	t.Parallel()
	p := newPlan(2)
	p.cfg.Window = 2
	p.AddParent("seed", true)
	o := next(t, p, start, "seed:pick seed:pick ")
	p.AddParent("peer", false) // gains pieces still: it may bring them
	p.End(o[0].ID, PickOver, 0, start)
	p.End(o[1].ID, PickOver, 0, start)
	next(t, p, start, "")
	next(t, p, start.Add(200*time.Millisecond), "seed:0+1 seed:1+1 ")
}

func TestALateJoinerAsksTheSeedAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlan(1)
	p.cfg.Window = 2
	p.AddParent("seed", true)
	o := next(t, p, start, "seed:pick seed:pick ")
	p.End(o[0].ID, PickOver, 0, start)
	next(t, p, start, "seed:0+1 ")
}

func TestAParentThatLeavesTakesItsPiecesOutOfTheCount(t *testing.T) {
	t.Parallel()
	p := newPlan(2)
	p.AddParent("a", false)
	p.AddParent("b", false)
	p.Gained("a", set(0, 1), 0)
	p.Gained("b", set(1), 0)
	p.Gained("b", set(1), 0) // told twice counts once
	p.RemoveParent("a")
	if p.holders(0) != 0 || p.holders(1) != 1 {
		t.Errorf("holders are %d and %d, want 0 and 1", p.holders(0), p.holders(1))
	}
	if p.Reachable(0) || !p.Reachable(1) {
		t.Error("reachable is not what a parent holds")
	}
}

// TestRandomPlansNeverAskTwiceWithoutReason plays random events and looks whether the plan's books stay right.
func TestRandomPlansNeverAskTwiceWithoutReason(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := newPlan(40)
		p.AddParent("seed", true)
		now := start
		out := map[uint64]Order{}
		for step := 0; step < 3000 && !p.Done(); step++ {
			now = now.Add(time.Duration(r.IntN(50)) * time.Millisecond)
			id := string(rune('a' + r.IntN(6)))
			switch r.IntN(6) {
			case 0:
				p.AddParent(id, false)
			case 1:
				p.Gained(id, set(uint(r.IntN(40)), uint(r.IntN(40))), r.IntN(4))
			case 2:
				if r.IntN(20) == 0 {
					p.RemoveParent(id)
				}
			case 3:
				p.Want(p.NextMissing(r.IntN(40)), now)
			default:
				for k, o := range out {
					delete(out, k)
					finish(p, o, r, now)
					break
				}
			}
			orders, _ := p.Next(now)
			for _, o := range orders {
				if p.parents[o.Parent] == nil {
					t.Fatalf("seed %d: an order for %s, which is no parent", seed, o.Parent)
				}
				for i := o.First; i < o.First+o.Count && !o.Pick; i++ {
					if p.have.Test(uint(i)) {
						t.Fatalf("seed %d: piece %d is asked for though it is held", seed, i)
					}
				}
				out[o.ID] = o
			}
			if p.Outstanding() != len(out) {
				t.Fatalf("seed %d: the plan has %d requests out, want %d", seed, p.Outstanding(), len(out))
			}
		}
		if !p.Done() {
			t.Errorf("seed %d: the content is not complete after all steps", seed)
		}
	}
}

// finish ends a request in a random way.
func finish(p *Plan, o Order, r *rand.Rand, now time.Time) {
	how := []Outcome{Served, Served, Busy, Lacking, Broken}[r.IntN(5)]
	if o.Pick {
		how = []Outcome{PickAgain, PickOver, Broken}[r.IntN(3)]
	}
	if o.Parent == "seed" && how == Lacking {
		how = Broken
	}
	if how == Served {
		for i := o.First; i < o.First+o.Count; i++ {
			p.Hold(i)
		}
	}
	p.End(o.ID, how, int64(o.Count)<<16, now)
}
