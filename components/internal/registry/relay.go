package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/internal/registry/egress"
)

// relay answers q, content by digest, from the origin alone.
func (m *Mirror) relay(w http.ResponseWriter, q *request) {
	h := q.header()
	if rng := relayRange(q); rng != "" {
		h.Set("Range", rng)
	}
	resp, err := m.send(q.ctx(), q, q.http.Method, h)
	if err != nil {
		m.unreachable(w, q, err)
		return
	}
	defer resp.Body.Close()
	m.noteChallenge(q, resp.StatusCode)
	body := m.relayBody(q, resp)
	defer body.Close()
	var start []byte
	if ok := resp.StatusCode == http.StatusOK; ok && q.kind == manifest && q.http.Method == http.MethodGet {
		// Held back until it is verified, and read for what it lists.
		if start, err = io.ReadAll(io.LimitReader(body, m.cfg.MaxManifest+1)); err != nil {
			m.unreachable(w, q, err)
			return
		}
		if int64(len(start)) <= m.cfg.MaxManifest {
			m.proofs.Grant(q.own())
			m.learn(q, start)
		}
	}
	m.relayHeader(w.Header(), q, resp)
	w.WriteHeader(resp.StatusCode)
	if q.http.Method == http.MethodHead {
		return
	}
	if _, err = w.Write(start); err == nil {
		_, err = io.Copy(w, body)
	}
	if err != nil && q.ctx().Err() == nil {
		q.logger(m).Warn("mirror: body from the origin cut short", "error", err)
	}
	abortIf(err)
}

// relayRange is the Range to pass on. Content by digest never changes: the conditions are for us alone.
func relayRange(q *request) string {
	r := ranges(q.http)
	if cond := r.Header.Get("If-Range"); q.kind != blob || cond != "" && cond != q.etag() {
		return ""
	}
	return r.Header.Get("Range")
}

func (m *Mirror) relayHeader(h http.Header, q *request, resp *http.Response) {
	maps.Copy(h, passed(resp.Header))
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent {
		m.describeOrigin(h, q)
	}
	if resp.ContentLength >= 0 {
		h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	h.Set(headerSource, sourceOrigin)
}

// describeOrigin corrects the headers of content by digest that the origin sent.
func (m *Mirror) describeOrigin(h http.Header, q *request) {
	h.Set("Etag", q.etag())
	h.Set(headerDigest, q.digest.String())
	h.Set(headerTask, q.task())
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
}

// unreachable answers that the origin does not.
func (m *Mirror) unreachable(w http.ResponseWriter, q *request, err error) {
	if q.ctx().Err() != nil {
		return
	}
	q.logger(m).Warn("mirror: origin not reached", "error", err)
	if errors.Is(err, egress.ErrRefused) {
		fail(w, http.StatusForbidden, codeDenied, "the mirror does not go to the address that "+q.up.Host+" leads to; if that is meant, name the registry in --allow-upstream, or in --plain-http")
		return
	}
	fail(w, http.StatusBadGateway, codeUnavailable, "the mirror can't reach "+q.up.Host)
}

var errWrongBytes = errors.New("bytes do not match the digest")

// relayBody is the body of the origin's answer as it goes to the client: mended by a new request where it breaks, and, if it is the
// whole content, with its last bytes held back until the digest is right.
type relayBody struct {
	m       *Mirror
	q       *request
	r       io.ReadCloser
	off     int64           // of the next byte in the content, -1 if that is unknown and a break can't be mended
	left    int64           // bytes to come, -1 if unknown
	check   digest.Verifier // nil if the digest can't be checked
	resumed bool
}

func (m *Mirror) relayBody(q *request, resp *http.Response) *relayBody {
	b := &relayBody{m: m, q: q, r: resp.Body, left: resp.ContentLength, off: -1}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return b
	}
	switch resp.StatusCode {
	case http.StatusOK:
		b.off, b.check = 0, q.digest.Verifier()
	case http.StatusPartialContent:
		if first, last, ok := contentRange(resp.Header.Get("Content-Range")); ok {
			b.off, b.left = first, last-first+1
		}
	}
	return b
}

// contentRange reads "bytes 5-9/20".
func contentRange(s string) (first, last int64, ok bool) {
	s, bytes := strings.CutPrefix(s, "bytes ")
	span, _, slash := strings.Cut(s, "/")
	from, to, dash := strings.Cut(span, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	return first, last, bytes && slash && dash && err1 == nil && err2 == nil && first >= 0 && last >= first && last-first+1 > 0
}

func (b *relayBody) Close() error { return b.r.Close() }

// Read implements io.Reader.
func (b *relayBody) Read(p []byte) (int, error) {
	for b.left != 0 {
		if b.left > 0 {
			p = p[:min(int64(len(p)), b.left)]
		}
		n, err := b.r.Read(p)
		if n > 0 {
			return b.take(p[:n])
		}
		if err == io.EOF && b.left < 0 { //nolint:errorlint // a reader ends with io.EOF itself; one that is wrapped is a failure
			return 0, b.end()
		}
		if err != nil {
			if err = b.resume(err); err != nil {
				return 0, err
			}
		}
	}
	return 0, io.EOF
}

func (b *relayBody) take(p []byte) (int, error) {
	if b.check != nil {
		_, _ = b.check.Write(p) // a hash takes all
	}
	if b.off >= 0 {
		b.off += int64(len(p))
	}
	if b.left > 0 {
		if b.left -= int64(len(p)); b.left == 0 {
			if err := b.end(); !errors.Is(err, io.EOF) {
				return 0, err
			}
		}
	}
	return len(p), nil
}

// end is io.EOF if all is well.
func (b *relayBody) end() error {
	if b.check != nil && !b.check.Verified() {
		return fmt.Errorf("%s: %w", b.q.up.Host, errWrongBytes)
	}
	return io.EOF
}

func (b *relayBody) resume(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	ctx := b.q.ctx()
	if b.off < 0 || b.resumed || ctx.Err() != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	b.resumed = true
	b.m.metrics.fallbacks.WithLabelValues("body").Inc()
	_, body, serr := b.m.origin.Stream(ctx, b.q.url(), b.q.header(), b.off, b.left)
	if serr != nil {
		return errors.Join(err, serr)
	}
	b.r.Close()
	b.r = body
	return nil
}
