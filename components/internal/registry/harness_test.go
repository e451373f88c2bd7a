package registry

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry/egress"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry/upstream"
)

// testOrigin is a real registry behind a layer that counts, demands credentials and fails on demand.
type testOrigin struct {
	*httptest.Server
	inner http.Handler

	mu     sync.Mutex
	log    []string                                      // "GET /v2/app/blobs/sha256:…"
	allow  func(auth, repo string) bool                  // nil: everybody may read everything
	scheme string                                        // of the challenge: "Basic" or "Bearer"
	hook   func(http.ResponseWriter, *http.Request) bool // true: it has answered
}

func newOrigin(t *testing.T) *testOrigin {
	t.Helper()
	o := &testOrigin{inner: registry.New(registry.WithReferrersSupport(true), registry.Logger(slog.NewLogLogger(slog.DiscardHandler, 0)))}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *testOrigin) host() string { return strings.TrimPrefix(o.URL, "http://") }

func (o *testOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.log = append(o.log, r.Method+" "+r.URL.RequestURI())
	allow, scheme, hook := o.allow, o.scheme, o.hook
	o.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	if r.URL.Path == "/token" {
		o.token(w, r)
		return
	}
	if allow != nil && r.Method != http.MethodPut && r.Method != http.MethodPost && !allow(r.Header.Get("Authorization"), repoOf(r.URL.Path)) {
		challenge := `Basic realm="test"`
		if scheme == "Bearer" {
			// By name: the client refuses a realm at a loopback address.
			realm := strings.Replace(o.URL, "127.0.0.1", "localhost", 1)
			challenge = `Bearer realm="` + realm + `/token",service="test"`
			if repo := repoOf(r.URL.Path); repo != "" {
				challenge += `,scope="repository:` + repo + `:pull"`
			}
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"origin says no"}]}`)
		return
	}
	o.inner.ServeHTTP(w, r)
}

// token gives "Bearer user:repo" to whoever knows the password, and "Bearer :repo" to anonymous.
func (o *testOrigin) token(w http.ResponseWriter, r *http.Request) {
	user, pass, ok := r.BasicAuth()
	if ok && pass != "secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var repos []string
	for _, scope := range r.URL.Query()["scope"] {
		repos = append(repos, strings.TrimSuffix(strings.TrimPrefix(scope, "repository:"), ":pull"))
	}
	fmt.Fprintf(w, `{"token":%q}`, user+":"+strings.Join(repos, "+"))
}

func repoOf(path string) string {
	p := strings.TrimPrefix(path, "/v2/")
	for _, mark := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if before, _, ok := strings.Cut(p, mark); ok {
			return before
		}
	}
	return ""
}

func (o *testOrigin) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

// count of requests that contain all the words, since the last reset.
func (o *testOrigin) count(words ...string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, line := range o.log {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

func (o *testOrigin) reset() { o.set(func() { o.log = nil }) }

// httpOrigin is the Origin of the tests.
type httpOrigin struct {
	client  *http.Client
	streams atomic.Int64
}

func (h *httpOrigin) Do(ctx context.Context, req *http.Request) (*http.Response, error) {
	return h.client.Do(req.WithContext(ctx))
}

func (h *httpOrigin) Stream(ctx context.Context, url string, header http.Header, off, n int64) (int64, io.ReadCloser, error) {
	h.streams.Add(1)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	req.Header = header.Clone()
	if n >= 0 { // the registry knows no other ranges
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	if resp.StatusCode == http.StatusOK {
		if _, err := io.CopyN(io.Discard, resp.Body, off); err != nil {
			return 0, nil, err
		}
		return resp.ContentLength, resp.Body, nil
	}
	if resp.StatusCode != http.StatusPartialContent {
		resp.Body.Close()
		return 0, nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	var first, last, total int64
	if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); err != nil {
		return 0, nil, err
	}
	return total, resp.Body, nil
}

// swarm is a fake of package transfer: one task a content, fetched from its origin by the first who asks with success.
type swarm struct {
	client *http.Client

	mu      sync.Mutex
	tasks   map[string]*swarmTask
	specs   []Spec
	openErr error
	metaErr error
	// cut makes readers fail after as many bytes of the content; negative: never.
	cut       int64
	noWriteTo bool
	lengthOff bool // tell no length
}

type swarmTask struct {
	data  []byte
	meta  api.Meta
	local bool // complete on this host, so that Known tells of it
}

func newSwarm(client *http.Client) *swarm {
	return &swarm{client: client, tasks: map[string]*swarmTask{}, cut: -1}
}

func (s *swarm) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *swarm) opens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.specs)
}

func (s *swarm) Known(id string) (api.Meta, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[id]; t != nil && t.local {
		return t.meta, true
	}
	return api.Meta{}, false
}

func (s *swarm) Open(ctx context.Context, spec Spec) (Handle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.specs = append(s.specs, spec)
	if s.openErr != nil {
		return nil, s.openErr
	}
	return &swarmHandle{s: s, spec: spec}, nil
}

type swarmHandle struct {
	s    *swarm
	spec Spec
}

func (h *swarmHandle) Meta(ctx context.Context) (api.Meta, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.s.metaErr != nil {
		return api.Meta{}, h.s.metaErr
	}
	t, err := h.s.task(ctx, h.spec)
	if err != nil {
		return api.Meta{}, err
	}
	meta := t.meta
	meta.Header = maps.Clone(meta.Header)
	if h.s.lengthOff {
		meta.Length = -1
	}
	return meta, nil
}

// task is fetched under the lock: the swarm has one download.
func (s *swarm) task(ctx context.Context, spec Spec) (*swarmTask, error) {
	if t := s.tasks[spec.ID]; t != nil {
		return t, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, spec.URL, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header = spec.Header.Clone()
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("origin answered %d", resp.StatusCode)
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	v := spec.Digest.Verifier()
	v.Write(data)
	if !v.Verified() {
		return nil, errors.New("digest mismatch")
	}
	t := &swarmTask{data: data, local: true, meta: api.Meta{
		Length: int64(len(data)), Public: spec.Header.Get("Authorization") == "",
		Header: map[string]string{"Content-Type": resp.Header.Get("Content-Type")},
	}}
	s.tasks[spec.ID] = t
	return t, nil
}

func (h *swarmHandle) Source() string { return "swarm" }
func (h *swarmHandle) Close()         {}

func (h *swarmHandle) Reader(off, n int64) io.ReadCloser {
	t, err := h.s.task(context.Background(), h.spec)
	if err != nil {
		return io.NopCloser(&failing{err: err})
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	end := int64(len(t.data))
	if n >= 0 {
		end = min(end, off+n)
	}
	r := io.Reader(bytes.NewReader(t.data[off:end]))
	if cut := h.s.cut; cut >= 0 && cut < end {
		r = io.MultiReader(bytes.NewReader(t.data[off:max(off, cut)]), &failing{err: errors.New("peers are gone")})
	}
	if h.s.noWriteTo {
		r = struct{ io.Reader }{r}
	}
	return readCloser{r}
}

type readCloser struct{ io.Reader }

func (readCloser) Close() error { return nil }

// WriteTo as the real reader has it.
func (r readCloser) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, r.Reader) }

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// noNames is a resolver that knows addresses only.
type noNames struct{}

func (noNames) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	a, err := netip.ParseAddr(host)
	return []netip.Addr{a}, err
}

// rig is a mirror before an origin.
type rig struct {
	*Mirror
	t      *testing.T
	origin *testOrigin
	swarm  *swarm
	http   *httpOrigin
	server *httptest.Server
	client *http.Client
	names  map[string]string // what "host:port" is dialled as; set before the first request
	clock  atomic.Int64      // nanoseconds that the mirror's clock is ahead
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	o := newOrigin(t)
	r := &rig{t: t, origin: o, names: map[string]string{"origin.test:80": o.host()}}
	transport := &http.Transport{
		DisableCompression: true,
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // test servers by made-up names
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if to, ok := r.names[addr]; ok {
				addr = to
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	client := &http.Client{Transport: transport}
	r.swarm, r.http = newSwarm(client), &httpOrigin{client: client}
	cfg := Config{Upstreams: upstream.Config{Registry: o.URL, Hosts: map[string]upstream.Host{"origin.test": {PlainHTTP: true}}}}
	for _, f := range change {
		f(&cfg)
	}
	policy, err := upstream.New(cfg.Upstreams)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := egress.New(egress.Config{Trusted: policy.AnyAddress, Resolver: noNames{}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(cfg, Deps{
		Transfers: r.swarm, Origin: r.http, Guard: guard, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(r.clock.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Mirror = m
	r.server = httptest.NewServer(m)
	own := &http.Transport{DisableCompression: true}
	r.client = &http.Client{Transport: own}
	t.Cleanup(func() { r.server.Close(); own.CloseIdleConnections(); transport.CloseIdleConnections() })
	return r
}

func (r *rig) host() string { return strings.TrimPrefix(r.server.URL, "http://") }

func (r *rig) pass(d time.Duration) { r.clock.Add(int64(d)) }

// reply is an answer read to its end.
type reply struct {
	*http.Response
	body []byte
	err  error // the connection broke before the header or in the body
}

// do asks the mirror. headers come in pairs.
func (r *rig) do(method, path string, headers ...string) reply {
	r.t.Helper()
	u, err := url.Parse(r.server.URL + path)
	if err != nil {
		r.t.Fatal(err)
	}
	req := (&http.Request{Method: method, URL: u, Header: http.Header{}}).WithContext(r.t.Context())
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return reply{&http.Response{Header: http.Header{}}, nil, err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp, body, err}
}
