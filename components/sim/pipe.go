package sim

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// segment is a run of bytes on its way. Content has a length only: nobody looks at it.
type segment struct {
	n    int
	data []byte // nil for content and messages
	msg  any    // arrives with the last byte
	end  bool   // of a run of content
}

// opaque reports whether s is content.
func (s *segment) opaque() bool { return s.data == nil && s.msg == nil }

// pipe is one direction of a connection: a sending end, which the uplink empties in turn, and a receiving end. One goroutine writes,
// one reads.
type pipe struct {
	net      *network
	up, down *link

	// The sending end, guarded by network.mu.
	unsent []segment
	ahead  int  // bytes in unsent
	held   int  // bytes of content that the writer has still to give
	parts  int  // bytes of content that were sent, and whose end was not
	flight int  // bytes on their way
	queued bool // among the uplink's turns
	broken bool
	last   time.Duration // when what was sent so far is through the downlink
	room   chan struct{} // capacity 1: there is room in the buffer

	mu     sync.Mutex // guards the receiving end: the fields below
	in     []segment
	closed bool
	ready  chan struct{} // capacity 1: in or closed has changed
}

func (n *network) pipe(from, to *link) *pipe {
	return &pipe{net: n, up: from, down: to, room: make(chan struct{}, 1), ready: make(chan struct{}, 1)}
}

// write queues a segment and waits while the sender is too far ahead of its uplink.
func (p *pipe) write(s segment) error {
	for {
		wait, err := p.accept(&s)
		if err != nil || !wait {
			return err
		}
		<-p.room
	}
}

// accept takes as much of s as the buffer has room for, and reports whether the writer has to wait: for the rest of content to be taken, or
// to try again. What has data or a message is taken whole.
func (p *pipe) accept(s *segment) (wait bool, err error) {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case p.broken:
		return false, net.ErrClosed
	case p.held > 0:
		return true, nil
	case s.n == 0:
		return false, nil
	case s.opaque():
		p.held, s.n = s.n, 0
		p.refill()
		p.queue()
		return p.held > 0, nil
	case p.ahead >= n.buffer:
		return true, nil
	}
	p.unsent = append(p.unsent, *s)
	p.ahead += s.n
	p.queue()
	return false, nil
}

// refill moves content that the writer holds to the buffer, as far as there is room. The writer itself is woken when all is there. Callers
// hold network.mu.
func (p *pipe) refill() {
	k := min(p.held, p.net.buffer-p.ahead)
	if k <= 0 {
		return
	}
	p.held -= k
	p.ahead += k
	s := segment{n: k, end: p.held == 0}
	if last := len(p.unsent) - 1; last >= 0 && p.unsent[last].opaque() && !p.unsent[last].end {
		s.n += p.unsent[last].n
		p.unsent[last] = s
		return
	}
	p.unsent = append(p.unsent, s)
}

// sends reports whether there is something that may be sent now. Callers hold network.mu.
func (p *pipe) sends() bool { return p.ahead > 0 && p.flight < p.net.window }

// queue gives p a turn at the uplink. Callers hold network.mu.
func (p *pipe) queue() {
	if p.queued || !p.sends() {
		return
	}
	p.queued = true
	if !p.net.fifo && p.ahead <= small {
		p.up.turns = slices.Insert(p.up.turns, 0, p)
	} else {
		p.up.turns = append(p.up.turns, p)
	}
	p.net.start(p.up, p.net.now())
}

// acknowledge notes that size bytes have arrived. Callers hold network.mu.
func (p *pipe) acknowledge(size int) {
	p.flight -= size
	p.queue()
}

// take removes up to limit bytes from the sending end. The parts of content before its end come with the end: nobody looks at them, and most
// quanta have nothing else. Callers hold network.mu.
func (p *pipe) take(limit int) (segs []segment, size int) {
	done := 0
	for done < len(p.unsent) && size < limit {
		s := &p.unsent[done]
		k := min(s.n, limit-size)
		size += k
		switch {
		case s.opaque() && s.end && k == s.n:
			segs = append(segs, segment{n: p.parts + k, end: true})
			p.parts = 0
		case s.opaque():
			p.parts += k
		case k == s.n:
			segs = append(segs, *s)
		case s.data != nil:
			segs = append(segs, segment{n: k, data: s.data[:k]})
			s.data = s.data[k:]
		}
		if s.n -= k; s.n == 0 {
			done++
		}
	}
	p.unsent = p.unsent[:copy(p.unsent, p.unsent[done:])]
	p.ahead -= size
	// As with TCP_NOTSENT_LOWAT, a sender that had to wait goes on when half of the buffer is empty.
	if p.ahead <= p.net.buffer/2 {
		if p.refill(); p.held == 0 {
			signal(p.room)
		}
	}
	return segs, size
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// deliver puts segments at the receiving end.
func (p *pipe) deliver(segs []segment) {
	p.mu.Lock()
	p.in = append(p.in, segs...)
	p.mu.Unlock()
	signal(p.ready)
}

// read takes what has come, in pieces of a segment; io.EOF when the pipe was closed. b is not written to where the bytes are content.
func (p *pipe) read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		if len(p.in) > 0 {
			s := &p.in[0]
			k := min(len(b), s.n)
			if s.data != nil {
				k = copy(b, s.data)
				s.data = s.data[k:]
			}
			if s.n -= k; s.n == 0 {
				p.in = p.in[1:]
			}
			p.mu.Unlock()
			return k, nil
		}
		closed := p.closed
		p.mu.Unlock()
		if closed {
			return 0, io.EOF
		}
		<-p.ready
	}
}

// receive waits for the next message.
func (p *pipe) receive(ctx context.Context) (any, error) {
	for {
		p.mu.Lock()
		for len(p.in) > 0 {
			s := p.in[0]
			p.in = p.in[1:]
			if s.msg != nil {
				p.mu.Unlock()
				return s.msg, nil
			}
		}
		closed := p.closed
		p.mu.Unlock()
		if closed {
			return nil, io.EOF
		}
		select {
		case <-p.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// close breaks the pipe at both ends, at once. What was not sent yet is lost.
func (p *pipe) close() {
	p.net.mu.Lock()
	p.broken, p.unsent, p.ahead, p.held = true, nil, 0, 0
	p.net.mu.Unlock()
	signal(p.room)
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	signal(p.ready)
}
