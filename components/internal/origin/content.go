package origin

import (
	"context"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// place is where to send a GET, and what to send beside ranges.
type place struct {
	url    *url.URL
	header http.Header
}

// content is one Request under way, shared by the streams that read parts of it.
type content struct {
	c    *Client
	req  Request
	home place // as the caller asked

	mu    sync.Mutex // guards the fields below
	away  *place     // where the last redirect led, nil if unknown or worn out
	known *Info      // from the first answer on
}

// ours lists request headers that are not taken over from the caller.
var ours = []string{
	"Connection", "Content-Length", "Content-Type", "Host", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
	"If-Unmodified-Since", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Range", "Te", "Trailer", "Transfer-Encoding",
	"Upgrade",
}

func (c *Client) newContent(req Request) (*content, error) {
	u, err := parseURL(req.URL)
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	for name, values := range req.Header {
		if name = textproto.CanonicalMIMEHeaderKey(name); !slices.Contains(ours, name) {
			h[name] = slices.Clone(values)
		}
	}
	c.complete(h)
	takeUser(u, h)
	return &content{c: c, req: req, home: place{u, h}}, nil
}

// complete adds what every request carries. Identity alone, since the stored bytes are wanted, not a packed form of them.
func (c *Client) complete(h http.Header) {
	h.Set("Accept-Encoding", "identity")
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", c.cfg.UserAgent)
	}
}

// get asks for a range, as in the Range header; "" for everything. It goes straight to where the last redirect led as long as that
// works, and through the origin again when that is worn out.
func (ct *content) get(ctx context.Context, rng string) (*http.Response, error) {
	ct.mu.Lock()
	away := ct.away
	ct.mu.Unlock()
	if away == nil {
		return ct.ask(ctx, ct.home, rng)
	}
	resp, err := ct.ask(ctx, *away, rng)
	if err == nil && !wornOut(resp.StatusCode) {
		return resp, nil
	}
	ct.forget()
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	return ct.ask(ctx, ct.home, rng)
}

// forget makes the next request go through the origin again.
func (ct *content) forget() {
	ct.mu.Lock()
	defer ct.mu.Unlock()
	ct.away = nil
}

// wornOut reports whether the target of a redirect answers code when its signature has expired. S3 and GCS say 400 or 403.
func wornOut(code int) bool {
	return slices.Contains([]int{400, 401, 403, 404, 410}, code)
}

func (ct *content) ask(ctx context.Context, at place, rng string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req := (&http.Request{Method: http.MethodGet, URL: at.url, Header: at.header.Clone()}).WithContext(ctx)
	if rng != "" {
		req.Header.Set("Range", rng)
		if v := ct.ifRange(); v != "" {
			req.Header.Set("If-Range", v)
		}
	}
	resp, err := ct.c.follow(ctx, cancel, req)
	if err != nil {
		return nil, err
	}
	if last := resp.Request; last != nil && *last.URL != *req.URL && resp.StatusCode < 300 {
		h := last.Header.Clone()
		h.Del("Range")
		h.Del("If-Range")
		ct.mu.Lock()
		ct.away = &place{last.URL, h}
		ct.mu.Unlock()
	}
	return resp, nil
}

// ifRange is the validator that makes a changed origin send everything instead of a part that does not fit. Weak ones won't do,
// RFC 9110 section 13.1.5.
func (ct *content) ifRange() string {
	ct.mu.Lock()
	defer ct.mu.Unlock()
	if ct.known == nil || ct.req.Immutable {
		return ""
	}
	if strong(ct.known.ETag) {
		return ct.known.ETag
	}
	return ct.known.LastModified
}

func strong(etag string) bool { return strings.HasPrefix(etag, `"`) }

// learn takes the first answer's info, and compares that of each later one with it.
func (ct *content) learn(got Info) error {
	ct.mu.Lock()
	defer ct.mu.Unlock()
	if ct.known == nil {
		got.Identified = ct.c.transports.site(ct.home.url.Host).ClientCert != "" || ct.home.header.Get("Authorization") != ""
		ct.known = &got
		return nil
	}
	was := ct.known
	if was.Length < 0 {
		was.Length = got.Length
	}
	switch {
	case got.Length >= 0 && was.Length != got.Length:
		return fmt.Errorf("%w: length was %d bytes, is %d", ErrChanged, was.Length, got.Length)
	case ct.req.Immutable:
	case strong(was.ETag) && strong(got.ETag):
		if was.ETag != got.ETag {
			return fmt.Errorf("%w: another ETag", ErrChanged)
		}
	case was.LastModified != "" && got.LastModified != "" && was.LastModified != got.LastModified:
		return fmt.Errorf("%w: another Last-Modified", ErrChanged)
	}
	return nil
}

// info may be called once an answer was learnt.
func (ct *content) info() Info {
	ct.mu.Lock()
	defer ct.mu.Unlock()
	return *ct.known
}

// length of the content, -1 while unknown.
func (ct *content) length() int64 {
	ct.mu.Lock()
	defer ct.mu.Unlock()
	if ct.known == nil {
		return -1
	}
	return ct.known.Length
}

func rangeHeader(off, end int64) string {
	switch {
	case end >= 0:
		return "bytes=" + strconv.FormatInt(off, 10) + "-" + strconv.FormatInt(end-1, 10)
	case off > 0:
		return "bytes=" + strconv.FormatInt(off, 10) + "-"
	}
	return ""
}
