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

// How many bytes of a piece wake its reader (SO_RCVLOWAT, socket(7)): what came in wakeTime, at most maxWake. A link whose packets come
// one by one would wake it for each 1,448 of them otherwise, with a write to the disk for each; nobody can use a part of a piece.
const (
	wakeTime = 20 * time.Millisecond
	maxWake  = 32 << 10
	// minWake is the least that is worth a system call.
	minWake = 4 << 10
	// wakeWait bounds the wait for so many, in case that the rate falls.
	wakeWait = 200 * time.Millisecond
)

// waker reads a connection's bodies in large parts. One lane's goroutine uses it.
type waker struct {
	conn net.Conn
	raw  syscall.RawConn // nil where the socket can't be told: it wakes for every packet
	now  int             // bytes that wake
	last time.Time       // of the last read
	rate float64         // bytes a second by the last read
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
	if n < minWake {
		n = 1
	}
	if w.raw == nil || n == w.now {
		return
	}
	err := w.raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) == nil {
			w.now = n
		}
	})
	if err != nil {
		w.raw = nil
	}
}

// begin is called before a body: the time until its first byte is the parent's, not the link's.
func (w *waker) begin() { w.last = time.Now() }

// read reads from body, of which left bytes are to come by the socket, and fails after bodyTimeout without one.
func (w *waker) read(body io.Reader, p []byte, left int64) (int, error) {
	w.set(w.want(left))
	patience := bodyTimeout
	if w.now > 1 {
		_ = w.conn.SetReadDeadline(time.Now().Add(wakeWait))
		n, err := body.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			w.came(n)
			return n, err
		}
		w.set(1)
		patience -= wakeWait
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	n, err := body.Read(p)
	w.came(n)
	return n, err
}

// want is how many bytes are to wake the reader. What changes little stays, since each change is a system call.
func (w *waker) want(left int64) int {
	want := min(int64(w.rate*wakeTime.Seconds()), maxWake, left)
	if now := int64(w.now); now > 1 && now <= left && now <= 2*want && want <= 2*now {
		return w.now
	}
	return int(want)
}

// came notes a read of n bytes.
func (w *waker) came(n int) {
	now := time.Now()
	if took := now.Sub(w.last); n > 0 && took > 0 {
		w.rate = float64(n) / took.Seconds()
	}
	w.last = now
}
