package dfdaemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// maxSocket is the longest path of a Unix socket, in bytes: Linux's sockaddr_un less the byte that ends it.
const maxSocket = 107

// freeSocket makes way for a socket: its directory is there, and what a process that was killed left at its place is not. What
// somebody else uses stays.
func freeSocket(path string) error {
	if len(path) > maxSocket {
		return fmt.Errorf("option \"socket\": %s has %d bytes, a socket's path has at most %d", path, len(path), maxSocket)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the socket has its own mode
		return fmt.Errorf("make the socket's directory: %w", err)
	}
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for an old socket: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("option \"socket\": %s is there and no socket: remove it, or choose another path", path)
	}
	if c, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "unix", path); err == nil {
		c.Close()
		return fmt.Errorf("option \"socket\": another process serves %s: stop it, or choose another path", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the old socket: %w", err)
	}
	return nil
}
