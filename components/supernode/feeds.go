package supernode

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/swarm"
)

// writeTimeout is how long a peer may not take an update until its stream is ended.
const writeTimeout = 10 * time.Second

// feeds are the event streams that are open: for each a connection that net/http gave away and one goroutine, whose stack is small. In
// net/http's hands, an idle stream would cost two goroutines with deep stacks and 10 KB of buffers. The zero value is ready for use.
//
// Nothing is read from a peer any more. That it has gone is found out by writing: its kernel answers the first sign of life with a reset,
// which fails the second. A peer that closed only its own direction goes on hearing, and what it sends after its request stays in the
// kernel, whose window bounds it: "Connection: close" says that no more requests are answered (RFC 9112, section 9.6).
type feeds struct {
	wg sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	closed bool
	conns  map[net.Conn]struct{}
}

// start takes over a connection and the stream that it is to hear, and closes both when either ends.
func (f *feeds) start(conn net.Conn, st *swarm.Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		st.Close()
		_ = conn.Close()
		return
	}
	if f.conns == nil {
		f.conns = map[net.Conn]struct{}{}
	}
	f.conns[conn] = struct{}{}
	f.wg.Go(func() {
		defer f.end(conn)
		defer st.Close()
		feed(conn, st)
	})
}

func (f *feeds) end(conn net.Conn) {
	_ = conn.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, conn)
}

// shutdown waits until all streams have ended, which somebody else makes them do. The end of ctx closes the connections of those that
// have not.
func (f *feeds) shutdown(ctx context.Context) {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for conn := range f.conns {
			_ = conn.Close()
		}
	})
	defer stop()
	f.wg.Wait()
}

// signOfLife is the empty update. Most lines are.
var signOfLife = []byte("{}\n")

// feed writes updates to a peer until it goes or the stream ends.
func feed(conn net.Conn, st *swarm.Stream) {
	write := func(b []byte) error {
		if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		_, err := conn.Write(b)
		return err
	}
	err := write(feedHead())
	for err == nil {
		var u *api.Update
		switch u, err = st.Next(context.Background()); {
		case err != nil:
		case u == nil:
			err = write(signOfLife)
		default:
			err = withUpdate(u, write)
		}
	}
}

// feedHead begins the answer, whose body ends with the connection (RFC 9112, section 6.3).
func feedHead() []byte {
	return []byte("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nCache-Control: no-store\r\nConnection: close\r\nDate: " +
		time.Now().UTC().Format(http.TimeFormat) + "\r\n\r\n")
}
