package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/dfdaemon"
	"github.com/dragonfly-kube/dragonfly/components/supernode"
)

// serve runs a program until the test ends.
func serve(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

func fetch(t *testing.T, url string) []byte {
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
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answered %s, %v", url, resp.Status, err)
	}
	return b
}

// TestAColdSmallBlobIsOneRoundTripToTheSupernode counts what a dfdaemon asks of the supernode for a blob of 4 KB that nobody has.
func TestAColdSmallBlobIsOneRoundTripToTheSupernode(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("small"), 820)
	sum := sha256.Sum256(body)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/blobs/"+digest) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body)
		}
	}))
	t.Cleanup(origin.Close)
	log := slog.New(slog.DiscardHandler)
	scfg := supernode.DefaultConfig()
	scfg.RegisterAddr, scfg.DownloadAddr, scfg.DataDir, scfg.DiskMinFree = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), 0
	super, err := supernode.New(scfg, log)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, super.Run)
	cfg := dfdaemon.Default()
	cfg.Registry, cfg.Supernodes = origin.URL, []string{super.RegisterAddr().String()}
	cfg.Port, cfg.PeerAddr, cfg.AdminAddr, cfg.Socket = 0, "127.0.0.1:0", "127.0.0.1:0", ""
	cfg.DataDir, cfg.MinFree = t.TempDir(), 0
	node, err := dfdaemon.New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, node.Run)

	if got := fetch(t, "http://"+node.MirrorAddr()+"/v2/team/app/blobs/"+digest); !bytes.Equal(got, body) {
		t.Fatalf("got %d bytes, want %d", len(got), len(body))
	}
	counted := map[string]string{}
	for line := range strings.Lines(string(fetch(t, "http://"+super.RegisterAddr().String()+api.PathMetrics))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(name, "dragonfly_supernode_requests_total") {
			counted[name] = value
		}
		if (name == "dragonfly_upload_requests_total" || name == "dragonfly_swarm_streams_count") && value != "0" {
			t.Errorf("more was asked of the supernode: %s %s", name, value)
		}
	}
	registrations := 0
	for name, value := range counted {
		switch {
		case strings.Contains(name, `/peers"`) && strings.Contains(name, "POST"):
			registrations++
			if value != "1" {
				t.Errorf("%s is %s, want 1", name, value)
			}
		case strings.Contains(name, "/events"):
			t.Errorf("an event stream was opened: %s %s", name, value)
		}
	}
	if registrations != 1 {
		t.Errorf("the supernode counted %v, want one registration", counted)
	}
}
