package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newEngine is a peer without supernodes.
func newEngine(t *testing.T) *Engine {
	t.Helper()
	e, err := New(Config{PeerAddr: "127.0.0.1:0", DataDir: t.TempDir(), Origin: origin.Config{Retries: -1}},
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

// fileServer gives body to everybody, below /private to those with a token, and below /signed to those with a signature.
func fileServer(t *testing.T, body []byte) (url string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		switch {
		case r.URL.Path == "/none":
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Path == "/private" && r.Header.Get("Authorization") != "Bearer x", r.URL.Path == "/signed" && r.FormValue("sig") != "y":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Header().Set("Etag", `"v1"`)
			http.ServeContent(w, r, "f", time.Time{}, bytes.NewReader(body))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func fetch(t *testing.T, e *Engine, req api.FetchRequest) ([]byte, error) {
	t.Helper()
	c, err := e.Fetch(t.Context(), req)
	if err != nil {
		return nil, err
	}
	defer c.Body.Close()
	if c.Header["Etag"] != `"v1"` {
		t.Errorf("header: got %v", c.Header)
	}
	return io.ReadAll(c.Body)
}

func TestFetch(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	url, _ := fileServer(t, body)
	right := digest.FromBytes(body).String()
	for name, tc := range map[string]struct {
		req  api.FetchRequest
		want *api.Error // without message
	}{
		"all of it":                     {req: api.FetchRequest{URL: url + "/f"}},
		"from the middle":               {req: api.FetchRequest{URL: url + "/f", Offset: 100_000}},
		"from the end":                  {req: api.FetchRequest{URL: url + "/f", Offset: int64(len(body))}},
		"with its digest":               {req: api.FetchRequest{URL: url + "/f", Digest: right}},
		"with a digest we don't verify": {req: api.FetchRequest{URL: url + "/f", Digest: "md5:d41d8cd98f00b204e9800998ecf8427e"}},
		"from the origin only":          {req: api.FetchRequest{URL: url + "/f", Pattern: api.PatternSource, Tag: "t"}},
		"with a token, in lower case":   {req: api.FetchRequest{URL: url + "/private", Header: map[string][]string{"authorization": {"Bearer x"}}}},
		"with a signature":              {req: api.FetchRequest{URL: url + "/signed?sig=y", Filters: []string{"sig"}}},
		"from behind the end":           {api.FetchRequest{URL: url + "/f", Offset: int64(len(body)) + 1}, &api.Error{Code: api.CodeBadRequest}},
		"from before the start":         {api.FetchRequest{URL: url + "/f", Offset: -1}, &api.Error{Code: api.CodeBadRequest}},
		"by an unknown pattern":         {api.FetchRequest{URL: url + "/f", Pattern: "x"}, &api.Error{Code: api.CodeBadRequest}},
		"no URL":                        {api.FetchRequest{}, &api.Error{Code: api.CodeBadRequest}},
		"a digest that is none":         {api.FetchRequest{URL: url, Digest: "sha256:0"}, &api.Error{Code: api.CodeBadRequest}},
		"what the origin does not have": {api.FetchRequest{URL: url + "/none"}, &api.Error{Code: api.CodeOrigin, Status: 404}},
		"what it does not give us":      {api.FetchRequest{URL: url + "/private", Tag: "u"}, &api.Error{Code: api.CodeOrigin, Status: 401}},
		"an origin that is not there":   {api.FetchRequest{URL: "http://127.0.0.1:1/f"}, &api.Error{Code: api.CodeOrigin}},
		"without an origin":             {api.FetchRequest{URL: url + "/g", NoOrigin: true}, &api.Error{Code: api.CodeNotFound}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := fetch(t, newEngine(t), tc.req)
			if tc.want != nil {
				e, ok := errors.AsType[*api.Error](err)
				if !ok || e.Code != tc.want.Code || e.Status != tc.want.Status {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				return
			}
			if err != nil || !bytes.Equal(got, body[tc.req.Offset:]) {
				t.Errorf("got %d bytes, %v, want %d", len(got), err, len(body[tc.req.Offset:]))
			}
		})
	}
}

func TestDirectIsLikeAnEngineThatReadsTheOrigin(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	url, _ := fileServer(t, body)
	client, err := origin.New(origin.Config{Retries: -1}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := api.FetchRequest{URL: url + "/private", Tag: "t", Offset: 1000, Header: map[string][]string{"authorization": {"Bearer x"}}}
	want, err := newEngine(t).Fetch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Body.Close()
	got, err := Direct{client}.Fetch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if got.Task != want.Task || got.Length != want.Length || !maps.Equal(got.Header, want.Header) {
		t.Errorf("got %s, %d bytes, %v; want %s, %d bytes, %v", got.Task, got.Length, got.Header, want.Task, want.Length, want.Header)
	}
	if b, err := io.ReadAll(got.Body); err != nil || !bytes.Equal(b, body[1000:]) || got.Shares().FromOrigin != int64(len(b)) {
		t.Errorf("read %d bytes, %v, shares %+v", len(b), err, got.Shares())
	}
	req.Header = nil
	if _, err := (Direct{client}).Fetch(t.Context(), req); statusOf(err) != http.StatusUnauthorized {
		t.Errorf("without a token: %v, want the origin's 401", err)
	}
}

func statusOf(err error) int {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e.Status
	}
	return 0
}

func TestWrongContentIsInvalid(t *testing.T) {
	t.Parallel()
	url, _ := fileServer(t, []byte("right"))
	c, err := newEngine(t).Fetch(t.Context(), api.FetchRequest{URL: url + "/f", Digest: digest.FromString("wrong").String()})
	if err == nil {
		// The bytes come before the verdict, which dfget makes once more itself.
		defer c.Body.Close()
		if err = c.Body.(*fetched).handle.Wait(t.Context()); errors.Is(err, transfer.ErrDigest) {
			err = wireError(err)
		}
	}
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeInvalid {
		t.Errorf("got %v, want %s", err, api.CodeInvalid)
	}
}

func TestCachedPrivateContentIsGivenToWhomTheOriginGivesIt(t *testing.T) {
	t.Parallel()
	body := []byte("for your eyes only")
	url, requests := fileServer(t, body)
	e := newEngine(t)
	with := func(h string) map[string][]string { return map[string][]string{"Authorization": {h}} }
	for _, step := range []struct {
		name   string
		req    api.FetchRequest
		status int // of the refusal, 0 for none
	}{
		{"the first has the token", api.FetchRequest{URL: url + "/private", Header: with("Bearer x")}, 0},
		{"nobody else may have it", api.FetchRequest{URL: url + "/private"}, 401},
		{"nor with another token", api.FetchRequest{URL: url + "/private", Header: with("Bearer z")}, 401},
		{"but with the same", api.FetchRequest{URL: url + "/private", Header: with("Bearer x")}, 0},
		{"a signature that does not count for what it is", api.FetchRequest{URL: url + "/signed?sig=y", Filters: []string{"sig"}}, 0},
		{"counts for who may have it", api.FetchRequest{URL: url + "/signed?sig=z", Filters: []string{"sig"}}, 401},
	} {
		got, err := fetch(t, e, step.req)
		refused, _ := errors.AsType[*api.Error](err)
		switch {
		case step.status == 0 && (err != nil || !bytes.Equal(got, body)):
			t.Errorf("%s: got %q, %v", step.name, got, err)
		case step.status != 0 && (refused == nil || refused.Status != step.status):
			t.Errorf("%s: got %q, %v, want a refusal with %d", step.name, got, err, step.status)
		}
	}
	before := requests.Load()
	for range 3 {
		if _, err := fetch(t, e, api.FetchRequest{URL: url + "/public"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := requests.Load() - before; got != 1 {
		t.Errorf("three fetches of public content cost %d requests, want 1", got)
	}
}

func TestUserAndPasswordOfAURLAreCredentials(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	got, err := takeUser("http://me:pass@h/f?a=b", h)
	if err != nil || got != "http://h/f?a=b" {
		t.Errorf("URL: got %q, %v", got, err)
	}
	if diff := cmp.Diff(http.Header{"Authorization": {"Basic bWU6cGFzcw=="}}, h); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	h.Set("Authorization", "Bearer mine")
	if _, err := takeUser("http://me:pass@h/f", h); err != nil || h.Get("Authorization") != "Bearer mine" {
		t.Errorf("the header's own went: %v, %v", h, err)
	}
	if _, err := takeUser("http://me:hunter2@h/%zz", h); err == nil || bytes.Contains([]byte(err.Error()), []byte("hunter2")) {
		t.Errorf("a broken URL: got %v, want an error without the password", err)
	}
}

func TestAWritersErrorIsItsOwn(t *testing.T) {
	t.Parallel()
	url, _ := fileServer(t, bytes.Repeat([]byte("x"), 100_000))
	c, err := newEngine(t).Fetch(t.Context(), api.FetchRequest{URL: url + "/f"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Body.Close()
	full := errors.New("disk full")
	if _, err := c.Body.(io.WriterTo).WriteTo(failing{full}); !errors.Is(err, full) {
		t.Errorf("got %v, want the writer's error", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestTheEndOfTheContextEndsABody(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	defer s.Close()
	defer close(release)
	mine := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	c, err := newEngine(t).Fetch(ctx, api.FetchRequest{URL: s.URL + "/f"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Body.Close()
	cancel(mine)
	if _, err := io.ReadAll(c.Body); !errors.Is(err, mine) {
		t.Errorf("got %v, want the caller's cause", err)
	}
}

func TestAnEngineForOneDownloadGivesTheFile(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	url, _ := fileServer(t, body)
	dir := t.TempDir()
	e, err := New(Config{PeerAddr: "127.0.0.1:0", DataDir: filepath.Join(dir, "store"), Origin: origin.Config{Retries: -1}, Once: true},
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := e.Run(t.Context()); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	c, err := e.Fetch(t.Context(), api.FetchRequest{URL: url + "/f", Digest: digest.FromBytes(body).String()})
	if err != nil {
		t.Fatal(err)
	}
	passed := int64(0)
	for err == nil {
		var n int64
		n, err = c.File.Skip()
		passed += n
	}
	if !errors.Is(err, io.EOF) || passed != int64(len(body)) {
		t.Errorf("passed over %d bytes, then %v; want %d and the end", passed, err, len(body))
	}
	path := filepath.Join(dir, "f")
	if err := c.File.Move(path, 0o600); err != nil {
		t.Fatal(err)
	}
	wg.Wait() // peers are not served any more
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, body) {
		t.Errorf("the file has %d bytes, %v; want %d", len(got), err, len(body))
	}
	c.Body.Close()
	if err := e.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestAnEngineForManyKeepsTheFile(t *testing.T) {
	t.Parallel()
	url, _ := fileServer(t, []byte("text"))
	c, err := newEngine(t).Fetch(t.Context(), api.FetchRequest{URL: url + "/f"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Body.Close()
	if c.File != nil {
		t.Error("the file of a store that others use can be had")
	}
}
