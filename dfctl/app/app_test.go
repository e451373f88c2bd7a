package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/dfctl/ask"
	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a dfdaemon's admin port and a supernode, with the status that the dfdaemon tells.
func cluster(t *testing.T, change func(*api.DaemonStatus)) (admin, supernode string) {
	t.Helper()
	sn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"version":"v1.0.0"}`)
	}))
	t.Cleanup(sn.Close)
	status := api.DaemonStatus{
		Version: "v1.1.0", Started: time.Now().Add(-3*time.Hour - 2*time.Minute),
		Host:       api.Host{ID: "7c9e", Name: "node1", Addrs: []string{"10.0.0.1:65002"}, Zone: "a"},
		Supernodes: []api.SupernodeStatus{{Addr: sn.Listener.Addr().String(), Alive: true}},
		Downloads:  2, Tasks: 131, Received: api.Shares{FromSeed: 1 << 30, FromPeers: 8 << 30, FromOrigin: 1 << 30},
		Sent: 14 << 30, Store: api.StoreStatus{Used: 20 << 30, Quota: 50 << 30},
	}
	if change != nil {
		change(&status)
	}
	d := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(status) }))
	t.Cleanup(d.Close)
	return d.Listener.Addr().String(), sn.Listener.Addr().String()
}

// run runs dfctl and returns what it wrote, with this run's ports and times made alike.
func run(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var b, talk bytes.Buffer
	cmd := NewCommand(&b, &talk)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	out = regexp.MustCompile(`127\.0\.0\.1:[0-9]{4,5}`).ReplaceAllString(b.String(), "127.0.0.1:PORT")
	out = regexp.MustCompile(`dfctl      .*`).ReplaceAllString(out, "dfctl      VERSION")
	return regexp.MustCompile(`3h2m[0-9]+s`).ReplaceAllString(out, "3h2m"), err
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update accepts it):\n%s", path, diff)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*api.DaemonStatus)
		args   func(admin, supernode string) []string
		code   int
	}{
		"well": {},
		"one supernode dead": {
			change: func(s *api.DaemonStatus) {
				s.Supernodes = append(s.Supernodes, api.SupernodeStatus{Addr: "127.0.0.1:1"})
			},
			code: cli.ExitDegraded,
		},
		"no supernodes": {change: func(s *api.DaemonStatus) { s.Supernodes, s.Received, s.Store.Quota = nil, api.Shares{}, 0 }},
		"hostile": {change: func(s *api.DaemonStatus) {
			s.Host = api.Host{Name: "\x1b[31mred", Zone: "a\nb"}
			s.Sent, s.Started = -1, time.Now().Add(time.Hour)
			s.Supernodes[0].Error = "\r"
		}},
		"only a supernode": {args: func(_, supernode string) []string { return []string{"--admin-addr=", "--supernode", supernode} }},
		"nothing":          {args: func(_, _ string) []string { return []string{"--admin-addr=127.0.0.1:1"} }, code: cli.ExitNothing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			admin, supernode := cluster(t, tc.change)
			args := []string{"--admin-addr", admin}
			if tc.args != nil {
				args = tc.args(admin, supernode)
			}
			out, err := run(t, append([]string{"status", "--socket="}, args...)...)
			golden(t, "status-"+strings.ReplaceAll(name, " ", "-"), out)
			wantCode(t, err, tc.code)
		})
	}
}

func wantCode(t *testing.T, err error, want int) {
	t.Helper()
	got := 0
	if coded, ok := errors.AsType[*cli.Error](err); ok {
		got = coded.ExitCode()
	} else if err != nil {
		got = cli.ExitOther
	}
	if got != want {
		t.Errorf("got %v with exit code %d, want %d", err, got, want)
	}
}

func TestStatusInJSON(t *testing.T) {
	t.Parallel()
	admin, _ := cluster(t, nil)
	out, err := run(t, "status", "--socket=", "--admin-addr", admin, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var got ask.Answer
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if got.Daemon == nil || got.Daemon.Tasks != 131 || len(got.Supernodes) != 1 || !got.Supernodes[0].Ready {
		t.Errorf("got %+v", got)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	admin, _ := cluster(t, nil)
	out, err := run(t, "version", "--socket=", "--admin-addr", admin)
	wantCode(t, err, 0)
	golden(t, "version", out)
	out, err = run(t, "version", "--client", "-o=json")
	wantCode(t, err, 0)
	if !strings.Contains(out, `"dfdaemon": null`) || !strings.Contains(out, `"go": "go1`) {
		t.Errorf("version --client -o json: got %s", out)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--help"},
		{"node-config", "--help"},
		{"node-config", "apply", "--help"},
		{"node-config", "wait", "--help"},
		{"host-dirs", "--help"},
		{"render", "--help"},
		{"render", "chart", "--help"},
		{"render", "overlay", "--help"},
		{"render", "static-pod", "--help"},
		{"render", "docker-run", "--help"},
		{"render", "list", "--help"},
		{"status", "--help"},
		{"verify", "--help"},
		{"version", "--help"},
	} {
		out, err := run(t, args...)
		wantCode(t, err, 0)
		golden(t, "help-"+strings.ReplaceAll(strings.Join(args, "-"), "--", ""), out)
	}
}

func TestBadCalls(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"stauts"},
		{"--foo"},
		{"status", "now"},
		{"status", "--foo"},
		{"status", "-o", "xml"},
		{"version", "x"},
		{"status", "--timeout=x"},
		{"status", "--tls-ca=/does/not/exist"},
	} {
		if _, err := run(t, args...); err == nil {
			t.Errorf("dfctl %q: no error", args)
		} else {
			wantCode(t, err, cli.ExitUsage)
		}
	}
}
