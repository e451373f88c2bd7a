package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

var (
	errNoAddress = errors.New("parent has no address")
	errClosed    = errors.New("link closed")
)

// lane is one pipelined connection: requests are written as they come, answers read in order. It dials when the first request comes
// and again after a failure.
type lane struct {
	link *Link
	ctx  context.Context // of the link: one lane lives as long as it

	mu     sync.Mutex // guards the fields below
	queue  []Request  // sent or about to be, in order
	conn   net.Conn   // nil while dialing or idle without one
	busy   bool       // a goroutine dials or reads
	fast   bool       // the last large answer came at fastRate or more
	closed bool
}

func (l *lane) send(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		l.link.wg.Go(func() { l.link.events.Ended(l.link.parent.Peer, r.ID, Broken, 0) })
		return
	}
	l.queue = append(l.queue, r)
	if !l.busy {
		l.busy = true
		l.link.wg.Go(l.run)
		return
	}
	if l.conn != nil {
		if len(l.queue) == 1 {
			_ = l.conn.SetReadDeadline(time.Now().Add(headerTimeout))
		}
		l.write(r)
	}
}

// write sends one request. A failure shows at the reader. Callers hold mu.
func (l *lane) write(r Request) {
	_ = l.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := l.conn.Write(l.format(r)); err != nil {
		l.conn.Close()
	}
}

// format writes a request head by RFC 9112. All parts are our own ids, addresses and numbers, so nothing needs escaping. Callers hold mu.
func (l *lane) format(r Request) []byte {
	t := l.link.task
	var b bytes.Buffer
	path := api.DownloadPath(t.ID())
	if r.Pick {
		path = api.PickPath(t.ID(), r.Limit)
	}
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n", path, l.conn.RemoteAddr(), api.HeaderPeer, l.link.cfg.Self)
	if ticket := t.Ticket(); ticket != "" {
		fmt.Fprintf(&b, "%s: %s\r\n", api.HeaderTicket, ticket)
	}
	if !r.Pick {
		off, end := bounds(t.Layout(), r.First, r.Count)
		fmt.Fprintf(&b, "Range: bytes=%d-%d\r\n", off, end-1)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// run dials and reads answers until the connection ends.
func (l *lane) run() {
	conn, err := l.link.dial(l.ctx)
	if err != nil {
		l.end(err)
		l.link.events.Down(l.link.parent.Peer, fmt.Errorf("connect to parent: %w", err))
		return
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		conn.Close()
		l.end(errClosed)
		return
	}
	l.conn = conn
	_ = conn.SetReadDeadline(time.Now().Add(headerTimeout))
	for _, r := range l.queue {
		l.write(r)
	}
	l.mu.Unlock()

	in, wake := &capped{r: conn}, newWaker(conn)
	br := bufio.NewReaderSize(in, 16<<10)
	for err == nil {
		err = l.next(wake, in, br)
	}
	conn.Close()
	l.end(err)
}

// next waits for one answer and handles it.
func (l *lane) next(wake *waker, in *capped, br *bufio.Reader) error {
	in.left = maxHead
	if _, err := br.Peek(1); err != nil {
		return err
	}
	l.mu.Lock()
	if len(l.queue) == 0 {
		l.mu.Unlock()
		return errors.New("answer without a request")
	}
	r := l.queue[0]
	l.mu.Unlock()

	began := time.Now()
	a := &answer{lane: l, waker: wake, in: in, br: br, request: r}
	how, err := a.read()

	l.mu.Lock()
	l.queue = slices.Delete(l.queue, 0, 1)
	l.note(a.bytes, time.Since(began))
	if err == nil {
		var deadline time.Time
		if len(l.queue) > 0 {
			deadline = time.Now().Add(headerTimeout)
		}
		_ = wake.conn.SetReadDeadline(deadline)
	}
	l.mu.Unlock()
	l.link.events.Ended(l.link.parent.Peer, r.ID, how, a.bytes)
	return err
}

// end reports what is still queued as broken and makes the lane dial anew for the next request.
func (l *lane) end(err error) {
	l.mu.Lock()
	left := l.queue
	l.queue, l.conn, l.busy = nil, nil, false
	l.mu.Unlock()
	if len(left) > 0 {
		l.link.cfg.Log.Debug("connection to parent ended", "task", l.link.task.ID(), "parent", l.link.parent.Peer, "requests", len(left), "err", err)
	}
	for _, r := range left {
		l.link.events.Ended(l.link.parent.Peer, r.ID, Broken, 0)
	}
}

// cut closes the connection if it carries request id.
func (l *lane) cut(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && slices.ContainsFunc(l.queue, func(r Request) bool { return r.ID == id }) {
		l.conn.Close()
	}
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.conn != nil {
		l.conn.Close()
	}
}
