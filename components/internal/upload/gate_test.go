package upload

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func mustEnter(t *testing.T, g *gate) *turn {
	t.Helper()
	turn, err := g.enter(t.Context(), nil, fewBytes+1)
	if err != nil {
		t.Error(err)
	}
	return turn
}

func called(l *listener) bool {
	select {
	case <-l.room:
		return true
	default:
		return false
	}
}

func TestGateAdmitsSlotsThenQueueThenNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1)
		first := mustEnter(t, g)
		second := make(chan *turn, 1)
		go func() { second <- mustEnter(t, g) }()
		synctest.Wait()
		if _, err := g.enter(t.Context(), nil, fewBytes+1); !errors.Is(err, errFull) {
			t.Errorf("third: got %v, want errFull", err)
		}
		if g.Load() != 2 {
			t.Errorf("load is %d, want 2", g.Load())
		}
		first.leave()
		(<-second).leave()
		if g.Load() != 0 {
			t.Errorf("load is %d after all left, want 0", g.Load())
		}
	})
}

func TestAFreedPlaceCallsTheLongestWaitingChild(t *testing.T) {
	t.Parallel()
	g := newGate(2, 0)
	g.usual = time.Hour
	first, second := mustEnter(t, g), mustEnter(t, g)
	var waiting []*listener
	for range 4 {
		l := newListener("task")
		waiting = append(waiting, l)
		if _, err := g.enter(t.Context(), l, fewBytes+1); !errors.Is(err, errFull) {
			t.Fatalf("got %v, want errFull", err)
		}
	}
	first.leave()
	// One for the place, one more in case the first has no use for it.
	for i, want := range []bool{true, true, false, false} {
		if got := called(waiting[i]); got != want {
			t.Errorf("child %d called: %v, want %v", i, got, want)
		}
	}
	second.leave()
	for i, want := range []bool{false, false, true, true} {
		if got := called(waiting[i]); got != want {
			t.Errorf("child %d called by an idle uplink: %v, want %v", i, got, want)
		}
	}
}

func TestTasksTakeTurnsOnTheWaitingList(t *testing.T) {
	t.Parallel()
	var w waitlist
	a1, a2, a3, b1 := newListener("a"), newListener("a"), newListener("a"), newListener("b")
	for _, l := range []*listener{a1, a2, a3, b1, a1} {
		w.add(l)
	}
	if w.len() != 4 {
		t.Fatalf("%d wait, want 4: one that waits already is not added again", w.len())
	}
	for i, want := range []*listener{a1, b1, a2, a3, nil} {
		if got := w.next(); got != want {
			t.Errorf("turn %d is not the right child's", i)
		}
	}
}

func TestAWaiterThatGoesGivesItsPlaceOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1)
		served := mustEnter(t, g)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := g.enter(ctx, nil, fewBytes+1)
			gone <- err
		}()
		synctest.Wait()
		l := newListener("task")
		if _, err := g.enter(t.Context(), l, fewBytes+1); !errors.Is(err, errFull) {
			t.Fatalf("got %v, want errFull", err)
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
		if !called(l) {
			t.Error("nobody was called for the place of the one that went")
		}
		served.leave()
		if g.Load() != 0 {
			t.Errorf("load is %d, want 0", g.Load())
		}
	})
}

func TestAForgottenChildIsNotCalled(t *testing.T) {
	t.Parallel()
	g := newGate(1, 0)
	g.usual = time.Hour
	served := mustEnter(t, g)
	gone, stays := newListener("task"), newListener("task")
	for _, l := range []*listener{gone, stays} {
		if _, err := g.enter(t.Context(), l, fewBytes+1); !errors.Is(err, errFull) {
			t.Fatal(err)
		}
	}
	g.forget(gone)
	served.leave()
	if called(gone) || !called(stays) {
		t.Error("the place went to a child whose stream had ended")
	}
}

func TestASlowChildGivesItsSlotOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1)
		slow := mustEnter(t, g)
		began := time.Now()
		next := mustEnter(t, g) // waits until the slow one is late
		if waited := time.Since(began); waited != lateAfter*firstUsual {
			t.Errorf("the next waited %v, want %v", waited, lateAfter*firstUsual)
		}
		l := newListener("task")
		waits := make(chan *turn, 1)
		go func() { waits <- mustEnter(t, g) }()
		synctest.Wait()
		if _, err := g.enter(t.Context(), l, fewBytes+1); !errors.Is(err, errFull) {
			t.Errorf("got %v, want errFull: one slot was given on, not two", err)
		}
		if g.Load() != 3 {
			t.Errorf("load is %d, want 3: the slow one counts", g.Load())
		}
		slow.leave()
		if called(l) {
			t.Error("the slow one had no place to leave, but somebody was called")
		}
		next.leave()
		(<-waits).leave()
		if g.Load() != 0 {
			t.Errorf("load is %d after all left, want 0", g.Load())
		}
	})
}

func TestSlotsGivenOnAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 0)
		var all []*turn
		for {
			turn, err := g.enter(t.Context(), nil, fewBytes+1)
			if err != nil {
				break
			}
			all = append(all, turn)
			time.Sleep(time.Hour) // each is late, in the bubble's time
		}
		if len(all) != 1+maxLate {
			t.Errorf("%d requests are served at once, want %d", len(all), 1+maxLate)
		}
		for _, turn := range all {
			turn.leave()
		}
		if g.Load() != 0 || g.serving != 0 || g.late != 0 {
			t.Errorf("after all left: load %d, %d served, %d late", g.Load(), g.serving, g.late)
		}
	})
}

func TestWhatIsUsualFollowsTheUplink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 0)
		for range 100 {
			turn := mustEnter(t, g)
			time.Sleep(200 * time.Millisecond) // the bubble's time
			turn.leave()
		}
		if g.usual < 150*time.Millisecond || g.usual > 200*time.Millisecond {
			t.Errorf("100 requests of 200 ms made %v usual", g.usual)
		}
	})
}

func TestAnswersOfFewBytesTakeMoreOfTheSlots(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		slots int
		sizes []int64 // of requests that stay
		next  int64
		want  bool // served at once
	}{
		"the sixth large one":                              {6, []int64{1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20}, 1 << 20, true},
		"the seventh large one":                            {6, []int64{1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20}, 1 << 20, false},
		"the second small one":                             {6, []int64{fewBytes}, fewBytes, true},
		"the third small one":                              {6, []int64{fewBytes, 1}, fewBytes, false},
		"a small one beside three large ones":              {6, []int64{1 << 20, 1 << 20, 1 << 20}, fewBytes, true},
		"a small one beside four large ones":               {6, []int64{1 << 20, 1 << 20, 1 << 20, 1 << 20}, fewBytes, false},
		"a large one beside a small one":                   {6, []int64{fewBytes}, 1 << 20, true},
		"a small one where there is one slot":              {1, nil, fewBytes, true},
		"a small one where there is one slot, and taken":   {1, []int64{fewBytes}, fewBytes, false},
		"the second small one where there are three slots": {3, []int64{fewBytes}, fewBytes, true},
	} {
		g := newGate(tc.slots, 0)
		for _, n := range tc.sizes {
			turn, err := g.enter(t.Context(), nil, n)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			defer turn.leave()
		}
		turn, err := g.enter(t.Context(), nil, tc.next)
		if got := err == nil; got != tc.want {
			t.Errorf("%s: served at once: %v, want %v", name, got, tc.want)
		}
		if err == nil {
			turn.leave()
		}
		if g.Load() != len(tc.sizes) {
			t.Errorf("%s: load is %d, want %d", name, g.Load(), len(tc.sizes))
		}
	}
}

func TestASmallOneThatWaitsAndGoesLetsALargeOneIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(6, 2)
		for range 4 {
			turn, err := g.enter(t.Context(), nil, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			defer turn.leave()
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := g.enter(ctx, nil, fewBytes)
			gone <- err
		}()
		synctest.Wait()
		served := make(chan *turn, 1)
		go func() {
			turn, err := g.enter(t.Context(), nil, 1<<20)
			if err != nil {
				t.Error(err)
			}
			served <- turn
		}()
		synctest.Wait()
		if len(served) > 0 {
			t.Error("a request was served before the one that came earlier")
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
		(<-served).leave()
	})
}
