package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

const (
	// metaTimeout is a safety net: the transfer keeps its own, shorter bounds.
	metaTimeout = 10 * time.Second
	// publicTimeout bounds the question whether the swarm holds something as public, while its origin fails. A supernode that knows it
	// says so at once.
	publicTimeout = 2 * time.Second
	// closedTTL is how long a repository that asked for credentials is believed to want them for all it has.
	closedTTL = time.Minute
)

// verdict on a request for content by digest.
type verdict int

const (
	allowed verdict = iota
	refused         // the origin's own answer is to be passed on
	unknown         // the origin could not be asked
)

// opened is what is known of a download. The handle is nil as long as nobody had to open it.
type opened struct {
	cancel context.CancelFunc // ends all that is done for the request
	handle Handle
	known  bool // meta is
	meta   api.Meta
	head   *answer // of the origin, if it was asked
}

func (o *opened) source() string {
	if o.handle == nil {
		return sourceCache
	}
	return o.handle.Source()
}

// newOpened knows nothing yet. The request returned ends with it.
func newOpened(q *request) (*opened, *request) {
	ctx, cancel := context.WithCancel(q.ctx())
	own := *q
	own.http = q.http.WithContext(ctx)
	return &opened{cancel: cancel}, &own
}

// release gives the download up.
func (o *opened) release() {
	if o.handle != nil {
		o.handle.Close()
		o.handle = nil
	}
}

func (o *opened) close() {
	o.cancel()
	o.release()
}

// prove decides whether q may have the content from the swarm. Public content is anybody's; otherwise the origin must have let this
// very credential read the digest in this very repository, as just this kind of content, a short while ago: in an answer that named it,
// or by HEAD now. On the way it may have had to open the download, which it then leaves in o.
func (m *Mirror) prove(q *request, o *opened) verdict {
	meta, held := m.transfers.Known(q.task())
	if held {
		o.known, o.meta = true, meta
	}
	if held && meta.Public {
		return m.decided("public", allowed)
	}
	if m.proofs.Granted(q.own()) {
		return m.decided("remembered", allowed)
	}
	// Without credential the download itself asks the question, unless someone else's credential fetched the content before.
	wants := q.http.Method == http.MethodGet || q.kind == manifest
	if q.cred.Anonymous() && !held && wants && !m.isClosed(q) {
		if err := m.open(q, o, metaTimeout); err != nil {
			q.logger(m).Info("mirror: no download without credential", "error", err)
			return m.decided("origin", refused)
		}
		if o.meta.Public {
			return m.decided("public", allowed)
		}
	}
	v := m.ask(q, o)
	if v == unknown && !o.known && m.open(q, o, publicTimeout) == nil && o.meta.Public {
		return m.decided("public", allowed)
	}
	return m.decided("origin", v)
}

func (m *Mirror) decided(by string, v verdict) verdict {
	switch v {
	case refused:
		by = "refused"
	case unknown:
		by = "unknown"
	}
	m.metrics.proofs.WithLabelValues(by).Inc()
	return v
}

// ask sends a HEAD to the origin with the request's own credential.
func (m *Mirror) ask(q *request, o *opened) verdict {
	a, err := m.head(q)
	if err != nil {
		q.logger(m).Warn("mirror: origin not reached for a proof of access", "error", err)
		return unknown
	}
	o.head = a
	switch {
	case a.status == http.StatusOK:
		if !a.fits(q.digest, o) {
			return refused
		}
		m.proofs.Grant(q.own())
		return allowed
	case a.status >= 500 || a.status == http.StatusTooManyRequests:
		return unknown
	}
	m.proofs.Revoke(q.own())
	m.noteChallenge(q, a.status)
	return refused
}

// fits reports whether a 200 can be about the digest: the login page that some networks answer everything with is not.
func (a *answer) fits(d digest.Digest, o *opened) bool {
	told := a.header.Get(headerDigest)
	length := !o.known || o.meta.Length < 0 || a.length < 0 || a.length == o.meta.Length
	return (told == "" || told == d.String()) && length && !strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
}

// noteChallenge remembers that a repository does not like requests without credential, which spares the swarm tasks that can't succeed.
func (m *Mirror) noteChallenge(q *request, status int) {
	if status == http.StatusUnauthorized && q.cred.Anonymous() {
		m.closed.Add(q.up.URL(q.repo, ""), m.now().Add(closedTTL))
	}
}

func (m *Mirror) isClosed(q *request) bool {
	until, ok := m.closed.Get(q.up.URL(q.repo, ""))
	return ok && m.now().Before(until)
}

// open joins the download and waits until its meta data are known. On an error o stays as it was.
func (m *Mirror) open(q *request, o *opened, patience time.Duration) error {
	h, err := m.transfers.Open(q.ctx(), q.spec(m.cfg))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(q.ctx(), patience, errSlowMeta)
	defer cancel()
	meta, err := h.Meta(ctx)
	if err != nil {
		h.Close()
		return err
	}
	o.handle, o.known, o.meta = h, true, meta
	return nil
}

var errSlowMeta = errors.New("download told nothing for too long")
