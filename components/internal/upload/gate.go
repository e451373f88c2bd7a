package upload

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errFull says that a gate has neither a slot nor a place in its queue.
var errFull = errors.New("upload: full")

const (
	// lateAfter is how many times the usual time a request may be served before its slot is given on.
	lateAfter = 4
	// firstUsual is the usual time of a request before there was any.
	firstUsual = 25 * time.Millisecond
	// maxLate bounds the requests beyond slots.
	maxLate = 16
	// fewBytes is the most that an answer of few bytes has: no more than what is on its way on a connection.
	fewBytes = 64 << 10
	// fewAtOnce is how many of them are served at once.
	fewAtOnce = 2
)

// gate admits requests to the uplink: slots are served at once, and up to queue more wait in order. It remembers the children it
// turned away and calls one for each place that frees, so that an uplink never idles while somebody waits for it.
//
// There are few slots, since answers that share the uplink all come late. But there are several: a child takes as fast as the other answers
// on its link let it, and what it leaves of the uplink is for the next. An answer of few bytes is in the kernel's hands at once, and its slot
// free while the bytes are on their way: it counts for several, else too many would share the uplink.
//
// A child that takes slowly leaves the uplink idle: a request that is served for much longer than usual keeps its answer and gives its
// slot on.
type gate struct {
	slots, queue int

	mu      sync.Mutex    // guards the fields below
	active  int           // requests in a slot
	serving int           // slots taken
	share   int           // slots of the request that came last
	late    int           // served beyond slots
	line    []*turn       // admitted and waiting for a slot, in order of arrival
	waiters waitlist      // turned away
	usual   time.Duration // smoothed time of a request in its slot
}

// turn is one admitted request. ready is closed when it has a slot.
type turn struct {
	gate  *gate
	share int // of the slots
	ready chan struct{}
	since time.Time   // it has the slot; guarded by gate.mu
	timer *time.Timer // likewise
	late  bool        // likewise: its slot was given on
}

func newGate(slots, queue int) *gate {
	return &gate{slots: slots, queue: queue, share: 1, usual: firstUsual}
}

// shareOf is how many slots an answer of n bytes takes.
func (g *gate) shareOf(n int64) int {
	if n > fewBytes {
		return 1
	}
	return max(1, g.slots/fewAtOnce)
}

// enter waits for a slot, for an answer of n bytes. It returns errFull at once when there is no place, after putting l on the waiting list
// (unless nil), or ctx's error. After a nil error the caller must call leave on the turn.
func (g *gate) enter(ctx context.Context, l *listener, n int64) (*turn, error) {
	t := &turn{gate: g, ready: make(chan struct{}), share: g.shareOf(n)}
	g.mu.Lock()
	g.share = t.share
	if len(g.line) == 0 && g.fits(t) {
		g.serve(t)
		g.mu.Unlock()
		return t, nil
	}
	if len(g.line) >= g.queue {
		if l != nil {
			g.waiters.add(l)
		}
		g.mu.Unlock()
		return nil, errFull
	}
	g.line = append(g.line, t)
	g.mu.Unlock()

	select {
	case <-t.ready:
		return t, nil
	case <-ctx.Done():
		g.abandon(t)
		return nil, ctx.Err()
	}
}

// fits reports whether there are slots for t. Callers hold mu.
func (g *gate) fits(t *turn) bool { return g.serving+t.share <= g.slots }

// serve gives t a slot. Callers hold mu.
func (g *gate) serve(t *turn) {
	g.active++
	g.serving += t.share
	close(t.ready)
	t.since = time.Now()
	t.timer = time.AfterFunc(lateAfter*g.usual, t.giveOn)
}

// giveOn gives the slot of a request that takes too long to the next.
func (t *turn) giveOn() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.since.IsZero() || g.late >= maxLate {
		return
	}
	t.late = true
	g.late++
	g.note(time.Since(t.since))
	g.free(t)
}

// note smooths the time of a request in its slot. Callers hold mu.
func (g *gate) note(took time.Duration) {
	const part = 16 // of the newest
	g.usual += (took - g.usual) / part
	g.usual = max(g.usual, time.Millisecond)
}

// leave ends the turn.
func (t *turn) leave() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	t.timer.Stop()
	if t.late {
		g.late--
	} else {
		g.note(time.Since(t.since))
		g.free(t)
	}
	t.since = time.Time{}
}

// abandon takes t out of the line, or gives its slot on when it got one in the meantime.
func (g *gate) abandon(t *turn) {
	g.mu.Lock()
	for i, other := range g.line {
		if other == t {
			g.line = append(g.line[:i], g.line[i+1:]...)
			g.admit()
			g.mu.Unlock()
			return
		}
	}
	g.mu.Unlock()
	t.leave()
}

// free passes the slots of t on. Callers hold mu.
func (g *gate) free(t *turn) {
	g.active--
	g.serving -= t.share
	g.admit()
}

// admit serves the first in line that slots are free for, and calls those who wait for a place. Callers hold mu.
func (g *gate) admit() {
	for len(g.line) > 0 && g.fits(g.line[0]) {
		g.serve(g.line[0])
		g.line = g.line[1:]
	}
	g.call()
}

// call wakes waiting children for the places that are free: one each, and one more in case the first has no use for its place any
// longer. When the uplink idles all are called. Callers hold mu.
func (g *gate) call() {
	n := (g.slots-g.serving)/g.share + g.queue - len(g.line) + 1
	if g.serving == 0 {
		n = g.waiters.len()
	}
	for range n {
		l := g.waiters.next()
		if l == nil {
			return
		}
		l.call()
	}
}

// Load is the number of admitted requests, served or waiting.
func (g *gate) Load() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.active + g.late + len(g.line)
}

// forget takes a child off the waiting list, for when its availability stream ends.
func (g *gate) forget(l *listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiters.remove(l)
}
