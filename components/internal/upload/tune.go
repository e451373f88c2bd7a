package upload

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Unsent is how much the kernel may hold of an answer that is not on the wire yet, in bytes (TCP_NOTSENT_LOWAT, tcp(7)). With the default of
// several MiB a slot would count as free long before its bytes are gone, and every queue behind it would be longer than it looks.
const Unsent = 128 << 10

// TuneConn is an http.Server's ConnContext: it bounds the unsent bytes of a TCP connection.
func TuneConn(ctx context.Context, c net.Conn) context.Context {
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			// Best effort: without it uploads work, with longer queues.
			_ = raw.Control(func(fd uintptr) {
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, Unsent)
			})
		}
	}
	return ctx
}
