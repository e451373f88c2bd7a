package superclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testTask = strings.Repeat("a", 64)

// supernode answers as a test wants.
type supernode struct {
	*httptest.Server
	mu         sync.Mutex // guards the fields below
	registered []api.RegisterRequest
	beats      []api.Heartbeat
	auth       []string
	register   func(w http.ResponseWriter, r *http.Request)
	wants      bool
}

func newSupernode(t *testing.T, register ...http.HandlerFunc) *supernode {
	t.Helper()
	s := &supernode{}
	if len(register) > 0 {
		s.register = register[0]
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *supernode) addr() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *supernode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.auth = append(s.auth, r.Header.Get("Authorization"))
	register := s.register
	s.mu.Unlock()
	switch {
	case r.Method == http.MethodPut:
		var h api.Heartbeat
		_ = json.NewDecoder(r.Body).Decode(&h)
		s.mu.Lock()
		s.beats = append(s.beats, h)
		a := api.HeartbeatAnswer{NeedInventory: s.wants}
		s.wants = false
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(a)
	case strings.HasSuffix(r.URL.Path, "/events"):
		for i := range 3 {
			_ = json.NewEncoder(w).Encode(api.Update{Seq: i + 1})
		}
	case register != nil:
		register(w, r)
	default:
		var req api.RegisterRequest
		_ = json.NewDecoder(r.Body).Decode(&req)
		s.mu.Lock()
		s.registered = append(s.registered, req)
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(api.Update{Seq: 5})
	}
}

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	cfg.Log, cfg.Registerer = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, n := range c.all() {
			n.http.CloseIdleConnections()
		}
	})
	return c
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in, host, port string
	}{
		{"a name", "supernode", "supernode", "8001"},
		{"a name and port", "supernode:9000", "supernode", "9000"},
		{"an IPv4 address", "10.0.0.1", "10.0.0.1", "8001"},
		{"an IPv6 address", "fd00::1", "fd00::1", "8001"},
		{"an IPv6 address in brackets", "[fd00::1]", "fd00::1", "8001"},
		{"an IPv6 address and port", "[fd00::1]:9000", "fd00::1", "9000"},
		{"nothing", "", "", ""},
		{"only a port", ":8001", "", ""},
		{"a port that is none", "supernode:http", "", ""},
		{"a URL", "http://supernode:8001", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseTarget(tc.in)
			if (err != nil) != (tc.host == "") || err == nil && (got.host != tc.host || got.port != tc.port) {
				t.Errorf("%q: got %+v, %v; want host %q and port %q", tc.in, got, err, tc.host, tc.port)
			}
		})
	}
}

func TestRegistrationGoesToTheNextWhenOneIsDead(t *testing.T) {
	t.Parallel()
	alive := newSupernode(t)
	dead := newSupernode(t)
	dead.Close()
	c := newClient(t, Config{Addrs: []string{dead.addr(), alive.addr()}})
	// Some tasks rank the dead one first, some the living one.
	for i := range 20 {
		task := fmt.Sprintf("%064x", i)
		s, u, err := c.Register(t.Context(), task, api.RegisterRequest{Peer: "p"})
		if err != nil {
			t.Fatalf("task %d: %v", i, err)
		}
		if s.Supernode() != alive.addr() || u.Seq != 5 {
			t.Errorf("task %d: registered at %s with %+v", i, s.Supernode(), u)
		}
	}
	for _, n := range c.Nodes() {
		if n.Alive != (n.Addr == alive.addr()) {
			t.Errorf("%s counts as alive: %v", n.Addr, n.Alive)
		}
	}
}

func TestNoSupernodeIsKnownAtOnceAfterTheFirstTime(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	release := make(chan struct{})
	defer close(release)
	frozen := newSupernode(t, func(http.ResponseWriter, *http.Request) {
		calls.Add(1)
		<-release
	})
	c := newClient(t, Config{Addrs: []string{frozen.addr()}, RegisterTimeout: 100 * time.Millisecond})
	for range 3 {
		if _, _, err := c.Register(t.Context(), testTask, api.RegisterRequest{}); !errors.Is(err, ErrNoSupernode) {
			t.Errorf("got %v, want ErrNoSupernode", err)
		}
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("the frozen supernode was asked %d times, want once", n)
	}
}

func TestASlowSupernodeThatShowsSignsOfLifeIsAwaited(t *testing.T) {
	t.Parallel()
	slow := newSupernode(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range 20 {
			select {
			case <-tick.C:
				w.WriteHeader(http.StatusProcessing)
			case <-r.Context().Done():
				return
			}
		}
		_ = json.NewEncoder(w).Encode(api.Update{Seq: 9})
	})
	c := newClient(t, Config{Addrs: []string{slow.addr()}, RegisterTimeout: 300 * time.Millisecond})
	_, u, err := c.Register(t.Context(), testTask, api.RegisterRequest{})
	if err != nil || u.Seq != 9 {
		t.Errorf("got %+v, %v; want the answer that came after longer than the time-out", u, err)
	}
}

func TestAnAnswerThatComesSlowlyIsAwaited(t *testing.T) {
	t.Parallel()
	slow := newSupernode(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		answer := []byte(`{"ticket":"twenty letters long","seq":9}`)
		for i := range answer {
			select {
			case <-tick.C:
				_, _ = w.Write(answer[i : i+1])
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	c := newClient(t, Config{Addrs: []string{slow.addr()}, RegisterTimeout: 300 * time.Millisecond})
	_, u, err := c.Register(t.Context(), testTask, api.RegisterRequest{})
	if err != nil || u.Seq != 9 {
		t.Errorf("got %+v, %v; want the answer that took longer than the time-out", u, err)
	}
}

func TestARefusalIsNotDeath(t *testing.T) {
	t.Parallel()
	s := newSupernode(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(api.ErrorBody{Error: api.Error{Code: api.CodeUnauthorized, Message: "no token"}})
	})
	c := newClient(t, Config{Addrs: []string{s.addr()}})
	_, _, err := c.Register(t.Context(), testTask, api.RegisterRequest{})
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Code != api.CodeUnauthorized {
		t.Errorf("got %v, want the refusal", err)
	}
	if nodes := c.Nodes(); len(nodes) != 1 || !nodes[0].Alive {
		t.Errorf("got %+v, want the supernode alive", nodes)
	}
}

func TestCredentialsTravelOnlyWhereNobodyElseSeesThem(t *testing.T) {
	t.Parallel()
	req := api.RegisterRequest{Origin: api.Origin{Header: map[string][]string{
		"authorization": {"Bearer x"}, "Cookie": {"a=b"}, "Accept": {"text/plain"},
	}}}
	if got := withholdSecrets(req, true); len(got.Origin.Header) != 3 || got.Private {
		t.Errorf("over TLS or loopback: got %+v, want it unchanged", got)
	}
	got := withholdSecrets(req, false)
	if len(got.Origin.Header) != 1 || got.Origin.Header["Accept"] == nil || !got.Private {
		t.Errorf("over plain HTTP: got %+v, want Accept only, and private", got)
	}
	if len(req.Origin.Header) != 3 {
		t.Error("the caller's header was changed")
	}
}

func TestEventsComeInOrderAndTheEndMeansDeath(t *testing.T) {
	t.Parallel()
	s := newSupernode(t)
	c := newClient(t, Config{Addrs: []string{s.addr()}, Token: func() string { return "secret" }})
	session, _, err := c.Register(t.Context(), testTask, api.RegisterRequest{Peer: "p"})
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	if err := session.Events(t.Context(), 0, func(u *api.Update) { got = append(got, u.Seq) }); err == nil {
		t.Error("the stream's end is no error")
	}
	if fmt.Sprint(got) != "[1 2 3]" {
		t.Errorf("got updates %v, want 1, 2, 3", got)
	}
	if c.Nodes()[0].Alive {
		t.Error("the supernode that ended the stream counts as alive")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.auth {
		if a != "Bearer secret" {
			t.Errorf("a call carried %q, want the token", a)
		}
	}
}

// inventory is a list of tasks that a test changes.
type inventory struct {
	mu       sync.Mutex // guards the fields below
	tasks    []api.HeldTask
	revision uint64
}

func (i *inventory) Tasks() ([]api.HeldTask, uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.tasks, i.revision
}

func TestHeartbeatsBringTheInventoryWhenItIsNews(t *testing.T) {
	t.Parallel()
	s := newSupernode(t)
	c := newClient(t, Config{Addrs: []string{s.addr()}})
	inv := &inventory{tasks: []api.HeldTask{{ID: testTask, Length: 1}}, revision: 1}
	c.resolve(t.Context())
	n := c.all()[0]
	beat := func() api.Heartbeat {
		t.Helper()
		c.beat(t.Context(), n, api.Host{ID: "h"}, "v", inv)
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.beats[len(s.beats)-1]
	}
	if h := beat(); len(h.Inventory) != 1 {
		t.Errorf("the first heartbeat: got %+v, want the inventory", h)
	}
	if h := beat(); h.Inventory != nil {
		t.Errorf("the second: got %+v, want no inventory", h)
	}
	inv.revision = 2
	if h := beat(); len(h.Inventory) != 1 {
		t.Errorf("after a change: got %+v, want the inventory", h)
	}
	s.mu.Lock()
	s.wants = true
	before := len(s.beats)
	s.mu.Unlock()
	if h := beat(); len(h.Inventory) != 1 || len(s.beats) != before+2 {
		t.Errorf("asked for: got %+v after %d heartbeats, want the inventory at once", h, len(s.beats)-before)
	}
}

func TestADeadSupernodeIsProbedAndComesBack(t *testing.T) {
	t.Parallel()
	s := newSupernode(t)
	c := newClient(t, Config{Addrs: []string{s.addr()}})
	c.resolve(t.Context())
	n := c.all()[0]
	n.failed(time.Now(), errors.New("gone"))
	if n.alive() || n.due(time.Now()) || !n.due(time.Now().Add(firstProbePause)) {
		t.Error("a dead supernode is asked again at once, or never")
	}
	c.beat(t.Context(), n, api.Host{ID: "h"}, "v", &inventory{})
	if !n.alive() {
		t.Error("a probe that succeeded did not bring the supernode back")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.beats) != 1 || s.beats[0].Host.ID != "h" {
		t.Errorf("got heartbeats %+v, want one of the host", s.beats)
	}
}

func TestASupernodeThatDiesBetweenHeartbeatsIsProbedSoon(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{Addrs: []string{newSupernode(t).addr()}})
	c.resolve(t.Context())
	n, now := c.all()[0], time.Now()
	if !n.due(now) || n.due(now.Add(api.HeartbeatInterval-1)) || !n.due(now.Add(api.HeartbeatInterval)) {
		t.Error("a living supernode is not asked once an interval")
	}
	n.lost(now, errors.New("gone"))
	if n.due(now) || !n.due(now.Add(firstProbePause)) {
		t.Error("a supernode that just died is not probed after the first pause")
	}
}

func TestTheStreamsThatASupernodesDeathEndsAreOneFailure(t *testing.T) {
	t.Parallel()
	s := newSupernode(t)
	c := newClient(t, Config{Addrs: []string{s.addr()}})
	session, _, err := c.Register(t.Context(), testTask, api.RegisterRequest{Peer: "p"})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		_ = session.Events(t.Context(), 0, func(*api.Update) {}) // always ends with an error
	}
	if n := c.all()[0]; n.alive() || !n.due(time.Now().Add(firstProbePause)) {
		t.Error("a supernode that served ten tasks is not probed after the first pause")
	}
}

type names map[string][]string

func (m names) LookupHost(_ context.Context, host string) ([]string, error) {
	if ips, ok := m[host]; ok {
		return ips, nil
	}
	return nil, errors.New("no such host")
}

func TestANameWithSeveralAddressesIsSeveralSupernodes(t *testing.T) {
	t.Parallel()
	dns := names{"supernode": {"10.0.0.2", "10.0.0.1"}}
	c := newClient(t, Config{Addrs: []string{"supernode", "10.0.0.1"}, Resolver: dns})
	list := func() string {
		c.resolve(t.Context())
		var all []string
		for _, n := range c.Nodes() {
			all = append(all, n.Addr)
		}
		return strings.Join(all, " ")
	}
	if got := list(); got != "10.0.0.1:8001 10.0.0.2:8001" {
		t.Errorf("got %q, want both addresses once", got)
	}
	kept := c.all()[1]
	dns["supernode"] = []string{"10.0.0.2", "10.0.0.3"}
	if got := list(); got != "10.0.0.1:8001 10.0.0.2:8001 10.0.0.3:8001" {
		t.Errorf("after a change: got %q", got)
	}
	if c.all()[1] != kept {
		t.Error("a supernode that stayed lost its state")
	}
	delete(dns, "supernode")
	if got := list(); got != "10.0.0.1:8001 10.0.0.2:8001 10.0.0.3:8001" {
		t.Errorf("while the name can't be looked up: got %q, want what was known", got)
	}
}

func TestRankingIsTheSameWhateverTheOrderOfAddresses(t *testing.T) {
	t.Parallel()
	a := newClient(t, Config{Addrs: []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}})
	b := newClient(t, Config{Addrs: []string{"10.0.0.3", "10.0.0.1", "10.0.0.2"}})
	a.resolve(t.Context())
	b.resolve(t.Context())
	first := map[string]int{}
	for i := range 300 {
		task := fmt.Sprintf("%064x", i)
		x, y := a.live(task), b.live(task)
		for k := range x {
			if x[k].addr != y[k].addr {
				t.Fatalf("task %d: ranks differ", i)
			}
		}
		first[x[0].addr]++
	}
	for addr, n := range first {
		if n < 60 {
			t.Errorf("%s is first for %d of 300 tasks, want about 100", addr, n)
		}
	}
}
