package sim

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

const (
	// quantum is how much one flow sends before the next has its turn, in bytes: flows of one link share it as TCP's do, about.
	quantum = 16 << 10
	// small is what passes by content in queues that are not FIFO, in bytes: requests, news, a few updates.
	small = 2 << 10
	// grain is what moments are rounded up to, so that what happens at nearly the same time happens in one step. Links keep exact time.
	grain = 20 * time.Microsecond
)

// network moves bytes between nodes. Each node has an uplink and a downlink; between them are links without limit.
type network struct {
	epoch   time.Time
	latency time.Duration // one way
	buffer  int           // bytes that a sender may be ahead of its uplink, on one connection
	window  int           // bytes that may be on their way, on one connection
	fifo    bool          // small messages do not pass by

	mu    sync.Mutex // guards the fields below, all links, and the sending ends of pipes
	queue eventQueue
	seq   uint64
	wake  time.Duration // when run looks next
	kick  chan struct{} // it is to look earlier
}

func newNetwork(cfg Config) *network {
	return &network{
		epoch: time.Now(), latency: cfg.Latency, buffer: cfg.Buffer, window: cfg.Window, fifo: cfg.FIFO, kick: make(chan struct{}, 1),
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
	at   time.Duration
	seq  uint64
	up   *link
	to   *pipe
	segs []segment
	size int
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

func (n *network) now() time.Duration { return time.Since(n.epoch) }

// push books an event. Callers hold mu.
func (n *network) push(e event) {
	e.at = (e.at + grain - 1).Truncate(grain)
	n.seq++
	e.seq = n.seq
	heap.Push(&n.queue, e)
	if e.at < n.wake {
		n.wake = e.at
		select {
		case n.kick <- struct{}{}:
		default:
		}
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
		for len(n.queue) > 0 && n.queue[0].at <= now {
			e := heap.Pop(&n.queue).(event)
			switch {
			case e.up != nil:
				n.sent(e)
			case e.segs != nil:
				n.push(event{at: e.at + n.latency, to: e.to, size: e.size})
				arrived = append(arrived, e)
			default:
				e.to.acknowledge(e.size)
			}
		}
		n.wake = now + time.Hour
		if len(n.queue) > 0 {
			n.wake = n.queue[0].at
		}
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
	n.push(event{at: through + n.latency, to: e.to, segs: e.segs, size: size})
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
		n.push(event{at: up.free, up: up, to: p, segs: segs, size: size})
	}
}
