package ask

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// supernode answers with a version, and is ready or not.
func supernode(t *testing.T, ready bool, start func(http.Handler) *httptest.Server) (s *httptest.Server, addr string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.PathVersion, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"version":"v1"}`) })
	mux.HandleFunc("GET "+api.PathReady, func(w http.ResponseWriter, _ *http.Request) {
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	s = start(mux)
	t.Cleanup(s.Close)
	return s, s.Listener.Addr().String()
}

// daemon answers with a status at the admin port.
func daemon(t *testing.T, status api.DaemonStatus) (addr string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != api.PathStatus {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(status)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// closed is an address where nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

func ask(t *testing.T, cfg Config) Answer {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	c, err := newClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c.Ask(t.Context())
}

func TestAskAll(t *testing.T) {
	t.Parallel()
	_, good := supernode(t, true, httptest.NewServer)
	_, unready := supernode(t, false, httptest.NewServer)
	gone := closed(t)
	admin := daemon(t, api.DaemonStatus{Version: "v2", Tasks: 3, Supernodes: []api.SupernodeStatus{
		{Addr: good, Alive: true}, {Addr: unready}, {Addr: gone, Error: "lost"},
	}})
	got := ask(t, Config{Socket: filepath.Join(t.TempDir(), "none"), AdminAddr: admin})
	if got.Daemon == nil || got.Daemon.Version != "v2" || got.Daemon.Addr != admin || got.Daemon.Tasks != 3 {
		t.Errorf("dfdaemon: got %+v", got.Daemon)
	}
	want := map[string]Supernode{
		good:    {Addr: good, Version: "v1", Ready: true},
		unready: {Addr: unready, Version: "v1", Error: "it answers 503 Service Unavailable"},
		gone:    {Addr: gone, Error: "lost"},
	}
	for _, s := range got.Supernodes {
		if diff := cmp.Diff(want[s.Addr], s); diff != "" {
			t.Errorf("supernode (-want +got):\n%s", diff)
		}
	}
	if len(got.Supernodes) != 3 {
		t.Errorf("got %d supernodes, want 3", len(got.Supernodes))
	}
}

func TestNamedSupernodesAreAskedThemselves(t *testing.T) {
	t.Parallel()
	_, good := supernode(t, true, httptest.NewServer)
	_, port, _ := net.SplitHostPort(good)
	admin := daemon(t, api.DaemonStatus{Supernodes: []api.SupernodeStatus{{Addr: "192.0.2.1:8001"}}})
	got := ask(t, Config{AdminAddr: admin, Supernodes: []string{"127.0.0.1:" + port, good, "no such host"}})
	if len(got.Supernodes) != 2 || got.Supernodes[0] != (Supernode{Addr: good, Version: "v1", Ready: true}) {
		t.Fatalf("got %+v, want one that is ready and one that is not found", got.Supernodes)
	}
	if s := got.Supernodes[1]; s.Ready || s.Error == "" || s.Addr != "no such host:8001" {
		t.Errorf("a name that does not exist: got %+v", s)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s, addr := supernode(t, true, httptest.NewTLSServer)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, Config{CA: ca, Supernodes: []string{addr}}).Supernodes[0]; !got.Ready {
		t.Errorf("with the CA: got %+v, want ready", got)
	}
	if got := ask(t, Config{Supernodes: []string{addr}}).Supernodes[0]; got.Ready || !strings.Contains(got.Error, "--tls-ca") {
		t.Errorf("without the CA: got %+v, want the hint", got)
	}
	// dfdaemon reaches it, so it is fine whatever we see.
	admin := daemon(t, api.DaemonStatus{Supernodes: []api.SupernodeStatus{{Addr: addr, Alive: true}}})
	if got := ask(t, Config{AdminAddr: admin}).Supernodes[0]; !got.Ready || got.Error != "" {
		t.Errorf("through dfdaemon: got %+v, want ready", got)
	}
}

func TestBadCA(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, empty + "x"} {
		if _, err := newClient(Config{CA: path}); err == nil || !strings.Contains(err.Error(), "CA") {
			t.Errorf("New: got %v, want an error", err)
		}
	}
}

func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"a web page": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "something else answers"},
		"an error":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "418"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"version":"`+strings.Repeat("x", maxAnswer)+`"}`)
		}, "something else answers"},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer in time"},
		"an answer cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		}, "read answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(tc.answer)
			defer s.Close()
			addr := s.Listener.Addr().String()
			cfg := Config{AdminAddr: addr, Supernodes: []string{addr}, Timeout: 5 * time.Second}
			if name == "no answer" {
				cfg.Timeout = 50 * time.Millisecond
			}
			got := ask(t, cfg)
			if got.Daemon != nil || !strings.Contains(got.Error, tc.want) {
				t.Errorf("dfdaemon: got %+v, %q, want %q", got.Daemon, got.Error, tc.want)
			}
			if sn := got.Supernodes[0]; sn.Ready || !strings.Contains(sn.Error, tc.want) {
				t.Errorf("supernode: got %+v, want %q", sn, tc.want)
			}
		})
	}
}

func TestNothingToAsk(t *testing.T) {
	t.Parallel()
	if got := ask(t, Config{}); got.Daemon != nil || got.Error == "" || got.Supernodes == nil {
		t.Errorf("got %+v, want an error and no supernodes", got)
	}
}
