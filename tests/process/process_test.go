package process

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAProcessThatEndsIsTold(t *testing.T) {
	t.Parallel()
	p, err := Start(Spec{Name: "node 1", Program: "/bin/sh", Args: []string{"-c", "echo no such flag; exit 3"}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Ready(t.Context(), "http://127.0.0.1:1/readyz")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("Ready = %v, want the exit status and the end of the log", err)
	}
}

func TestAProcessIsStopped(t *testing.T) {
	t.Parallel()
	p, err := Start(Spec{Name: "node 1", Program: "/bin/sh", Args: []string{"-c", "exec sleep 600"}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	p.Stop()
	select {
	case <-p.Ended():
	default:
		t.Error("Stop came back before the process had ended")
	}
}

func TestListenersAreRead(t *testing.T) {
	t.Parallel()
	const tail = " 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0"
	tests := map[string]struct {
		line, addr, want string
	}{
		"its very address":   {"   0: 0B00007F:FDE9 00000000:0000 0A" + tail, "127.0.0.11:65001", "4242"},
		"every address":      {"   0: 00000000:FDE9 00000000:0000 0A" + tail, "127.0.0.11:65001", "4242"},
		"every IPv6 address": {"   0: 00000000000000000000000000000000:FDE9 00000000000000000000000000000000:0000 0A" + tail, "127.0.0.11:65001", "4242"},
		"another address":    {"   0: 0C00007F:FDE9 00000000:0000 0A" + tail, "127.0.0.11:65001", ""},
		"another port":       {"   0: 0B00007F:FDEA 00000000:0000 0A" + tail, "127.0.0.11:65001", ""},
		"a connection":       {"   0: 0B00007F:FDE9 0B00007F:1234 01" + tail, "127.0.0.11:65001", ""},
		"the heading":        {"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", "127.0.0.11:65001", ""},
		"a line cut off":     {"   0: 0B00007F:FDE9", "127.0.0.11:65001", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := listenerInode(tt.line, mustAddr(t, tt.addr)); got != tt.want {
				t.Errorf("listenerInode(%q, %s) = %q, want %q", tt.line, tt.addr, got, tt.want)
			}
		})
	}
}

func mustAddr(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
