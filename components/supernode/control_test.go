package supernode

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/secret"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
	"github.com/dragonfly-kube/dragonfly/components/internal/swarm"
)

// instantSeed has everything at once: three pieces.
type instantSeed struct{}

func (instantSeed) Open(string) seed.Holding { return seed.Holding{} }
func (instantSeed) Close(string)             {}
func (instantSeed) Discard(string)           {}
func (instantSeed) Check(context.Context, seed.Request, api.Meta) error {
	return nil
}
func (instantSeed) Content(string, int64) ([]byte, error) { return nil, nil }
func (instantSeed) Fetch(_ context.Context, job seed.Job, p seed.Progress) error {
	if job.Meta != nil {
		return errors.New("peers know better")
	}
	p.Meta(api.Meta{Length: 3 * piece.MinSize, PieceSize: piece.MinSize})
	for i := range 3 {
		d := piece.Sum([]byte{byte(i)})
		p.Gained(api.Piece{Index: i, SHA256: d[:]})
	}
	return nil
}

// handlers are the routes of a faked supernode.
func handlers(tb testing.TB, keys *secret.Keyring) http.Handler {
	tb.Helper()
	return faked(tb, keys).routes()
}

// faked is a supernode over a swarm with a fake seed: no listener, no disk, no origin.
func faked(tb testing.TB, keys *secret.Keyring) *Server {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &Server{cfg: DefaultConfig(), log: log, registry: prometheus.NewRegistry(), keys: keys, download: addrOnly{}}
	s.metrics = newMetrics(s.registry)
	s.pieces = http.NotFoundHandler()
	s.probe.check = func() error { return nil }
	s.serving.Store(true)
	s.swarm = swarm.New(swarm.Config{}, swarm.Deps{
		Seed: instantSeed{}, Manifests: newManifests(), Keys: keys, Log: log, Registerer: s.registry,
	})
	tb.Cleanup(s.swarm.Close)
	return s
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func ask(h http.Handler, method, path, contentType, body string, header ...string) answer {
	r := httptest.NewRequest(method, "http://supernode"+path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.Bytes()}
}

// refusal is the error that an answer has to have in the one shape.
func (a answer) refusal(t *testing.T) api.Error {
	t.Helper()
	var e api.ErrorBody
	if err := json.Unmarshal(a.body, &e); err != nil || e.Error.Code == "" || e.Error.Message == "" {
		t.Fatalf("answer %d %.200q is no error in the common shape: %v", a.status, a.body, err)
	}
	return e.Error
}

var task = idOf([]byte("task"))

func registerBody(change func(*api.RegisterRequest)) string {
	r := registration("p1", "http://origin/blob", "")
	if change != nil {
		change(&r)
	}
	b, _ := json.Marshal(r)
	return string(b)
}

func TestBadRequestsAreRefusedWithAReason(t *testing.T) {
	t.Parallel()
	h := handlers(t, nil)
	peers, js := api.RegisterPath(task), "application/json"
	reg := registerBody
	held := func(p api.Piece) string {
		return reg(func(r *api.RegisterRequest) {
			r.Held = []api.Piece{p}
		})
	}
	tests := []struct {
		name, method, path, contentType, body string
		status                                int
		says                                  string
	}{
		{"no such path", "GET", "/nothing", "", "", 404, "nothing at this path"},
		{"no such method", "DELETE", peers, "", "", 405, "DELETE"},
		{"task id too short", "POST", "/api/v1/tasks/abc/peers", js, reg(nil), 400, "64"},
		{"task id in upper case", "POST", "/api/v1/tasks/" + strings.ToUpper(task) + "/peers", js, reg(nil), 400, "64"},
		{"task id with a path in it", "POST", "/api/v1/tasks/..%2f..%2fetc/peers", js, reg(nil), 400, "64"},
		{"no content type", "POST", peers, "", reg(nil), 415, "application/json"},
		{"a form", "POST", peers, "application/x-www-form-urlencoded", "a=b", 415, "application/json"},
		{"empty body", "POST", peers, js, "", 400, "JSON"},
		{"no JSON", "POST", peers, js, "<xml/>", 400, "JSON"},
		{"cut short", "POST", peers, js, reg(nil)[:40], 400, "JSON"},
		{"more behind the object", "POST", peers, js, reg(nil) + "{}", 400, "more behind"},
		{"an array", "POST", peers, js, "[]", 400, "JSON"},
		{"a number for a text", "POST", peers, js, `{"peer":7}`, 400, "peer"},
		{"deep nesting", "POST", peers, js, strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), 400, "JSON"},
		{"larger than 4 MiB", "POST", peers, js, `{"peer":"` + strings.Repeat("x", 5<<20) + `"}`, 413, "exceeds"},
		{"no peer id", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Peer = "" }), 400, "peer"},
		{"peer id of the supernode's kind", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Peer = "@seed" }), 400, "peer"},
		{"peer id too long", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Peer = strings.Repeat("p", 129) }), 400, "peer"},
		{"no host id", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Host.ID = "" }), 400, "host.id"},
		{"no address", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Host.Addrs = nil }), 400, "host.addrs"},
		{"a name as address", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Host.Addrs = []string{"node1:65002"} }), 400, "host.addrs"},
		{"the unspecified address", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Host.Addrs = []string{"0.0.0.0:65002"} }), 400, "host.addrs"},
		{"port zero", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Host.Addrs = []string{"10.0.0.1:0"} }), 400, "host.addrs"},
		{"too many addresses", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Host.Addrs = make([]string, 9) }), 400, "host.addrs"},
		{"no URL", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Origin.URL = "" }), 400, "origin.url"},
		{"a file URL", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Origin.URL = "file:///etc/passwd" }), 400, "origin.url"},
		{"no digest", "POST", peers, js, reg(func(r *api.RegisterRequest) { r.Origin.Digest = "sha256:abc" }), 400, "origin.digest"},
		{"a header that splits", "POST", peers, js, reg(func(r *api.RegisterRequest) {
			r.Origin.Header = map[string][]string{"X-A": {"b\r\nEvil: 1"}}
		}), 400, "origin.header"},
		{"a header's name with a space", "POST", peers, js, reg(func(r *api.RegisterRequest) {
			r.Origin.Header = map[string][]string{"X A": {"b"}}
		}), 400, "origin.header"},
		{"too large headers", "POST", peers, js, reg(func(r *api.RegisterRequest) {
			r.Origin.Header = map[string][]string{"X-A": {strings.Repeat("b", 40<<10)}}
		}), 400, "origin.header"},
		{"pieces without meta", "POST", peers, js, held(api.Piece{}), 400, "meta"},
		{"a piece size of one byte", "POST", peers, js, reg(func(r *api.RegisterRequest) {
			r.Meta = &api.Meta{Length: 1 << 40, PieceSize: 1}
		}), 400, "meta"},
		{"a negative length", "POST", peers, js, reg(func(r *api.RegisterRequest) {
			r.Meta = &api.Meta{Length: -2, PieceSize: piece.MinSize}
		}), 400, "meta"},
		{"events of an unknown peer", "GET", api.EventsPath(task, "nobody", 0), "", "", 404, "register"},
		{"events since a word", "GET", peers + "/p1/events?since=now", "", "", 400, "since"},
		{"events of a peer with a slash", "GET", peers + "/a%2fb/events", "", "", 400, "peer"},
		{"report of an unknown peer", "POST", api.ReportsPath(task, "nobody"), js, "{}", 404, "register"},
		{"a negative number of bytes", "POST", api.ReportsPath(task, "p1"), js, `{"from_seed":-1}`, 400, "bytes"},
		{"more bytes than there are", "POST", api.ReportsPath(task, "p1"), js, `{"from_seed":9223372036854775807}`, 400, "bytes"},
		{"a heartbeat of another host", "PUT", api.HostPath("h1"), js, `{"host":{"id":"h2","addrs":["10.0.0.1:1"]}}`, 400, "host.id"},
		{"a heartbeat that promises no other", "PUT", api.HostPath("h1"), js, `{"host":{"id":"h1","addrs":["10.0.0.1:1"]},"every":16}`, 400, "every"},
		{"a heartbeat that comes before the last", "PUT", api.HostPath("h1"), js, `{"host":{"id":"h1","addrs":["10.0.0.1:1"]},"every":-5}`, 400, "every"},
		{"an inventory of nonsense", "PUT", api.HostPath("h1"), js, `{"host":{"id":"h1","addrs":["10.0.0.1:1"]},"inventory":[{"id":"x","length":1}]}`, 400, "inventory"},
		{"an unknown task", "GET", api.PathTasks + "/" + task, "", "", 404, "not in memory"},
		{"peers of an unknown task", "GET", peers, "", "", 404, "not in memory"},
		{"a page of no rows", "GET", api.PathTasks + "?limit=0", "", "", 400, "limit"},
		{"a page of all rows", "GET", api.PathTasks + "?limit=1000000", "", "", 400, "limit"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := ask(h, tc.method, tc.path, tc.contentType, tc.body)
			e := a.refusal(t)
			if a.status != tc.status || !strings.Contains(e.Message, tc.says) {
				t.Errorf("got %d %s %q, want %d with %q", a.status, e.Code, e.Message, tc.status, tc.says)
			}
			if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
				t.Errorf("the error is of type %q", kind)
			}
		})
	}
}

func TestUnknownFieldsOfNewerPeersAreLetThrough(t *testing.T) {
	t.Parallel()
	h := handlers(t, nil)
	body := strings.Replace(registerBody(nil), "{", `{"new_field":{"a":[1,2]},`, 1)
	if a := ask(h, "POST", api.RegisterPath(task), "application/json; charset=utf-8", body); a.status != http.StatusOK {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestTheControlPlaneWantsTheToken(t *testing.T) {
	t.Parallel()
	keys, other := keyring(t, "a"), keyring(t, "b")
	h := handlers(t, keys)
	for _, tc := range []struct {
		name, header string
		open         bool
	}{
		{"none", "", false},
		{"a good one", "Bearer " + keys.Token(), true},
		{"one of another cluster", "Bearer " + other.Token(), false},
		{"an expired one", "Bearer v1.1000000000.AAAA", false},
		{"nonsense", "Bearer nonsense", false},
		{"basic authorization", "Basic dXNlcjpwYXNz", false},
	} {
		for _, call := range []struct{ method, path, body string }{
			{"POST", api.RegisterPath(task), registerBody(nil)},
			{"POST", api.ReportsPath(task, "p1"), "{}"},
			{"PUT", api.HostPath("h1"), `{"host":{"id":"h1","addrs":["10.0.0.1:1"]}}`},
			{"GET", api.PathTasks, ""},
			{"GET", api.PathTasks + "/" + task, ""},
			{"GET", api.RegisterPath(task), ""},
		} {
			a := ask(h, call.method, call.path, "application/json", call.body, "Authorization", tc.header)
			if tc.open && a.status >= 300 {
				t.Errorf("%s: %s %s answered %d %s", tc.name, call.method, call.path, a.status, a.body)
			}
			if tc.open {
				continue
			}
			if e := a.refusal(t); a.status != http.StatusUnauthorized || e.Code != api.CodeUnauthorized || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %s %s answered %d %s, want 401 with a challenge", tc.name, call.method, call.path, a.status, e.Code)
			}
		}
	}
	for _, path := range []string{api.PathHealthy, api.PathReady, api.PathMetrics, api.PathVersion} {
		if a := ask(h, "GET", path, "", ""); a.status != http.StatusOK {
			t.Errorf("%s without a token answered %d, want 200", path, a.status)
		}
	}
}

func keyring(tb testing.TB, letter string) *secret.Keyring {
	tb.Helper()
	keys, err := secret.New(strings.Repeat(letter, 32))
	if err != nil {
		tb.Fatal(err)
	}
	return keys
}

func TestNeitherCredentialsNorQueriesAreLogged(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := &Server{cfg: DefaultConfig(), log: log, registry: prometheus.NewRegistry(), download: addrOnly{}}
	s.metrics = newMetrics(s.registry)
	s.swarm = swarm.New(swarm.Config{}, swarm.Deps{Seed: instantSeed{}, Manifests: newManifests(), Keys: s.keys, Log: log, Registerer: s.registry})
	t.Cleanup(s.swarm.Close)
	h := s.routes()
	body := registerBody(func(r *api.RegisterRequest) {
		r.Origin.URL = "http://user:hunter2@origin/blob?signature=hunter2"
		r.Origin.Header = map[string][]string{"Authorization": {"Bearer hunter2"}}
	})
	ask(h, "POST", api.RegisterPath(task)+"?key=hunter2", "application/json", body, "Authorization", "Bearer hunter2")
	list := ask(h, "GET", api.PathTasks, "", "")
	if !strings.Contains(logged.String(), "route") {
		t.Fatalf("no request was logged: %s", logged.String())
	}
	if strings.Contains(logged.String(), "hunter2") || bytes.Contains(list.body, []byte("hunter2")) {
		t.Errorf("a secret was told:\n%s\n%s", logged.String(), list.body)
	}
}

func TestUnreadyWhileStoppingAndWithoutDisk(t *testing.T) {
	t.Parallel()
	s := &Server{cfg: DefaultConfig(), log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()}
	s.metrics = newMetrics(s.registry)
	var broken error
	s.probe.check = func() error { return broken }
	h := s.routes()
	ready := func() int {
		s.probe.at = s.probe.at.Add(-probeEvery)
		return ask(h, "GET", api.PathReady, "", "").status
	}
	if got := ready(); got != http.StatusServiceUnavailable {
		t.Errorf("before serving: %d, want 503", got)
	}
	s.serving.Store(true)
	if got := ready(); got != http.StatusOK {
		t.Errorf("while serving: %d, want 200", got)
	}
	broken = probeWritable(filepath.Join(t.TempDir(), "no such folder"))
	if broken == nil {
		t.Fatal("a folder that is not there counts as writable")
	}
	a := ask(h, "GET", api.PathReady, "", "")
	if a.status != http.StatusOK {
		t.Errorf("the disk was looked at twice within %v", probeEvery)
	}
	if got := ready(); got != http.StatusServiceUnavailable {
		t.Errorf("without a disk: %d, want 503", got)
	}
	if got := ask(h, "GET", api.PathHealthy, "", "").status; got != http.StatusOK {
		t.Errorf("health: %d, want 200", got)
	}
	if err := probeWritable(t.TempDir()); err != nil {
		t.Errorf("an empty folder counts as not writable: %v", err)
	}
}

func TestAPanicIsAnAnswerAndTellsNothing(t *testing.T) {
	t.Parallel()
	s := &Server{cfg: DefaultConfig(), log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()}
	s.metrics = newMetrics(s.registry)
	e := s.plainRoutes()
	e.GET("/panic", func(*gin.Context) { panic("the password is hunter2") })
	a := ask(e, "GET", "/panic", "", "")
	if got := a.refusal(t); a.status != http.StatusInternalServerError || strings.Contains(string(a.body), "hunter2") {
		t.Errorf("got %d %+v", a.status, got)
	}
}

func FuzzControl(f *testing.F) {
	peers := api.RegisterPath(task)
	f.Add("POST", peers, registerBody(nil))
	f.Add("POST", peers, registerBody(func(r *api.RegisterRequest) {
		r.Private, r.Meta = true, &api.Meta{Length: 3 * piece.MinSize, PieceSize: piece.MinSize}
		r.Held = []api.Piece{{Index: 1, SHA256: make([]byte, 32)}}
	}))
	f.Add("POST", api.ReportsPath(task, "p1"), `{"have":"0-2","complete":true,"bad":[{"peer":"p2","piece":0,"reason":"digest"}]}`)
	f.Add("POST", api.ReportsPath(task, "p1"), `{"left":true,"source_failed":{"code":"INVALID"}}`)
	f.Add("PUT", api.HostPath("h1"), fmt.Sprintf(`{"host":{"id":"h1","addrs":["10.0.0.1:1"]},"revision":1,"inventory":[{"id":%q,"length":1}]}`, task))
	f.Add("GET", api.PathTasks+"?limit=5&after=x", "")
	f.Add("GET", peers+"?after=%zz", "")
	h := handlers(f, nil)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if strings.Contains(path, "/events") {
			return // a recorder has no connection to take over; see feeds_test.go
		}
		r, err := http.NewRequest(method, "http://supernode"+path, strings.NewReader(body))
		if err != nil || r.URL.Host != "supernode" {
			return
		}
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
			t.Fatalf("%s %s answered %d %s", method, path, w.Code, w.Body)
		}
		if w.Code >= 400 && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%s %s answered %d with %q, which is no JSON", method, path, w.Code, w.Body)
		}
	})
}
