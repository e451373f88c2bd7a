package upload

import (
	"context"
	"errors"
	"sync"
)

// errFull says that a gate has neither a slot nor a place in its queue.
var errFull = errors.New("upload: full")

// gate admits requests to the uplink: slots are served at once, and up to queue more wait in order. It remembers the children it
// turned away and calls one for each place that frees, so that an uplink never idles while somebody waits for it.
type gate struct {
	slots, queue int

	mu      sync.Mutex // guards the fields below
	serving int
	line    []*ticket // admitted and waiting for a slot, in order of arrival
	waiters waitlist  // turned away
}

// ticket is one place in the line; ready is closed when the slot is its own.
type ticket struct{ ready chan struct{} }

func newGate(slots, queue int) *gate { return &gate{slots: slots, queue: queue} }

// enter waits for a slot. It returns errFull at once when there is no place, after putting l on the waiting list (unless nil), or
// ctx's error. After a nil error the caller must call leave.
func (g *gate) enter(ctx context.Context, l *listener) error {
	g.mu.Lock()
	if g.serving < g.slots {
		g.serving++
		g.mu.Unlock()
		return nil
	}
	if len(g.line) >= g.queue {
		if l != nil {
			g.waiters.add(l)
		}
		g.mu.Unlock()
		return errFull
	}
	t := &ticket{ready: make(chan struct{})}
	g.line = append(g.line, t)
	g.mu.Unlock()

	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
		g.abandon(t)
		return ctx.Err()
	}
}

// abandon takes t out of the line, or gives its slot on when it got one in the meantime.
func (g *gate) abandon(t *ticket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.line {
		if other == t {
			g.line = append(g.line[:i], g.line[i+1:]...)
			g.call()
			return
		}
	}
	g.free()
}

// leave gives the slot back.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free()
}

// free passes a slot to the first in line. Callers hold mu.
func (g *gate) free() {
	if len(g.line) > 0 {
		close(g.line[0].ready)
		g.line = g.line[1:]
	} else {
		g.serving--
	}
	g.call()
}

// call wakes waiting children for the places that are free: one each, and one more in case the first has no use for its place any
// longer. When the uplink idles all are called. Callers hold mu.
func (g *gate) call() {
	n := g.slots + g.queue - g.load() + 1
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

// load is the number of admitted requests. Callers hold mu.
func (g *gate) load() int { return g.serving + len(g.line) }

// Load is the number of admitted requests, served or waiting.
func (g *gate) Load() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.load()
}

// forget takes a child off the waiting list, for when its availability stream ends.
func (g *gate) forget(l *listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiters.remove(l)
}
