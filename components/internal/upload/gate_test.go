package upload

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// openGate is a gate that has been busy: all its slots are open.
func openGate(slots, queue int) *gate {
	g := newGate(slots, queue)
	g.opened, g.idle = slots, time.Now()
	return g
}

// waiting is how many requests of g wait for a slot.
func waiting(g *gate) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.line)
}

func mustEnter(t *testing.T, g *gate) *turn {
	t.Helper()
	turn, err := g.enter(t.Context(), "task", nil)
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
		if _, err := g.enter(t.Context(), "task", nil); !errors.Is(err, errFull) {
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
	g := openGate(2, 0)
	g.usual = time.Hour
	first, second := mustEnter(t, g), mustEnter(t, g)
	var waiting []*listener
	for range 4 {
		l := newListener("task")
		waiting = append(waiting, l)
		if _, err := g.enter(t.Context(), "task", l); !errors.Is(err, errFull) {
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
			_, err := g.enter(ctx, "task", nil)
			gone <- err
		}()
		synctest.Wait()
		l := newListener("task")
		if _, err := g.enter(t.Context(), "task", l); !errors.Is(err, errFull) {
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
		if _, err := g.enter(t.Context(), "task", l); !errors.Is(err, errFull) {
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
		if _, err := g.enter(t.Context(), "task", l); !errors.Is(err, errFull) {
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
			turn, err := g.enter(t.Context(), "task", nil)
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
		if g.Load() != 0 || g.active != 0 || g.late != 0 {
			t.Errorf("after all left: load %d, %d served, %d late", g.Load(), g.active, g.late)
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

func TestAGateBeginsWithOneAnswerAndOpensASlotWithEveryFour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slots = 5
		g := newGate(slots, 32)
		// run serves n answers, which take the same time each, and returns how many were served at once.
		run := func(n int) (served []int) {
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					turn, err := g.enter(t.Context(), "task", nil)
					if err != nil {
						t.Error(err)
						return
					}
					defer turn.leave()
					time.Sleep(10 * time.Millisecond) // the bubble's time, less than anything that is late
				})
			}
			for synctest.Wait(); g.Load() > 0; synctest.Wait() {
				served = append(served, g.Load()-waiting(g))
				time.Sleep(10 * time.Millisecond)
			}
			all.Wait()
			return served
		}
		for _, tc := range []struct {
			name string
			rest time.Duration // before
			want []int
		}{
			{"the first answers", 0, []int{1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 5, 4}},
			{"after a moment", rest / 2, []int{5, 5, 5, 5, 5, 5, 2}},
			{"after a rest", 2 * rest, []int{1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 5, 4}},
		} {
			time.Sleep(tc.rest)
			if got := run(32); !slices.Equal(got, tc.want) {
				t.Errorf("%s: %v at once, want %v", tc.name, got, tc.want)
			}
		}
	})
}

func TestARequestWhoseAnswerIsNotThereYetLendsItsSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 8)
		var served []string
		settle := func() { time.Sleep(time.Second); synctest.Wait() } // the bubble's time
		// ask enters for a task and, once it has a slot, waits for its answer, if there is something to wait for, and serves it for a moment.
		ask := func(name, task string, answer <-chan struct{}) {
			go func() {
				turn, err := g.enter(t.Context(), task, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer turn.leave()
				if answer != nil {
					turn.await(func() { <-answer })
				}
				served = append(served, name)
				time.Sleep(time.Millisecond)
			}()
			synctest.Wait()
		}
		first, second := make(chan struct{}), make(chan struct{})
		ask("first of a", "a", first)
		ask("second of a", "a", second)
		if n := waiting(g); n != 1 {
			t.Fatalf("%d wait in line, want the second of the task: its answer is not there either", n)
		}
		ask("first of b", "b", nil)
		settle()
		if want := []string{"first of b"}; !slices.Equal(served, want) {
			t.Fatalf("served %v, want %v: it passes those whose answer is not there", served, want)
		}
		close(second) // nothing comes of it: it is in line
		settle()
		close(first)
		settle()
		if want := []string{"first of b", "first of a", "second of a"}; !slices.Equal(served, want) {
			t.Errorf("served %v, want %v", served, want)
		}
		if g.Load() != 0 || g.active != 0 || g.late != 0 || len(g.dry) != 0 {
			t.Errorf("after all left: load %d, %d served, %d late, %d dry", g.Load(), g.active, g.late, len(g.dry))
		}
	})
}

func TestARequestThatGaveItsSlotOnMayWaitForItsAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1)
		turn := mustEnter(t, g)
		time.Sleep(2 * lateAfter * firstUsual)
		synctest.Wait()
		if g.late != 1 {
			t.Fatalf("%d late, want one", g.late)
		}
		turn.await(func() {
			if g.late != 0 || g.Load() != 1 {
				t.Errorf("while it waits: %d late and load %d, want 0 and 1", g.late, g.Load())
			}
		})
		if g.active != 1 {
			t.Errorf("%d served, want one", g.active)
		}
		turn.leave()
		if g.Load() != 0 || g.active != 0 || g.late != 0 {
			t.Errorf("after it left: load %d, %d served, %d late", g.Load(), g.active, g.late)
		}
	})
}
