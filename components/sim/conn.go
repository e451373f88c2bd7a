package sim

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// conn is one end of a connection between two nodes. Deadlines are not modelled: nothing stalls here but by the engine's own rules.
type conn struct {
	in, out *pipe
	addr    addr // of the other end
	gone    func()
	once    sync.Once
	other   *conn
}

type addr string

func (a addr) Network() string { return "tcp" }
func (a addr) String() string  { return string(a) }

// dial connects two nodes after the time of a handshake, and has the other one serve.
func (s *swarmNet) dial(ctx context.Context, from *node, address string) (net.Conn, error) {
	to := s.byAddr[address]
	if to == nil {
		return nil, fmt.Errorf("dial %s: no such host", address)
	}
	if err := wait(ctx, 2*s.net.latency); err != nil {
		return nil, err
	}
	there, back := s.net.pipe(from.up, to.down), s.net.pipe(to.up, from.down)
	a := &conn{in: back, out: there, addr: addr(address), gone: func() {}}
	b := &conn{in: there, out: back, addr: addr(from.addr), gone: func() {}}
	a.other, b.other = b, a
	serve := newServing(to, b)
	to.wg.Go(serve.run)
	return a, nil
}

// wait lets time pass, unless ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) { return c.in.read(b) }

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.out.write(segment{n: len(b), data: append([]byte(nil), b...)}); err != nil {
		return 0, err
	}
	return len(b), nil
}

// content sends n bytes that nobody looks at.
func (c *conn) content(n int64) error { return c.out.write(segment{n: int(n)}) }

// Close implements net.Conn. The other end hears of it at once.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.in.close()
		c.out.close()
		c.other.gone()
	})
	return nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.other.addr }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.addr }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
