package peer

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// wakeSize is how many bytes of a piece wake its reader (SO_RCVLOWAT, socket(7)): half of its buffer. A slow link's packets come one by one and
	// would wake it for each 1,448 of them, with a write to the store for each; nobody can use a part of a piece.
	wakeSize = 32 << 10
	// wakeWait bounds the wait for so many: then what came is taken.
	wakeWait = time.Second
)

// waker reads a connection's bodies in large parts. One lane's goroutine uses it.
type waker struct {
	conn net.Conn
	raw  syscall.RawConn // nil where the socket can't be told: it wakes for every packet
	now  int             // bytes that wake
}

func newWaker(conn net.Conn) *waker {
	w := &waker{conn: conn, now: 1}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			w.raw = raw
		}
	}
	return w
}

// set is best effort: without it the reader wakes more often.
func (w *waker) set(n int) {
	if w.raw == nil || n == w.now {
		return
	}
	_ = w.raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) == nil {
			w.now = n
		}
	})
}

// read reads from body, of which left bytes are to come by the socket, and fails after bodyTimeout without one.
func (w *waker) read(body io.Reader, p []byte, left int) (int, error) {
	w.set(max(1, min(left, wakeSize)))
	patience := bodyTimeout
	if w.now > 1 {
		_ = w.conn.SetReadDeadline(time.Now().Add(wakeWait))
		n, err := body.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		w.set(1)
		patience -= wakeWait
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	return body.Read(p)
}
