package superclient

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func TestANodeSaysWhyASupernodeIsNotAlive(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(api.ErrorBody{Error: api.Error{Code: api.CodeUnauthorized, Message: "no token"}})
	}))
	t.Cleanup(s.Close)
	addr := strings.TrimPrefix(s.URL, "http://")
	c := newClient(t, Config{Addrs: []string{addr, "nowhere"}, Resolver: names{}})
	c.resolve(t.Context())
	c.beat(t.Context(), c.all()[0], api.Host{ID: "h"}, "v1", &inventory{})
	states := c.Nodes()
	if len(states) != 2 {
		t.Fatalf("got %+v, want the supernode and the name that leads nowhere", states)
	}
	for i, want := range []struct{ addr, why string }{{addr, "no token"}, {"nowhere:8001", "no such host"}} {
		if got := states[i]; got.Addr != want.addr || got.Alive || !strings.Contains(got.Why, want.why) {
			t.Errorf("got %+v, want %s not alive because of %q", got, want.addr, want.why)
		}
	}
}
