package superclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// growing is a name that has one address more after each of some moments.
type growing struct {
	start time.Time
	after []time.Duration
	mu    sync.Mutex // guards asked
	asked []time.Duration
}

func (g *growing) LookupHost(context.Context, string) ([]string, error) {
	now := time.Since(g.start)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, now)
	addrs := []string{"127.0.0.2"}
	for i, at := range g.after {
		if now >= at {
			addrs = append(addrs, []string{"127.0.0.3", "127.0.0.4"}[i])
		}
	}
	return addrs, nil
}

// Hosts that know different supernodes make the origin pay twice, and supernodes that start together don't get their records together.
func TestASupernodeThatComesALittleLaterIsKnownSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &growing{start: time.Now(), after: []time.Duration{1500 * time.Millisecond, 10 * time.Minute}}
		c := newClient(t, Config{Addrs: []string{"supernodes:1"}, Resolver: g})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { c.Run(ctx, api.Host{ID: "h"}, "v1", &inventory{}) })
		for _, want := range []struct {
			at    time.Duration
			nodes int
		}{{time.Second, 1}, {4 * time.Second, 2}, {10*time.Minute - time.Second, 2}, {10*time.Minute + 11*time.Second, 3}} {
			time.Sleep(want.at - time.Since(g.start))
			synctest.Wait()
			if got := len(c.Nodes()); got != want.nodes {
				t.Errorf("after %v: %d supernodes, want %d", want.at, got, want.nodes)
			}
		}
		cancel()
		run.Wait()
		if n := len(g.asked); n > 80 {
			t.Errorf("the name was looked up %d times in ten minutes, want about every 10 s", n)
		}
	})
}

func TestAnAddressThatARegistrationFoundIsAChangeToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &growing{start: time.Now(), after: []time.Duration{1500 * time.Millisecond}}
		c := newClient(t, Config{Addrs: []string{"supernodes:1"}, Resolver: g})
		c.resolve(t.Context()) // as Register does where no address is known
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { c.Run(ctx, api.Host{ID: "h"}, "v1", &inventory{}) })
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got := len(c.Nodes()); got != 2 {
			t.Errorf("after 4 s: %d supernodes, want 2", got)
		}
		cancel()
		run.Wait()
	})
}
