package registry

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/internal/registry/access"
)

// content answers a blob or a manifest by digest.
func (m *Mirror) content(w http.ResponseWriter, q *request) {
	o, q := newOpened(q)
	defer o.close()
	if m.prove(q, o) != allowed {
		m.passOn(w, q, o)
		return
	}
	if !o.known {
		if q.http.Method == http.MethodHead && q.kind == blob {
			m.blobHead(w, q, o)
			return
		}
		if err := m.open(q, o, metaTimeout); err != nil {
			m.fallback(w, q, err)
			return
		}
	}
	if q.kind == manifest {
		m.manifest(w, q, o)
		return
	}
	m.stream(w, q, o)
}

// passOn gives the client the origin's own answer.
func (m *Mirror) passOn(w http.ResponseWriter, q *request, o *opened) {
	o.release()
	if o.head != nil && q.http.Method == http.MethodHead {
		m.write(w, q, o.head)
		return
	}
	m.relay(w, q)
}

// fallback goes to the origin because the swarm failed before the first byte.
func (m *Mirror) fallback(w http.ResponseWriter, q *request, err error) {
	if q.ctx().Err() != nil {
		return
	}
	m.metrics.fallbacks.WithLabelValues("start").Inc()
	q.logger(m).Warn("mirror: no download, going to the origin", "error", err)
	m.relay(w, q)
}

// blobHead answers from the origin, since asking the swarm for a blob means to fetch it. When the origin can't be reached, the swarm is
// asked all the same.
func (m *Mirror) blobHead(w http.ResponseWriter, q *request, o *opened) {
	var err error
	if o.head == nil {
		o.head, err = m.head(q)
	}
	if err == nil && o.head.status < 500 {
		m.write(w, q, o.head)
		return
	}
	if m.open(q, o, metaTimeout) != nil {
		m.passOn(w, q, o)
		return
	}
	m.stream(w, q, o)
}

// describe sets the headers of content by digest.
func (m *Mirror) describe(h http.Header, q *request, o *opened, contentType string) {
	if contentType == "" {
		contentType = octetStream
	}
	h.Set("Content-Type", contentType)
	h.Set("Etag", q.etag())
	h.Set(headerDigest, q.digest.String())
	h.Set(headerTask, q.task())
	h.Set(headerSource, o.source())
}

const octetStream = "application/octet-stream"

// stream sends the content as it comes. net/http has the rules of ranges and conditions; sender sees to the bytes.
func (m *Mirror) stream(w http.ResponseWriter, q *request, o *opened) {
	m.describe(w.Header(), q, o, o.meta.Header["Content-Type"])
	c := newContent(m, q, o)
	defer c.close()
	if o.meta.Length < 0 {
		if q.http.Method == http.MethodHead {
			return
		}
		_, err := c.sendTo(w, -1)
		abortIf(err)
		return
	}
	s := &sender{ResponseWriter: w, c: c}
	http.ServeContent(s, ranges(q.http), "", lastModified(o), c)
	if !s.failed {
		abortIf(c.failure())
	}
}

// abortIf cuts the connection, so that the client sees that the body is not whole. A plain return would end a chunked body as if all
// were well.
func abortIf(err error) {
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

func lastModified(o *opened) time.Time {
	t, err := http.ParseTime(o.meta.Header["Last-Modified"])
	if err != nil {
		return time.Time{}
	}
	return t
}

// manifest reads the whole of it, so that its digest can be checked before the first byte goes out and what it lists is remembered.
func (m *Mirror) manifest(w http.ResponseWriter, q *request, o *opened) {
	contentType := o.meta.Header["Content-Type"]
	if o.meta.Length > m.cfg.MaxManifest {
		m.stream(w, q, o)
		return
	}
	c := newContent(m, q, o)
	defer c.close()
	body, err := io.ReadAll(io.LimitReader(c, m.cfg.MaxManifest+1))
	if v := q.digest.Verifier(); err == nil {
		_, _ = v.Write(body) // a hash takes all
		if !v.Verified() {
			err = fmt.Errorf("%d bytes of the swarm do not match the digest", len(body))
		}
	}
	if err != nil {
		m.fallback(w, q, err)
		return
	}
	if m.proofs.Granted(q.own()) { // not if it is shown because it is public: it need not be in this repository then
		m.learn(q, body)
	}
	if t := access.MediaType(body); t != "" && !isManifestType(contentType) {
		contentType = t // the task was fetched as a blob
	}
	m.describe(w.Header(), q, o, contentType)
	s := &sender{ResponseWriter: w, whole: true}
	http.ServeContent(s, withRange(q.http, ""), "", lastModified(o), bytes.NewReader(body))
}

// learn remembers what a manifest lists that the origin let q's credential read, in q's repository and as a manifest.
func (m *Mirror) learn(q *request, body []byte) {
	if m.cfg.CheckEveryBlob {
		return
	}
	for _, d := range access.References(body) {
		m.proofs.Grant(q.proof(access.Blob, d))
	}
}

func isManifestType(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t != octetStream && t != "application/json" && t != "text/plain"
}

// write sends an answer held in memory.
func (m *Mirror) write(w http.ResponseWriter, q *request, a *answer) {
	h := w.Header()
	maps.Copy(h, a.header)
	length := a.length
	if q.http.Method == http.MethodGet {
		length = int64(len(a.body))
	} else if a.status == http.StatusOK && q.digest != "" {
		m.describeOrigin(h, q)
	}
	if length >= 0 && a.status != http.StatusNotModified {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	h.Set(headerSource, sourceOrigin)
	w.WriteHeader(a.status)
	if q.http.Method == http.MethodGet {
		_, _ = w.Write(a.body) // a client that left is no news
	}
}
