package swarm

import (
	"slices"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

// mutable is a registration for content that no digest names.
func mutable(name string) *api.RegisterRequest {
	r := request(name)
	r.Origin.Digest = ""
	return r
}

func keptSeed(check func() error) *fakeSeed {
	return &fakeSeed{
		fetch: bring, check: check,
		holding: map[string]seed.Holding{taskID: {Meta: taskMeta(), Pieces: allPieces(), Complete: true}},
	}
}

func TestKeptContentWithoutDigestIsGivenOnlyWhileTheOriginHasIt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		check   error
		fetches int
		status  int // of the failure; 0 for none
	}{
		"it is the same":                     {nil, 0, 0},
		"it changed":                         {seed.ErrInvalid, 1, 0},
		"the origin is down":                 {errDown, 0, 0},
		"the origin refuses whoever asks":    {&seed.Refused{Status: 403}, 0, 403},
		"the origin has no such content now": {&seed.Refused{Status: 404}, 0, 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				w := newWorldWith(t, Config{}, keptSeed(func() error {
					pass(time.Second)
					return tc.check
				}))
				u := w.register(mutable("p1"))
				if u.Meta == nil || u.Meta.Length != -1 || len(u.Pieces) > 0 || u.Complete {
					t.Errorf("before the origin answers, heard of %+v, %d pieces", u.Meta, len(u.Pieces))
				}
				l := w.listen("p1", u.Seq)
				after(2 * time.Second)
				got := l.heard()
				if tc.status > 0 {
					if got.Failed == nil || got.Failed.Status != tc.status || len(got.Pieces) > 0 {
						t.Errorf("heard failure %v and of %d pieces, want status %d and none", got.Failed, len(got.Pieces), tc.status)
					}
					return
				}
				if got.Failed != nil || !got.Complete || len(got.Pieces) != pieceCount || got.Meta == nil || got.Meta.Length != taskLength {
					t.Errorf("heard failure %v, of %d pieces, meta %+v", got.Failed, len(got.Pieces), got.Meta)
				}
				if n := len(w.seed.fetches()); n != tc.fetches {
					t.Errorf("the seed fetched %d times, want %d", n, tc.fetches)
				}
				w.checkCounts()
			})
		})
	}
}

func TestContentWithADigestIsNeverAskedFor(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorldWith(t, Config{}, keptSeed(func() error { return seed.ErrInvalid }))
		if u := w.register(request("p1")); !u.Complete {
			t.Errorf("the answer is not complete: %+v", u)
		}
		after(time.Minute)
		w.register(request("p2"))
		if w.seed.checks > 0 {
			t.Errorf("the origin was asked %d times", w.seed.checks)
		}
	})
}

func TestContentInMemoryIsAskedForNowAndThenButNotDuringATransfer(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorldWith(t, Config{}, keptSeed(func() error { return nil }))
		w.seed.holding = nil
		l := w.join(mutable("p1"))
		w.seed.holding = map[string]seed.Holding{taskID: {Meta: taskMeta(), Pieces: allPieces(), Complete: true}}
		after(30 * time.Second)
		w.join(mutable("p2")).hangUp()
		if w.seed.checks != 0 {
			t.Fatalf("the origin was asked %d times in the middle of a transfer", w.seed.checks)
		}
		w.report("p1", api.Report{Complete: true, Left: true})
		l.hangUp()
		after(6 * time.Second)
		w.register(mutable("p3"))
		if w.seed.checks != 1 {
			t.Fatalf("the origin was asked %d times, want once when all had left for a while", w.seed.checks)
		}
		w.report("p3", api.Report{Complete: true, Left: true})
		w.register(mutable("p4"))
		if w.seed.checks != 1 {
			t.Errorf("the origin was asked %d times within %v, want once", w.seed.checks, w.cfg.Recheck)
		}
	})
}

func TestAHostWithOldContentIsNoHolder(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		check   error
		fetches int
		parents []string
	}{
		"the host has what the origin has": {nil, 0, []string{"@h1", "@seed"}},
		"the origin has something else":    {seed.ErrInvalid, 1, []string{"@seed"}},
		"the origin can't be asked":        {errDown, 0, []string{"@h1", "@seed"}},
		"the origin refuses whoever asks":  {&seed.Refused{Status: 403}, 1, []string{"@seed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				w := newWorldWith(t, Config{}, &fakeSeed{fetch: bring, check: func() error { return tc.check }})
				w.manifests.answer = whole
				w.beat(beat("h1", 1, taskID))
				l := w.join(mutable("p1"))
				after(time.Second)
				if n := len(w.seed.fetches()); n != tc.fetches {
					t.Errorf("the seed fetched %d times, want %d", n, tc.fetches)
				}
				if got := names(l.heard().Parents); !slices.Equal(got, tc.parents) {
					t.Errorf("has parents %v, want %v", got, tc.parents)
				}
			})
		})
	}
}
