package network

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Client makes HTTP requests from the i-th host, as a program there would. Its connections end with CloseIdleConnections.
func (n *Network) Client(i int) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:           n.dialer(i),
		DisableCompression:    true,
		MaxIdleConnsPerHost:   64,
		ReadBufferSize:        64 << 10,
		ResponseHeaderTimeout: 2 * time.Minute,
	}}
}

// dialer connects from the i-th host. A socket belongs to the namespace that its thread was in when it was made.
func (n *Network) dialer(i int) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			// Never unlocked: the thread ends with the goroutine, so no other goroutine gets one in the wrong namespace.
			runtime.LockOSThread()
			if err = enter(n.ends[i].namespace); err == nil {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			}
		}()
		<-done
		return conn, err
	}
}

// enter moves the calling thread into a namespace.
func enter(namespace string) error {
	f, err := os.Open("/run/netns/" + namespace)
	if err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace %s: %w", namespace, err)
	}
	return nil
}
