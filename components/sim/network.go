package sim

import (
	"context"
	"sync"
	"time"
)

const (
	// quantum is how much one flow sends before the next has its turn, in bytes: flows of one link share it as TCP's do, about.
	quantum = 16 << 10
	// small is what passes by content in queues that are not FIFO, in bytes: requests, news, a few updates.
	small = 2 << 10
	// maxGrain bounds what moments are rounded up to, a fifth of the latency, so that what happens at nearly the same time happens in one
	// step. Links keep exact time.
	maxGrain = 100 * time.Microsecond
)

// network moves bytes between nodes. Each node has an uplink and a downlink; between them are links without limit.
type network struct {
	epoch   time.Time
	latency time.Duration // one way
	grain   time.Duration // of moments
	buffer  int           // bytes that a sender may be ahead of its uplink, on one connection
	window  int           // bytes that may be on their way, on one connection
	fifo    bool          // small messages do not pass by

	mu     sync.Mutex // guards the fields below, all links, and the sending ends of pipes
	events agenda
	wake   time.Duration // when run looks next
	kick   chan struct{} // it is to look earlier
}

func newNetwork(cfg Config) *network {
	return &network{
		epoch: time.Now(), latency: cfg.Latency, grain: min(max(1, cfg.Latency/5), maxGrain), buffer: cfg.Buffer, window: cfg.Window,
		fifo: cfg.FIFO, kick: make(chan struct{}, 1), events: agenda{at: map[time.Duration][]event{}},
	}
}

// link is one direction of a node's connection to the network. Guarded by network.mu.
type link struct {
	perByte float64       // nanoseconds
	free    time.Duration // when what it was given so far is through
	busy    bool          // an uplink has something on the wire
	turns   []*pipe       // flows that have something to send, in turn
	worked  time.Duration // on the wire so far
	bytes   int64
}

func newLink(bytesPerSecond float64) *link { return &link{perByte: 1e9 / bytesPerSecond} }

func (l *link) time(n int) time.Duration { return time.Duration(float64(n) * l.perByte) }

// event is the end of a quantum on an uplink where up is set, the arrival of segments where there are any, else of the word that size bytes
// have arrived.
type event struct {
	up   *link
	to   *pipe
	segs []segment // nil for nothing but a part of content: only its end is looked for
	size int
}

func (n *network) now() time.Duration { return time.Since(n.epoch) }

// push books an event. Callers hold mu.
func (n *network) push(at time.Duration, e event) {
	at = (at + n.grain - 1).Truncate(n.grain)
	n.events.push(at, e)
	if at < n.wake {
		n.wake = at
		signal(n.kick)
	}
}

// run moves bytes until ctx ends.
func (n *network) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var arrived []event
	for {
		n.mu.Lock()
		now := n.now()
		arrived = arrived[:0]
		for e, at, ok := n.events.pop(now); ok; e, at, ok = n.events.pop(now) {
			switch {
			case e.up != nil:
				n.sent(e)
			case e.segs != nil:
				n.push(at+n.latency, event{to: e.to, size: e.size})
				arrived = append(arrived, e)
			default:
				e.to.acknowledge(e.size)
			}
		}
		n.wake = n.events.next(now + time.Hour)
		timer.Reset(n.wake - now)
		n.mu.Unlock()
		for _, e := range arrived {
			e.to.deliver(e.segs)
		}
		select {
		case <-timer.C:
		case <-n.kick:
		case <-ctx.Done():
			return
		}
	}
}

// sent ends a quantum: its bytes go on to the receiver, and the next flow has its turn. Callers hold mu.
func (n *network) sent(e event) {
	size, down := e.size, e.to.down
	through := max(e.up.free, down.free+down.time(size))
	if !n.fifo && size <= small {
		through = max(e.up.free, e.to.last)
		down.free += down.time(size)
	} else {
		down.free = through
	}
	e.to.last = through
	down.worked += down.time(size)
	down.bytes += int64(size)
	if e.segs != nil {
		n.push(through+n.latency, event{to: e.to, segs: e.segs, size: size})
	} else {
		n.push(through+2*n.latency, event{to: e.to, size: size})
	}
	e.up.busy = false
	n.start(e.up, e.up.free)
}

// start puts the next quantum on the wire, from the moment at on. Callers hold mu.
func (n *network) start(up *link, at time.Duration) {
	for !up.busy && len(up.turns) > 0 {
		p := up.turns[0]
		up.turns = up.turns[1:]
		segs, size := p.take(min(quantum, n.window-p.flight))
		if size == 0 {
			p.queued = false
			continue
		}
		p.flight += size
		if p.sends() {
			up.turns = append(up.turns, p)
		} else {
			p.queued = false
		}
		up.busy = true
		took := up.time(size)
		up.free = max(at, up.free) + took
		up.worked += took
		up.bytes += int64(size)
		n.push(up.free, event{up: up, to: p, segs: segs, size: size})
	}
}
