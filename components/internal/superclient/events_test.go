package superclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func TestAPeerMayHaveAllDigestsToldAnewAndTheSupernodeCountsAsAlive(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards asked
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/events") {
			_ = json.NewEncoder(w).Encode(api.Update{})
			return
		}
		mu.Lock()
		asked = append(asked, r.URL.RawQuery)
		mu.Unlock()
		_ = json.NewEncoder(w).Encode(api.Update{Seq: 1})
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	c := newClient(t, Config{Addrs: []string{strings.TrimPrefix(srv.URL, "http://")}, Token: func() string { return "" }})
	session, _, err := c.Register(t.Context(), testTask, api.RegisterRequest{Peer: "p"})
	if err != nil {
		t.Fatal(err)
	}
	for _, follow := range []func(context.Context, func(*api.Update)) error{
		func(ctx context.Context, f func(*api.Update)) error { return session.Events(ctx, 7, f) },
		session.AllDigests,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if err := follow(ctx, func(*api.Update) { cancel() }); err == nil {
			t.Error("a stream that the peer ended is no error")
		}
		cancel()
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(asked, " "); got != "since=7 since=0&digests=all" {
		t.Errorf("asked for %q, want the events behind 7, then all digests", got)
	}
	if !c.Nodes()[0].Alive {
		t.Error("the supernode whose stream the peer ended counts as dead")
	}
}
