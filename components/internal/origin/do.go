package origin

import (
	"context"
	"net/http"
)

// hopByHop lists headers that belong to one connection, RFC 9110 section 7.6.1.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding",
	"Upgrade",
}

// Do sends one request as it is, for pass-through: any status is an answer, nothing is tried again. Only hop-by-hop headers are left out, the
// host is that of the URL, and the encoding is always identity. Redirects are followed for GET and HEAD alone. The body is counted,
// held to the rate limit, and fails when it stalls; the caller closes it, also that of a HEAD.
func (c *Client) Do(ctx context.Context, req *http.Request) (*http.Response, error) {
	if req.URL == nil || req.URL.Host == "" || (req.URL.Scheme != "http" && req.URL.Scheme != "https") {
		return nil, errURL
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r := req.Clone(ctx)
	r.Host, r.RequestURI = "", ""
	if r.Header == nil {
		r.Header = http.Header{}
	}
	for _, name := range hopByHop {
		r.Header.Del(name)
	}
	takeUser(r.URL, r.Header)
	c.complete(r.Header)
	return c.follow(ctx, cancel, r)
}
