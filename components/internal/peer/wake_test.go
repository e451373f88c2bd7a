package peer

import (
	"errors"
	"io"
	"net"
	"testing"

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

func TestAReaderWakesForAsMuchAsIsWorthIt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ left, want int }{
		"much is to come":                      {1 << 20, wakeSize},
		"less than that is left of the piece":  {700, 700},
		"all that is left is buffered already": {0, 1},
		"more is buffered than the piece":      {-3, 1},
	} {
		here, there := tcpPair(t)
		if _, err := there.Write([]byte("few")); err != nil {
			t.Fatal(err)
		}
		w := newWaker(here)
		if n, err := w.read(here, make([]byte, 10), tc.left); n == 0 || err != nil {
			t.Errorf("%s: read %d bytes, %v", name, n, err)
		}
		if got := mark(t, w); w.now != tc.want || got != tc.want {
			t.Errorf("%s: %d bytes wake the reader, %d by its own account, want %d", name, got, w.now, tc.want)
		}
	}
}

func TestAReaderWakesAgainForAHeadAlone(t *testing.T) {
	t.Parallel()
	here, _ := tcpPair(t)
	w := newWaker(here)
	w.set(wakeSize)
	w.set(1)
	if got := mark(t, w); got != 1 {
		t.Errorf("%d bytes wake the reader, want 1", got)
	}
}

func TestAReaderTakesWhatCameOnALinkThatStandsStill(t *testing.T) {
	t.Parallel()
	here, there := tcpPair(t)
	w := newWaker(here)
	go func() { _, _ = there.Write([]byte("few")) }() // no more follows
	if n, err := io.ReadFull(readerOf{w, here}, make([]byte, 3)); n != 3 || err != nil {
		t.Errorf("read %d bytes, %v; want the 3 that came", n, err)
	}
}

func TestAConnectionThatEndsWakesItsReader(t *testing.T) {
	t.Parallel()
	here, there := tcpPair(t)
	w := newWaker(here)
	go there.Close()
	if _, err := w.read(here, make([]byte, 10), 1<<20); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want EOF", err)
	}
}

// readerOf reads the beginning of a large body.
type readerOf struct {
	w    *waker
	body io.Reader
}

func (r readerOf) Read(p []byte) (int, error) { return r.w.read(r.body, p, 1<<20) }
