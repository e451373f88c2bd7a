// Package registry is dfdaemon's registry mirror: a read-only OCI registry over HTTP that answers blobs and manifests by digest from
// the swarm, and everything else from the registry that owns it. It shows a cached blob only to whom that registry would show it, and
// goes on from there whenever the swarm fails. docs/architecture.md tells the rules; package access keeps the proofs.
package registry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry/access"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry/upstream"
)

// maxMemories bounds the tags and the upstreams remembered, a few hundred bytes each.
const maxMemories = 4096

// Mirror is the handler. It starts no goroutine that outlives its requests for longer than flightTimeout.
type Mirror struct {
	cfg       Config
	upstreams *upstream.Policy
	transfers Transfers
	origin    Origin
	guard     Guard
	log       *slog.Logger
	metrics   *metrics
	now       func() time.Time

	proofs *access.Book
	slots  chan struct{}      // one for each request under way
	heads  singleflight.Group // requests to the origin that are the same
	tags   singleflight.Group
	stale  *lru.Cache[string, staleTag]
	closed *lru.Cache[string, time.Time] // repositories that want credentials, by URL, and until when to believe so
}

// New makes the handler.
func New(cfg Config, deps Deps) (*Mirror, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if deps.Now == nil {
		deps.Now = time.Now
	}
	m := &Mirror{
		cfg: cfg, transfers: deps.Transfers, origin: deps.Origin, guard: deps.Guard, log: deps.Log, now: deps.Now,
		slots: make(chan struct{}, cfg.MaxRequests),
	}
	var err error
	if m.upstreams, err = upstream.New(cfg.Upstreams); err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	if m.proofs, err = access.NewBook(cfg.MaxProofs, cfg.ProofTTL, deps.Now); err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	if m.stale, err = lru.New[string, staleTag](maxMemories); err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	if m.closed, err = lru.New[string, time.Time](maxMemories); err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	if m.metrics, err = newMetrics(deps.Registerer, func() float64 { return float64(len(m.slots)) }); err != nil {
		return nil, err
	}
	return m, nil
}

// ServeHTTP answers the OCI distribution API below /v2/.
func (m *Mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, codeTooMany, "the mirror has too many requests under way")
		return
	}
	rt, up, err := resolve(m.upstreams, r)
	if r.Method != http.MethodGet && r.Method != http.MethodHead && strings.HasPrefix(r.URL.Path+"/", "/v2/") {
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, http.StatusMethodNotAllowed, codeUnsupported, "the mirror is read-only; push to the registry itself")
		return
	}
	if err == nil {
		if err = m.guard.CheckHost(r.Context(), up.Host); err != nil {
			err = fmt.Errorf("%w: %w", upstream.ErrDenied, err)
		}
	}
	if err != nil {
		m.log.Info("mirror: request refused", "path", r.URL.Path, "error", err)
		failRoute(w, err)
		return
	}
	q := &request{route: rt, up: up, cred: m.proofs.Credential(r.Header), http: r}
	rec := m.metrics.begin(w, rt.kind)
	defer rec.end()
	m.serve(rec, q)
}

func (m *Mirror) serve(w http.ResponseWriter, q *request) {
	switch q.kind {
	case ping:
		m.ping(w, q)
	case tag:
		m.tag(w, q)
	case manifest, blob:
		m.content(w, q)
	default:
		m.list(w, q)
	}
}

// request is one request understood.
type request struct {
	route
	up   upstream.Upstream
	cred access.Credential
	http *http.Request
}

func (q *request) ctx() context.Context { return q.http.Context() }

// url at the origin. The query goes on without ns, and only where the API knows one.
func (q *request) url() string {
	if q.kind != list {
		return q.up.URL(q.path, "")
	}
	query := q.http.URL.Query()
	query.Del("ns")
	return q.up.URL(q.path, query.Encode())
}

// header for the origin: who asks and what for. Nothing else of the client's goes out.
func (q *request) header(also ...string) http.Header {
	h := http.Header{}
	for _, name := range append([]string{"Accept", "Authorization", "User-Agent"}, also...) {
		if v := q.http.Header.Values(name); len(v) > 0 {
			h[name] = v
		}
	}
	return h
}

// task is the id of the content. Content of an upstream that is not believed about what it holds is a task of its own: see
// upstream.Config.Shared.
func (q *request) task() string {
	id, err := piece.BlobID(q.digest)
	if err == nil && !q.up.Shared {
		id, err = piece.URLID(q.up.Base, nil, "", q.digest.String())
	}
	if err != nil {
		panic(err) // both were checked when the request was read
	}
	return id
}

// spec of the task for the transfer.
func (q *request) spec(cfg Config) Spec {
	h := q.header()
	if q.kind == manifest {
		// Named by its digest, it is what it is. An origin asked for other kinds only would not give it to the swarm.
		h["Accept"] = append(slices.Clone(h["Accept"]), manifestTypes()...)
	}
	return Spec{
		ID: q.task(), URL: q.url(), Header: h, Digest: q.digest,
		Private: q.up.ClientCert || !q.cred.Anonymous() && !cfg.ForwardCredentials,
	}
}

// etag of content named by its digest: it never changes.
func (q *request) etag() string { return `"` + q.digest.String() + `"` }

// proof that q's credential may read d in q's repository.
func (q *request) proof(k access.Kind, d digest.Digest) access.Proof {
	return access.Proof{Credential: q.cred, Upstream: q.up.Base, Repo: q.repo, Kind: k, Digest: d}
}

// own is the proof that q needs, being for content by digest.
func (q *request) own() access.Proof {
	if q.kind == manifest {
		return q.proof(access.Manifest, q.digest)
	}
	return q.proof(access.Blob, q.digest)
}

func (q *request) logger(m *Mirror) *slog.Logger {
	return m.log.With("upstream", q.up.Host, "kind", q.kind.String(), "repository", q.repo, "digest", q.digest.String())
}

func manifestTypes() []string {
	return []string{
		"application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
		"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
		"*/*;q=0.1",
	}
}
