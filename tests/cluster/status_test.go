package cluster

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func TestStatusIsRead(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status int
		body   string
		fails  string
	}{
		"an answer":                {status: 200, body: `{"received":{"from_peers":7},"sent":3}`},
		"a refusal":                {status: 503, body: "busy", fails: "503"},
		"something else than JSON": {status: 200, body: "<html>", fails: "read the status of node 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != api.PathStatus {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer srv.Close()
			s, err := Node{Name: "node 1", Admin: srv.Listener.Addr().String()}.Status(t.Context())
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("Status = %v, want an error with %q", err, tt.fails)
				}
				return
			}
			if err != nil || s.Received.FromPeers != 7 || s.Sent != 3 {
				t.Errorf("Status = %+v, %v; want 7 bytes from peers, 3 sent", s, err)
			}
		})
	}
}
