package swarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

func TestAStreamShowsSignsOfLifeAndGoesOnWhereTheLastEnded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(ctx context.Context, n int, job seed.Job, p seed.Progress) error {
			p.Meta(taskMeta())
			for i := range pieceCount {
				p.Gained(digestOf(i))
				pass(time.Second)
			}
			return nil
		})
		u := w.register(request("p1"))
		first := w.listen("p1", u.Seq)
		after(3500 * time.Millisecond)
		first.hangUp()
		got := first.heard()
		if len(u.Pieces)+len(got.Pieces) != 4 || got.Seq != 4 {
			t.Errorf("heard of %d and %d pieces, seq %d, want 4 in all", len(u.Pieces), len(got.Pieces), got.Seq)
		}
		if first.pings < 3 {
			t.Errorf("heard %d signs of life in 3.5 s, want one each %v of silence", first.pings, pingAfter)
		}
		after(3 * time.Second)
		second := w.listen("p1", got.Seq)
		after(10 * time.Second)
		got = second.heard()
		if len(got.Pieces) != 4 || got.Pieces[0].Index != 4 || !got.Complete {
			t.Errorf("after coming back heard of %d pieces from %d on, complete %v, want 4 from 4 on", len(got.Pieces), got.Pieces[0].Index, got.Complete)
		}
		third := w.listen("p1", 9999)
		settle()
		if got := third.heard(); len(got.Pieces) != pieceCount {
			t.Errorf("with a number of another life heard of %d pieces, want all", len(got.Pieces))
		}
		if !errors.Is(second.err, io.EOF) {
			t.Errorf("the older stream ended with %v, want io.EOF", second.err)
		}
		third.hangUp()
		after(6 * time.Second)
		if _, err := w.Open(taskID, "p1", 0, false); !errors.Is(err, ErrUnknownPeer) {
			t.Errorf("after more than 5 s without a stream: %v, want ErrUnknownPeer", err)
		}
	})
}

func TestAnOldStreamShowsSignsOfLifeLessOften(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		w.register(request("p1"))
		st, err := w.Open(taskID, "p1", 0, false)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		began, allowed := time.Now(), api.PingInterval
		var told []time.Duration
		for last := began; time.Since(began) < 5*time.Minute; last = time.Now() {
			u, err := st.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if silence := time.Since(last); silence > allowed {
				t.Errorf("silent for %v at the age of %v, told were %v", silence, time.Since(began), allowed)
			}
			if u != nil && u.Ping != 0 {
				allowed = time.Duration(u.Ping) * time.Millisecond
				told = append(told, allowed)
				if age := time.Since(began); age < pingShare*allowed || age > pingShare*allowed+api.MaxPing {
					t.Errorf("told %v at the age of %v, want a tenth of it", allowed, age)
				}
			}
		}
		if want := []time.Duration{2 * time.Second, 4 * time.Second}; !slices.Equal(told, want) {
			t.Errorf("told silences of %v, want %v", told, want)
		}
	})
}

func TestATicketIsRenewedInTime(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		l := w.join(request("p1"))
		before := l.heard().Ticket
		after(4 * time.Minute)
		if l.heard().Ticket != before {
			t.Error("the ticket was renewed before half of its life")
		}
		after(2 * time.Minute)
		if l.heard().Ticket == before {
			t.Error("the ticket was not renewed after half of its life")
		}
	})
}

func TestParentsAreToldOnlyWhenTheyChange(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		l := w.join(request("p1"))
		after(time.Minute)
		if l.lists > 1 {
			t.Errorf("heard %d lists though nothing changed", l.lists)
		}
		lists := l.lists
		w.join(request("p2"))
		after(time.Second)
		if l.lists != lists+1 || !slices.Equal(names(l.heard().Parents), []string{"@seed", "p2"}) {
			t.Errorf("a peer came: heard %d new lists, last %v", l.lists-lists, names(l.heard().Parents))
		}
		alone := request("p3")
		alone.SeedOnly = true
		if u := w.register(alone); !slices.Equal(names(u.Parents), []string{"@seed"}) {
			t.Errorf("a peer that wants the seed only has parents %v", names(u.Parents))
		}
		after(time.Second)
		if l.lists != lists+1 {
			t.Error("a peer that is nobody's neighbour was told")
		}
	})
}

func TestAFailedStreamLingersForThePeerToEndIt(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, int, seed.Job, seed.Progress) error {
			pass(time.Second)
			return &seed.Refused{Status: 403}
		})
		l := w.join(request("p1"))
		after(2 * time.Second)
		if l.heard().Failed == nil {
			t.Fatal("heard of no failure")
		}
		select {
		case <-l.ended:
			t.Error("the stream ended at once: to a peer, that is a supernode that dies")
		default:
		}
		after(10 * time.Second)
		select {
		case <-l.ended:
		default:
			t.Error("the stream is still open")
		}
	})
}

func TestABadParentIsTakenAway(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		peers := w.joinAll(5)
		bad := func(child, parent, reason string) {
			w.report(child, api.Report{Bad: []api.BadParent{{Peer: parent, Piece: 1, Reason: reason}}})
			after(time.Second)
		}
		parents := func(i int) []string { return names(peers[i].heard().Parents) }
		after(time.Second)
		bad("p1", "p0", "it is ugly")
		bad("p1", "@seed", api.ReasonSlow)
		bad("p1", "nobody", api.ReasonSlow)
		if got, want := parents(1), []string{"@seed", "p0", "p2", "p3", "p4"}; !slices.Equal(got, want) {
			t.Fatalf("after complaints that mean nothing p1 has %v, want %v", got, want)
		}
		bad("p1", "p0", api.ReasonDigest)
		if slices.Contains(parents(1), "p0") || !slices.Contains(parents(2), "p0") {
			t.Errorf("after one complaint p1 has %v, p2 has %v; want p0 away from p1 alone", parents(1), parents(2))
		}
		bad("p1", "p0", api.ReasonDigest) // again says nothing new
		if !slices.Contains(parents(2), "p0") {
			t.Errorf("one peer alone took p0 away from p2")
		}
		bad("p2", "p0", api.ReasonUnreachable)
		if slices.Contains(parents(2), "p0") || !slices.Contains(parents(3), "p0") {
			t.Errorf("after a complaint that p0 is not reached p2 has %v, p3 has %v; want p0 away from p2 alone", parents(2), parents(3))
		}
		bad("p3", "p0", api.ReasonDigest)
		for i := 1; i < 5; i++ {
			if slices.Contains(parents(i), "p0") {
				t.Errorf("after complaints of two peers p%d still has p0", i)
			}
		}
		if got, want := parents(0), []string{"@seed", "p4"}; !slices.Equal(got, want) {
			t.Errorf("p0 itself has parents %v, want those who did not complain: %v", got, want)
		}
	})
}

func TestAParentThatManyDoNotReachIsNobodysParent(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		peers := w.joinAll(11)
		for i := 1; i <= missersToBar; i++ {
			after(time.Second)
			if got := names(peers[10].heard().Parents); !slices.Contains(got, "p0") {
				t.Errorf("%d complaints took p0 away from p10, want %d to be needed", i-1, missersToBar)
			}
			w.report(fmt.Sprint("p", i), api.Report{Bad: []api.BadParent{{Peer: "p0", Piece: -1, Reason: api.ReasonUnreachable}}})
		}
		after(time.Second)
		if got := names(peers[10].heard().Parents); slices.Contains(got, "p0") {
			t.Errorf("after %d complaints p10 has %v, want no p0", missersToBar, got)
		}
	})
}

func TestOneLiarCanNotEmptyTheSwarm(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		w.joinAll(100)
		for range 20 {
			list, err := w.Peers(taskID, "", 100)
			if err != nil {
				t.Fatal(err)
			}
			var r api.Report
			for _, p := range list.Peers[0].Parents {
				r.Bad = append(r.Bad, api.BadParent{Peer: p, Reason: api.ReasonDigest})
			}
			w.report(list.Peers[0].Peer, r)
		}
		list, err := w.Peers(taskID, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list.Peers[1:] {
			if len(p.Parents) < 8 {
				t.Errorf("%s has %d parents left, want 8 or more", p.Peer, len(p.Parents))
			}
		}
	})
}

func TestTheSeedGivesEachPieceOnceAndWaitsForMore(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(ctx context.Context, n int, job seed.Job, p seed.Progress) error {
			p.Meta(taskMeta())
			for i := range pieceCount {
				p.Gained(digestOf(i))
				pass(time.Second)
			}
			return nil
		})
		if _, _, err := w.Pick(t.Context(), taskID, 1); !errors.Is(err, ErrUnknownTask) {
			t.Fatalf("pick of an unknown task: %v", err)
		}
		w.join(request("p1"))
		settle()
		start := time.Now()
		for i := range int64(3) {
			off, n, err := w.Pick(t.Context(), taskID, 1<<20)
			if off != i*piece.MinSize || n != piece.MinSize || err != nil {
				t.Fatalf("pick %d gave %d bytes from %d: %v", i, n, off, err)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("three picks took %v, want 2s: pieces come once a second", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, _, err := w.Pick(ctx, taskID, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a pick with nothing fresh: %v, want the deadline", err)
		}
		w.Return(taskID, 0, 2*piece.MinSize)
		if off, n, err := w.Pick(t.Context(), taskID, 1<<20); off != 0 || n != 2*piece.MinSize || err != nil {
			t.Errorf("after a return, pick gave %d bytes from %d: %v", n, off, err)
		}
		after(10 * time.Second)
		w.report("p1", api.Report{Have: "3-5"})
		if off, n, err := w.Pick(t.Context(), taskID, 1<<20); off != 6*piece.MinSize || n != 2*piece.MinSize || err != nil {
			t.Errorf("after a peer has 3 to 5, pick gave %d bytes from %d: %v", n, off, err)
		}
		if _, _, err := w.Pick(t.Context(), taskID, 1<<20); !errors.Is(err, ErrNothingFresh) {
			t.Errorf("when all was sent: %v, want ErrNothingFresh", err)
		}
		w.report("p1", api.Report{Left: true})
		if off, n, err := w.Pick(t.Context(), taskID, 1<<20); off != 3*piece.MinSize || n != 3*piece.MinSize || err != nil {
			t.Errorf("after the only holder left, pick gave %d bytes from %d: %v", n, off, err)
		}
	})
}

func TestReportsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, down)
		w.register(request("p1"))
		meta := taskMeta()
		w.report("p1", api.Report{Meta: &meta, Pieces: pieces(0, 1, 2)})
		other := api.Meta{Length: taskLength + 1, PieceSize: piece.MinSize}
		for name, r := range map[string]api.Report{
			"pieces that are not there":    {Have: fmt.Sprint("0-", pieceCount)},
			"text":                         {Have: "all"},
			"another length":               {Meta: &other},
			"another digest":               {Pieces: []api.Piece{{Index: 0, SHA256: make([]byte, 32)}}},
			"a digest of the wrong length": {Pieces: []api.Piece{{Index: 4, SHA256: []byte{1}}}},
			"a piece that is not there":    {Pieces: []api.Piece{{Index: pieceCount, SHA256: make([]byte, 32)}}},
		} {
			if err := w.Report(taskID, "p1", &r); !errors.Is(err, ErrBadReport) {
				t.Errorf("%s: %v, want ErrBadReport", name, err)
			}
		}
		if err := w.Report(taskID, "p2", &api.Report{}); !errors.Is(err, ErrUnknownPeer) {
			t.Errorf("unknown peer: %v, want ErrUnknownPeer", err)
		}
		if err := w.Report(idOf("other"), "p1", &api.Report{}); !errors.Is(err, ErrUnknownPeer) {
			t.Errorf("unknown task: %v, want ErrUnknownPeer", err)
		}
		w.checkCounts()
	})
}

func TestAPeerMayHoldPiecesThatTheSwarmHasNotLearnedYet(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, down)
		w.register(request("p1"))
		w.register(request("p2"))
		meta := taskMeta()
		w.report("p1", api.Report{Meta: &meta, Pieces: pieces(0, 1, 2)})
		w.report("p2", api.Report{Have: "1-5"}) // it read the origin while the supernode restarted
		w.checkCounts()
		w.report("p1", api.Report{Pieces: pieces(3, 4)})
		w.report("p2", api.Report{Have: "1-5", Left: true})
		if info, err := w.Task(taskID); err != nil || info.Peers != 1 {
			t.Errorf("the task is %+v, %v, want the peer that left gone", info, err)
		}
		w.checkCounts()
	})
}

func TestASourceOfUnknownLengthCanNotMakeTablesLarge(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, down)
		w.register(request("p1"))
		meta := api.Meta{Length: -1, PieceSize: piece.UnknownSize}
		w.report("p1", api.Report{Meta: &meta, Pieces: pieces(0, 5)})
		if err := w.Report(taskID, "p1", &api.Report{Pieces: pieces(1 << 24)}); !errors.Is(err, ErrBadReport) {
			t.Errorf("a piece far behind the last one known: %v, want ErrBadReport", err)
		}
		meta.Length = 6*piece.UnknownSize - 3
		w.report("p1", api.Report{Meta: &meta, Pieces: pieces(1, 2, 3, 4), Have: "0-5", Complete: true})
		if info, err := w.Task(taskID); err != nil || info.State != api.TaskReady || info.Meta.Length != meta.Length {
			t.Errorf("the task is %+v, %v, want it ready", info, err)
		}
		meta.Length = 5 * piece.UnknownSize
		if err := w.Report(taskID, "p1", &api.Report{Meta: &meta}); err != nil {
			t.Errorf("a report of one who is no longer the source: %v, want it ignored", err)
		}
		w.checkCounts()
	})
}

func TestParseHaveReadsAscendingRangesOnly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text  string
		count int
		want  string // "" for an error
	}{
		{"0", 1, "0"},
		{"0-7", 8, "0-7"},
		{"0-1,3,5-7", 8, "0-1,3,5-7"},
		{"0,1", 8, "0-1"},
		{"8", 8, ""},
		{"0-8", 8, ""},
		{"3-1", 8, ""},
		{"1,0", 8, ""},
		{"0-3,3", 8, ""},
		{"", 8, ""},
		{"0,", 8, ""},
		{"-1", 8, ""},
		{"1-", 8, ""},
		{"+1", 8, ""},
		{"0-99999999999", 8, ""},
		{"0", 0, ""},
	} {
		got, err := parseHave(tc.text, tc.count)
		switch {
		case tc.want == "" && !errors.Is(err, ErrBadReport):
			t.Errorf("parseHave(%q, %d): %v, want ErrBadReport", tc.text, tc.count, err)
		case tc.want != "" && (err != nil || piece.FormatRanges(got) != tc.want):
			t.Errorf("parseHave(%q, %d) = %v, %v, want %s", tc.text, tc.count, got, err, tc.want)
		}
	}
}

func FuzzParseHave(f *testing.F) {
	for _, text := range []string{"", "0", "0-7", "0-1,3,5-7", "7-", "-", "1,0", "18446744073709551615", "0-4294967295"} {
		f.Add(text, uint16(8))
	}
	f.Fuzz(func(t *testing.T, text string, count uint16) {
		got, err := parseHave(text, int(count))
		if err != nil {
			return
		}
		if last, ok := lastOf(got); ok && last >= uint(count) {
			t.Fatalf("%q of %d pieces gives piece %d", text, count, last)
		}
		again, err := parseHave(piece.FormatRanges(got), int(count))
		if got.Any() && (err != nil || !again.Equal(got)) {
			t.Fatalf("%q: what was read and written is not read again: %v", text, err)
		}
	})
}

func lastOf(s *bitset.BitSet) (last uint, ok bool) {
	for i := range s.EachSet() {
		last, ok = i, true
	}
	return last, ok
}

// TestCountsHoldThroughRandomLives lets peers do anything in any order, and looks whether what the swarm counts is what is so.
func TestCountsHoldThroughRandomLives(t *testing.T) {
	t.Parallel()
	for run := range uint64(3) {
		t.Run(fmt.Sprint("run ", run), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(run, 1))
				w := newWorld(t, func(ctx context.Context, n int, job seed.Job, p seed.Progress) error {
					rng := rand.New(rand.NewPCG(run, uint64(n)))
					switch pass(time.Duration(rng.IntN(3)) * time.Second); rng.IntN(4) {
					case 0:
						return errDown
					case 1:
						return &seed.Refused{Status: 403}
					}
					return bring(ctx, n, job, p)
				})
				streams := map[string]*listener{}
				for range 120 {
					w.act(rng, fmt.Sprint("p", rng.IntN(12)), streams)
					after(time.Duration(rng.IntN(400)) * time.Millisecond)
					w.checkCounts()
				}
				for _, l := range streams {
					l.hangUp()
				}
				after(3 * time.Minute)
				if n := len(w.Tasks("", 10).Tasks); n != 0 {
					t.Errorf("%d tasks are in memory long after all went", n)
				}
			})
		})
	}
}

// act does something at random for a peer. Errors are part of life here.
func (w *world) act(rng *rand.Rand, name string, streams map[string]*listener) {
	meta := taskMeta()
	switch rng.IntN(12) {
	case 0, 1, 2:
		r := request(name)
		switch r.Private = rng.IntN(4) == 0; rng.IntN(3) {
		case 0:
			r = holdingRequest(name, rng.Perm(pieceCount)[:rng.IntN(pieceCount+1)]...)
		case 1:
			r.Origin.Header = map[string][]string{"Authorization": {fmt.Sprint(rng.IntN(20))}}
		}
		_, _ = w.Register(w.t.Context(), taskID, r, "192.0.2.1:8002")
	case 3, 4:
		if st, err := w.Open(taskID, name, 0, rng.IntN(2) == 0); err == nil {
			if l := streams[name]; l != nil {
				l.hangUp()
			}
			streams[name] = follow(st)
		}
	case 5:
		if l := streams[name]; l != nil {
			l.hangUp()
		}
	case 6:
		_ = w.Report(taskID, name, &api.Report{Have: strings.TrimRight(fmt.Sprintf("%d-%d", rng.IntN(4), 4+rng.IntN(4)), "-")})
	case 7:
		_ = w.Report(taskID, name, &api.Report{Complete: true, Have: "0-7"})
	case 8:
		_ = w.Report(taskID, name, &api.Report{Left: true})
	case 9:
		_ = w.Report(taskID, name, &api.Report{Meta: &meta, Pieces: pieces(rng.Perm(pieceCount)[:2]...)})
	case 10:
		_ = w.Report(taskID, name, &api.Report{SourceFailed: &api.Error{Code: api.CodeOrigin}})
	case 11:
		w.beat(beat("host-"+name, rng.Uint64N(3), []string{taskID, idOf("other")}[rng.IntN(2)]))
	}
}
