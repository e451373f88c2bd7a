package dfdaemon

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopbackConfig is of a daemon on loopback, that no test's daemon shares anything with.
func loopbackConfig(t *testing.T) Config {
	t.Helper()
	cfg := Default()
	cfg.Registry, cfg.Bind = "http://127.0.0.1:1", "127.0.0.1"
	cfg.Port, cfg.PeerAddr, cfg.AdminAddr, cfg.Socket = 0, "127.0.0.1:0", "127.0.0.1:0", ""
	cfg.DataDir, cfg.MinFree = t.TempDir(), 0
	return cfg
}

// socketPath is short enough for a socket whatever the test's name.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "df") //nolint:usetesting // the path of a socket is short, that of t.TempDir is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func taken(t *testing.T, network, addr string) string {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// What can't start says why and leaves nothing open: the same data directory serves the next try.
func TestAStartThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"the data directory is a file", func(c *Config) { c.DataDir = file }, "not a directory"},
		{"the peer port is taken", func(c *Config) { c.PeerAddr = taken(t, "tcp", "127.0.0.1:0") }, "listen on the peer port"},
		{"the admin port is taken", func(c *Config) { c.AdminAddr = taken(t, "tcp", "127.0.0.1:0") }, "listen on the admin port"},
		{"a supernode's address is none", func(c *Config) { c.Supernodes = []string{"http://x:8001"} }, "http://x:8001"},
		{"the supernodes' CA is not there", func(c *Config) { c.SupernodeCA = "/nonexistent" }, "/nonexistent"},
		{"a registry's CA is no certificate", func(c *Config) { c.RegistryCA = []string{file} }, "no certificate in"},
		{"the socket is another's", func(c *Config) { c.Socket = taken(t, "unix", socketPath(t)) }, "another process serves"},
		{"the socket is a file", func(c *Config) { c.Socket = file }, "no socket"},
		{"the socket's path is too long", func(c *Config) { c.Socket = "/tmp/" + strings.Repeat("s", 110) }, "at most 107"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			good := loopbackConfig(t)
			cfg := good
			tc.change(&cfg)
			if s, err := New(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
				if err == nil {
					_ = s.closeAll()
				}
			}
			s, err := New(good, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatalf("the next start: %v", err)
			}
			if err := s.closeAll(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
			t.Errorf("the file at the socket's place is %q, %v", b, err)
		}
	})
}

func TestASocketLeftByADeadProcessIsReplaced(t *testing.T) {
	t.Parallel()
	cfg := loopbackConfig(t)
	cfg.Socket = socketPath(t)
	l, err := net.Listen("unix", cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.closeAll(); err != nil {
		t.Error(err)
	}
}
