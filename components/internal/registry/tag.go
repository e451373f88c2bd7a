package registry

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/internal/registry/access"
)

// staleTag is what a tag was when it was last seen.
type staleTag struct {
	digest digest.Digest
}

// tag answers a manifest by tag: from the origin, once for all who ask for the same at the same time.
func (m *Mirror) tag(w http.ResponseWriter, q *request) {
	a, err := m.flight(&m.tags, q, q.http.Method, q.header("If-None-Match"))
	fails := err != nil || a.status >= 500 || a.status == http.StatusTooManyRequests
	if fails && q.ctx().Err() == nil && m.fromMemory(w, q) {
		return
	}
	if err != nil {
		m.unreachable(w, q, err)
		return
	}
	if a.large {
		m.pass(w, q)
		return
	}
	m.noteChallenge(q, a.status)
	if a.status == http.StatusOK {
		m.seen(w, q, a)
	}
	m.write(w, q, a)
}

// seen remembers which digest the tag has, and that the credential may read it and what it lists.
func (m *Mirror) seen(w http.ResponseWriter, q *request, a *answer) {
	d, err := digest.Parse(a.header.Get(headerDigest))
	if q.http.Method == http.MethodGet {
		if a.header.Get(headerDigest) == "" {
			d, err = digest.FromBytes(a.body), nil
			w.Header().Set(headerDigest, d.String())
		}
		if err != nil || d.Algorithm().FromBytes(a.body) != d {
			m.log.Warn("mirror: manifest does not match the digest it came with", "upstream", q.up.Host, "repository", q.repo, "tag", q.tag)
			return
		}
		m.learn(q, a.body)
	}
	if err != nil {
		return
	}
	m.proofs.Grant(q.proof(access.Manifest, d))
	if m.cfg.mayBeStale(q.tag) {
		m.stale.Add(q.staleKey(), staleTag{digest: d})
	}
}

func (q *request) staleKey() string {
	return fmt.Sprintf("%s\x00%s\x00%s\x00%q", q.up.Base, q.repo, q.tag, q.http.Header.Values("Accept"))
}

// fromMemory answers with the digest last seen for the tag, under the rule of access for that digest. It reports whether it did.
func (m *Mirror) fromMemory(w http.ResponseWriter, q *request) bool {
	last, ok := m.stale.Get(q.staleKey())
	if !ok || !m.cfg.mayBeStale(q.tag) {
		return false
	}
	by := *q
	by.route = route{kind: manifest, repo: q.repo, digest: last.digest, path: q.repo + "/manifests/" + last.digest.String()}
	o, own := newOpened(&by)
	defer o.close()
	if m.prove(own, o) != allowed || !o.known && m.open(own, o, metaTimeout) != nil {
		return false
	}
	m.log.Warn("mirror: origin fails, tag answered from memory", "upstream", q.up.Host, "repository", q.repo, "tag", q.tag, "digest", last.digest)
	w.Header().Set("Warning", `111 dragonfly "Revalidation Failed"`)
	m.manifest(w, own, o)
	return true
}

// ping answers whether the API is there. When the origin can't be reached the mirror still is, with what the swarm holds.
func (m *Mirror) ping(w http.ResponseWriter, q *request) {
	a, err := m.flight(&m.tags, q, http.MethodGet, q.header())
	if q.ctx().Err() != nil {
		return
	}
	if err != nil || a.status >= 500 {
		m.log.Warn("mirror: origin not reached", "upstream", q.up.Host, "error", err)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Warning", `111 dragonfly "Revalidation Failed"`)
		_, _ = io.WriteString(w, "{}") // a client that left is no news
		return
	}
	m.write(w, q, a)
}

// list passes an answer through that is no content: tags, referrers, the catalog.
func (m *Mirror) list(w http.ResponseWriter, q *request) { m.pass(w, q) }

// pass sends the origin's answer through as it is, and makes links to its next page lead through the mirror again.
func (m *Mirror) pass(w http.ResponseWriter, q *request) {
	resp, err := m.send(q.ctx(), q, q.http.Method, q.header("If-None-Match", "If-Modified-Since"))
	if err != nil {
		m.unreachable(w, q, err)
		return
	}
	defer resp.Body.Close()
	h := w.Header()
	maps.Copy(h, passed(resp.Header))
	for i, link := range h["Link"] {
		h["Link"][i] = m.localLink(q, link)
	}
	if resp.ContentLength >= 0 {
		h.Set("Content-Length", fmt.Sprint(resp.ContentLength))
	}
	h.Set(headerSource, sourceOrigin)
	w.WriteHeader(resp.StatusCode)
	_, err = io.Copy(w, resp.Body)
	abortIf(err)
}

// localLink turns </v2/app/tags/list?last=x>; rel="next" into the same with what names the upstream at the mirror.
func (m *Mirror) localLink(q *request, link string) string {
	inner, rest, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.HasPrefix(link, "<") {
		return link
	}
	base, err := q.http.URL.Parse(q.url())
	if err != nil {
		return link
	}
	target, err := base.Parse(inner)
	if err != nil || !strings.HasPrefix(target.String(), q.up.Base+"/") {
		return link
	}
	query := target.Query()
	if ns := q.http.URL.Query().Get("ns"); ns != "" {
		query.Set("ns", ns)
	}
	// The mirror's own path for what is at q.path upstream, up to there, is what names the upstream.
	prefix := strings.TrimSuffix(q.http.URL.Path, q.path)
	target.Path = prefix + strings.TrimPrefix(target.Path, strings.TrimSuffix(base.Path, q.path))
	target.RawPath, target.RawQuery = "", query.Encode()
	return "<" + target.RequestURI() + ">" + rest
}
