package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// flightTimeout bounds a request that several clients wait for, and that goes on when the first of them leaves.
const flightTimeout = 30 * time.Second

// Headers, and what the one of the source may say.
const (
	headerDigest = "Docker-Content-Digest"
	headerTask   = api.HeaderTask
	headerSource = api.HeaderSource
	sourceOrigin = "origin"
	sourceCache  = "cache"
)

// answer of the origin, held in memory. It is shared: nobody changes it.
type answer struct {
	status int
	header http.Header
	length int64 // of Content-Length, -1 if absent
	body   []byte
	large  bool // the body did not fit and is not here
}

// head asks the origin for q's headers. Equal requests at the same time are one.
func (m *Mirror) head(q *request) (*answer, error) {
	return m.flight(&m.heads, q, http.MethodHead, q.header())
}

// flight sends a request of q's to the origin, together with all who want the same.
func (m *Mirror) flight(g *singleflight.Group, q *request, method string, h http.Header) (*answer, error) {
	key := fmt.Sprintf("%s\x00%s\x00%x\x00%q", method, q.url(), q.cred, [][]string{h["Accept"], h["If-None-Match"]})
	c := g.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(q.ctx()), flightTimeout)
		defer cancel()
		resp, err := m.send(ctx, q, method, h)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return m.hold(resp)
	})
	select {
	case r := <-c:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*answer), nil
	case <-q.ctx().Done():
		return nil, context.Cause(q.ctx())
	}
}

// send asks the origin. The caller closes the answer's body.
func (m *Mirror) send(ctx context.Context, q *request, method string, h http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, q.url(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header = h
	return m.origin.Do(ctx, req)
}

// hold reads an answer into memory.
func (m *Mirror) hold(resp *http.Response) (*answer, error) {
	a := &answer{status: resp.StatusCode, header: passed(resp.Header), length: resp.ContentLength}
	if resp.ContentLength > m.cfg.MaxManifest && resp.Request.Method != http.MethodHead {
		a.large = true
		return a, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, m.cfg.MaxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read the origin's answer: %w", err)
	}
	a.body, a.large = body, int64(len(body)) > m.cfg.MaxManifest
	return a, nil
}

// passed is what of an answer's header goes on to the client: all but what belongs to the connection, and what would make the client
// remember something about the mirror's host that is meant for the origin's.
func passed(h http.Header) http.Header {
	out := h.Clone()
	for _, line := range h.Values("Connection") {
		for name := range strings.SplitSeq(line, ",") {
			out.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Alt-Svc", "Clear-Site-Data", "Content-Length", "Set-Cookie", "Set-Cookie2", "Strict-Transport-Security",
		headerTask, headerSource,
	} {
		out.Del(name)
	}
	return out
}
