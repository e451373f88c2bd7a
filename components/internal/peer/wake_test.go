package peer

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func tcpPair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if here, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	if there, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	return here, there
}

// mark is how many bytes wake the reader, as the kernel says.
func mark(t *testing.T, w *waker) int {
	t.Helper()
	var n int
	var err error
	if cerr := w.raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return n
}

func TestAReaderWakesForLessThanTheRateSaysOnceItFalls(t *testing.T) {
	here, there := tcpPair(t)
	w := newWaker(here)
	w.begin()
	w.rate = 1 << 30
	if _, err := there.Write([]byte("few")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<20)
	w.set(w.want(1 << 20))
	if got := mark(t, w); got != maxWake {
		t.Fatalf("a fast connection wakes for %d bytes, want %d", got, maxWake)
	}
	n, err := w.read(here, b, 1<<20)
	if n != 3 || err != nil {
		t.Fatalf("read %d bytes, %v; want the 3 that came", n, err)
	}
	// It may have been there before the first look, so let the next one wait.
	go func() { _, _ = there.Write([]byte("few")) }()
	w.rate = 1 << 30
	if n, err := w.read(here, b, 1<<20); n != 3 || err != nil {
		t.Fatalf("read %d bytes, %v; want the 3 that came", n, err)
	}
}

func TestTheLastBytesOfAPieceWakeItsReader(t *testing.T) {
	here, there := tcpPair(t)
	w := newWaker(here)
	const size = 10 << 10
	go func() {
		for range size / 512 {
			_, _ = there.Write(make([]byte, 512))
		}
	}()
	w.begin()
	w.rate = 1 << 30
	b, left := make([]byte, maxWake), int64(size)
	for left > 0 {
		n, err := w.read(here, b, left)
		if err != nil {
			t.Fatal(err)
		}
		left -= int64(n)
		if got := mark(t, w); int64(got) > max(left+int64(n), 1) {
			t.Fatalf("%d bytes wake the reader of the last %d", got, left+int64(n))
		}
	}
	w.set(1)
	if got := mark(t, w); got != 1 {
		t.Errorf("%d bytes wake who waits for a head, want 1", got)
	}
}

func TestAConnectionThatEndsWakesItsReader(t *testing.T) {
	here, there := tcpPair(t)
	w := newWaker(here)
	w.begin()
	w.rate = 1 << 30
	go there.Close()
	start := time.Now()
	if _, err := w.read(here, make([]byte, 10), 1<<20); !errors.Is(err, io.EOF) {
		t.Errorf("got %v after %v, want EOF", err, time.Since(start))
	}
}
