package upload

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

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
		if err := g.enter(t.Context(), nil); err != nil {
			t.Fatalf("first: %v", err)
		}
		second := make(chan error, 1)
		go func() { second <- g.enter(t.Context(), nil) }()
		synctest.Wait()
		if err := g.enter(t.Context(), nil); !errors.Is(err, errFull) {
			t.Errorf("third: got %v, want errFull", err)
		}
		if g.Load() != 2 {
			t.Errorf("load is %d, want 2", g.Load())
		}
		g.leave()
		synctest.Wait()
		if err := <-second; err != nil {
			t.Errorf("second: %v", err)
		}
		g.leave()
		if g.Load() != 0 {
			t.Errorf("load is %d after all left, want 0", g.Load())
		}
	})
}

func TestAFreedPlaceCallsTheLongestWaitingChild(t *testing.T) {
	t.Parallel()
	g := newGate(2, 0)
	for range 2 {
		if err := g.enter(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	var waiting []*listener
	for range 4 {
		l := newListener("task")
		waiting = append(waiting, l)
		if err := g.enter(t.Context(), l); !errors.Is(err, errFull) {
			t.Fatalf("got %v, want errFull", err)
		}
	}
	g.leave()
	// One for the place, one more in case the first has no use for it.
	for i, want := range []bool{true, true, false, false} {
		if got := called(waiting[i]); got != want {
			t.Errorf("child %d called: %v, want %v", i, got, want)
		}
	}
	g.leave()
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
		if err := g.enter(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- g.enter(ctx, nil) }()
		synctest.Wait()
		l := newListener("task")
		if err := g.enter(t.Context(), l); !errors.Is(err, errFull) {
			t.Fatalf("got %v, want errFull", err)
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
		if !called(l) {
			t.Error("nobody was called for the place of the one that went")
		}
		g.leave()
		if g.Load() != 0 {
			t.Errorf("load is %d, want 0", g.Load())
		}
	})
}

func TestAForgottenChildIsNotCalled(t *testing.T) {
	t.Parallel()
	g := newGate(1, 0)
	if err := g.enter(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	gone, stays := newListener("task"), newListener("task")
	for _, l := range []*listener{gone, stays} {
		if err := g.enter(t.Context(), l); !errors.Is(err, errFull) {
			t.Fatal(err)
		}
	}
	g.forget(gone)
	g.leave()
	if called(gone) || !called(stays) {
		t.Error("the place went to a child whose stream had ended")
	}
}
