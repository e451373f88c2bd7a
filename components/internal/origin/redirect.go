package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxRedirects is what browsers and Go's own client allow, about.
const maxRedirects = 10

// follow sends req and, for GET and HEAD, goes where redirects lead. The answer's Request is the last one sent. Its Body is a guard and
// must be closed; that cancels ctx, so a ctx is for one follow. On an error ctx is cancelled already.
func (c *Client) follow(ctx context.Context, cancel context.CancelCauseFunc, req *http.Request) (*http.Response, error) {
	for hop := 0; ; hop++ {
		resp, err := c.send(ctx, req)
		if err != nil {
			cancel(nil)
			return nil, err
		}
		body := &guard{c: c, ctx: ctx, cancel: cancel, body: resp.Body}
		resp.Body = body
		if !redirects(req.Method, resp.StatusCode) || resp.Header.Get("Location") == "" {
			return resp, nil
		}
		if resp.ContentLength >= 0 && resp.ContentLength <= bufferSize {
			body.start() // read to its end, the connection can be used again
		}
		body.body.Close()
		if hop == maxRedirects {
			cancel(nil)
			return nil, fmt.Errorf("%s: %w: more than %d in a row", redact(req.URL), errRedirect, maxRedirects)
		}
		next, err := req.URL.Parse(resp.Header.Get("Location"))
		if err != nil || next.Host == "" || (next.Scheme != "http" && next.Scheme != "https") {
			cancel(nil)
			return nil, fmt.Errorf("%s: %w: no usable Location", redact(req.URL), errRedirect)
		}
		req = redirected(req, next)
	}
}

func (c *Client) send(ctx context.Context, req *http.Request) (*http.Response, error) {
	resp, err := c.transports.site(req.URL.Host).RoundTrip(req)
	c.metrics.request(resp, err)
	if err == nil {
		return resp, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	} else if rec, ok := errors.AsType[tls.RecordHeaderError](err); ok && string(rec.RecordHeader[:]) == "HTTP/" {
		err = http.ErrSchemeMismatch // as net/http's own client says, and more to the point
	}
	return nil, fmt.Errorf("%s %s: %w", req.Method, redact(req.URL), err)
}

func redirects(method string, code int) bool {
	if method != http.MethodGet && method != http.MethodHead {
		return false
	}
	return slices.Contains([]int{301, 302, 303, 307, 308}, code)
}

// travels lists the headers that go along to another host. A list of what may go, not of what may not, since credentials have
// many names: Authorization, Cookie, Private-Token, X-Api-Key.
var travels = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
	"If-Unmodified-Since", "Range", "User-Agent",
}

// redirected is req sent to next. Headers dropped on the way to another host stay dropped even if a later redirect leads back.
func redirected(req *http.Request, next *url.URL) *http.Request {
	r := req.Clone(req.Context())
	if !sameHost(req.URL, next) {
		for name := range r.Header {
			if !slices.Contains(travels, name) {
				delete(r.Header, name)
			}
		}
	}
	r.URL, r.Host = next, ""
	takeUser(r.URL, r.Header)
	return r
}

// sameHost reports whether to may see what from was sent: the same host and port, or the same host's standard HTTPS port instead
// of its HTTP one, never the other way.
func sameHost(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	if from.Scheme == to.Scheme {
		return port(from) == port(to)
	}
	return from.Scheme == "http" && port(from) == "80" && port(to) == "443"
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	switch u.Scheme {
	case "http":
		return "80"
	case "socks5", "socks5h":
		return "1080"
	}
	return "443"
}

// takeUser moves user info from the URL to a basic authorization in h, unless there is one.
func takeUser(u *url.URL, h http.Header) {
	if u.User == nil {
		return
	}
	password, _ := u.User.Password()
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(u.User.Username(), password)
	if h.Get("Authorization") == "" {
		h.Set("Authorization", r.Header.Get("Authorization"))
	}
	u.User = nil
}
