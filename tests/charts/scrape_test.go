package charts_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/dfdaemon"
	"github.com/dragonfly-kube/dragonfly/components/supernode"
)

// runner is a program.
type runner interface {
	Run(ctx context.Context) error
}

var family = regexp.MustCompile(`(?m)^# TYPE (\S+) `)

// scraped are the names that a supernode and a dfdaemon serve that have just begun.
func scraped(t *testing.T) map[string]bool {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	sc := supernode.DefaultConfig()
	sc.RegisterAddr, sc.DownloadAddr, sc.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	s, err := supernode.New(sc, log)
	if err != nil {
		t.Fatal(err)
	}
	start(t, s)
	dc := dfdaemon.Default()
	dc.Port, dc.PeerAddr, dc.AdminAddr, dc.Socket, dc.DataDir = 0, "127.0.0.1:0", "127.0.0.1:0", "", t.TempDir()
	dc.Supernodes = []string{s.RegisterAddr().String()}
	d, err := dfdaemon.New(dc, log)
	if err != nil {
		t.Fatal(err)
	}
	start(t, d)
	names := map[string]bool{}
	for _, addr := range []string{s.RegisterAddr().String(), d.AdminAddr()} {
		// The paths and ports of the chart's probes.
		for _, path := range []string{api.PathHealthy, api.PathReady} {
			ask(t, "http://"+addr+path)
		}
		for _, m := range family.FindAllStringSubmatch(ask(t, "http://"+addr+api.PathMetrics), -1) {
			names[m[1]] = true
		}
	}
	if len(names) < 40 {
		t.Fatalf("found %d metrics only", len(names))
	}
	return names
}

func start(t *testing.T, r runner) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func ask(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", url, resp.Status, err, body)
	}
	return string(body)
}
