package upload

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How much the kernel may hold of an answer that is not on the wire yet, in bytes (TCP_NOTSENT_LOWAT, tcp(7)): what the connection sends in
// unsentTime, within bounds. With the default of several MiB a slot would count as free long before its bytes are gone, and every queue
// behind it would be longer than it looks; with a few KiB a fast link would wait for this process to wake up again and again.
const (
	unsentTime = 5 * time.Millisecond
	minUnsent  = 16 << 10
	maxUnsent  = 4 << 20
	// Unsent is what a connection begins with.
	Unsent = 32 << 10
)

type tunedKey struct{}

// tuned is a connection whose unsent bytes follow its rate. Requests of a connection come one after the other, so it needs no lock.
type tuned struct {
	raw    syscall.RawConn
	now    int // bytes
	stride stride
}

// TuneConn is an http.Server's ConnContext: it bounds the unsent bytes of a TCP connection.
func TuneConn(ctx context.Context, c net.Conn) context.Context {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return ctx
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return ctx
	}
	t := &tuned{raw: raw, stride: minStride}
	t.set(Unsent)
	return context.WithValue(ctx, tunedKey{}, t)
}

// set is best effort: without it uploads work, with longer queues.
func (t *tuned) set(n int) {
	if n = min(max(n, minUnsent), maxUnsent); n == t.now {
		return
	}
	t.now = n
	_ = t.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n)
	})
}

// sent tells how long n bytes took. It is nil-safe.
func (t *tuned) sent(n int64, took time.Duration) {
	switch {
	case t == nil:
	case n <= int64(t.now): // it may not have waited for the wire at all
		t.set(t.now / 2)
	case took > 0:
		want := int(min(float64(n)/took.Seconds()*unsentTime.Seconds(), maxUnsent))
		if want > 2*t.now || 2*want < t.now {
			t.set(want)
		}
	}
}

// stride is how much is sent between two looks at deadline and rate limit, in bytes: what takes strideTime, so that a child on a slow link takes
// several within Config.WriteStall, and one on a fast link is not waited for again and again.
type stride int64

const (
	strideTime = 100 * time.Millisecond
	minStride  = 64 << 10
	maxStride  = 4 << 20
)

// sent tells how long n bytes took. The first may have gone into a buffer, so a stride grows in steps.
func (s *stride) sent(n int64, took time.Duration) {
	want := 4 * float64(*s)
	if took > 0 {
		want = min(want, float64(n)/took.Seconds()*strideTime.Seconds())
	}
	*s = stride(min(max(want, minStride), maxStride))
}

// strideOf is that of a request's connection; one that was not tuned begins anew.
func strideOf(ctx context.Context) *stride {
	if t := tunedConn(ctx); t != nil {
		return &t.stride
	}
	s := stride(minStride)
	return &s
}

// tunedConn is the connection of a request, nil where it was not tuned.
func tunedConn(ctx context.Context) *tuned {
	t, _ := ctx.Value(tunedKey{}).(*tuned)
	return t
}
