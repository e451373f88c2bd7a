package upload

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// errFull says that a gate has neither a slot nor a place in its queue.
var errFull = errors.New("upload: full")

const (
	// lateAfter is how many times the usual time a request may be served before its slot is given on.
	lateAfter = 4
	// firstUsual is the usual time of a request before there was any.
	firstUsual = 100 * time.Millisecond
	// rest is how long a gate has nothing to do before it begins anew with one answer.
	rest = time.Second
	// openAfter is how many answers open one more slot. With one, 64 peers on links of 4 Mbit/s had their first byte half as late again.
	openAfter = 4
	// maxLate bounds the requests beyond slots.
	maxLate = 16
)

// gate admits requests to the uplink: slots are served at once, and up to queue more wait in order. It remembers the children it
// turned away and calls one for each place that frees, so that an uplink never idles while somebody waits for it.
//
// There are few slots, since answers that share the uplink all come late. But there are several: a child takes as fast as the other answers
// on its link let it, and what it leaves of the uplink is for the next.
//
// After a rest there is one slot, and one more with every few answers that are sent: what a swarm begins with is few pieces that everybody lacks,
// and one that is whole at some child can be passed on, while five halves can't.
//
// A child that takes slowly leaves the uplink idle: a request that is served for much longer than usual keeps its answer and gives its
// slot on. So does one whose answer is not there yet, and it has a slot again as soon as it is. Of each task only as many as there are open
// slots wait so; the others stay in line, and those of other tasks pass them.
type gate struct {
	slots, queue int

	mu      sync.Mutex     // guards the fields below
	active  int            // requests in a slot
	opened  int            // slots that may be used
	toOpen  int            // answers until there is one more
	idle    time.Time      // since when nothing is served
	late    int            // served beyond slots
	dry     map[string]int // requests that wait for their answer, by task
	line    []*turn        // admitted and waiting for a slot, in order of arrival
	waiters waitlist       // turned away
	usual   time.Duration  // smoothed time of a request in its slot
	noted   int            // requests in it, as far as they count
}

// turn is one admitted request. ready is closed when it has a slot.
type turn struct {
	gate  *gate
	task  string
	ready chan struct{}
	since time.Time   // it has the slot; guarded by gate.mu
	timer *time.Timer // likewise
	late  bool        // likewise: its slot was given on
}

func newGate(slots, queue int) *gate {
	return &gate{slots: slots, queue: queue, dry: map[string]int{}, opened: 1, toOpen: openAfter, usual: firstUsual}
}

// enter waits for a slot. It returns errFull at once when there is no place, after putting l on the waiting list
// (unless nil), or ctx's error. After a nil error the caller must call leave on the turn.
func (g *gate) enter(ctx context.Context, task string, l *listener) (*turn, error) {
	t := &turn{gate: g, task: task, ready: make(chan struct{})}
	g.mu.Lock()
	if g.active == 0 && len(g.line) == 0 && time.Since(g.idle) > rest {
		g.opened, g.toOpen = 1, openAfter
	}
	if g.active < g.opened && g.servable(task) { // then admit has left nobody in line who could be served
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

// servable reports whether requests of a task may have a slot. Callers hold mu.
func (g *gate) servable(task string) bool { return g.dry[task] < g.opened }

// next is the first in line that may have a slot, -1 if none may. Lines are long where one task is asked for by all. Callers hold mu.
func (g *gate) next() int {
	task, ok := "", false
	for i, t := range g.line {
		if i == 0 || t.task != task {
			task, ok = t.task, g.servable(t.task)
		}
		if ok {
			return i
		}
	}
	return -1
}

// serve gives t a slot. Callers hold mu.
func (g *gate) serve(t *turn) {
	close(t.ready)
	g.start(t)
}

// start counts t's time in its slot. Callers hold mu.
func (g *gate) start(t *turn) {
	g.active++
	t.since = time.Now()
	t.timer = time.AfterFunc(lateAfter*g.usual, t.giveOn)
}

// await runs f, which waits for t's answer, while another has t's slot. Then t is served at once.
func (t *turn) await(f func()) {
	g := t.gate
	g.mu.Lock()
	t.timer.Stop()
	if t.late {
		t.late = false
		g.late--
	} else {
		g.active--
	}
	t.since = time.Time{}
	g.dry[t.task]++
	g.admit()
	g.mu.Unlock()

	f()

	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dry[t.task]--; g.dry[t.task] == 0 {
		delete(g.dry, t.task)
	}
	g.start(t)
	g.admit()
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
	g.free()
}

// note smooths the time of a request in its slot. Callers hold mu.
func (g *gate) note(took time.Duration) {
	const most = 16 // the newest counts as one of so many
	g.noted = min(g.noted+1, most)
	g.usual += (took - g.usual) / time.Duration(g.noted)
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
		g.free()
	}
	t.since = time.Time{}
}

// abandon takes t out of the line, or gives its slot on when it got one in the meantime.
func (g *gate) abandon(t *turn) {
	g.mu.Lock()
	for i, other := range g.line {
		if other == t {
			g.line = slices.Delete(g.line, i, i+1)
			g.admit()
			g.mu.Unlock()
			return
		}
	}
	g.mu.Unlock()
	t.leave()
}

// free passes a slot on. Callers hold mu.
func (g *gate) free() {
	g.active--
	if g.toOpen--; g.toOpen == 0 {
		g.opened, g.toOpen = min(g.opened+1, g.slots), openAfter
	}
	if g.active == 0 {
		g.idle = time.Now()
	}
	g.admit()
}

// admit serves the first in line that slots are free for, and calls those who wait for a place. Callers hold mu.
func (g *gate) admit() {
	for g.active < g.opened {
		i := g.next()
		if i < 0 {
			break
		}
		g.serve(g.line[i])
		g.line = slices.Delete(g.line, i, i+1)
	}
	g.call()
}

// call wakes waiting children for the places that are free: one each, and one more in case the first has no use for its place any
// longer. When the uplink idles all are called. Callers hold mu.
func (g *gate) call() {
	n := g.opened - g.active + g.queue - len(g.line) + 1
	if g.active == 0 {
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
	n := g.active + g.late + len(g.line)
	for _, waiting := range g.dry {
		n += waiting
	}
	return n
}

// forget takes a child off the waiting list, for when its availability stream ends.
func (g *gate) forget(l *listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiters.remove(l)
}
