// Package origin reads content from registries and file servers over HTTP: in parallel ranged parts where the origin supports
// them, else as one stream; resumed at the exact offset after a failure; with redirects, retries, time-outs and TLS. It knows
// nothing of pieces, digests or registries' APIs: whether the bytes are the right ones is the caller's to verify.
package origin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// bufferSize is how many bytes one read takes at most: large enough that system calls and hashing are cheap, small enough
// that a hundred streams need little memory.
const bufferSize = 64 << 10

// Client reads from origins. Safe for concurrent use.
type Client struct {
	cfg        Config
	log        *slog.Logger
	transports *transports
	metrics    *metrics
	limiter    *rate.Limiter  // nil without a limit
	random     func() float64 // in [0,1), for jitter
	buffers    sync.Pool      // of *[bufferSize]byte
}

// New makes a Client, and reads the certificate files that cfg names. A nil registerer keeps the metrics private.
func New(cfg Config, log *slog.Logger, registerer prometheus.Registerer) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	t, err := newTransports(cfg)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(registerer)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, log: log, transports: t, metrics: m, random: rand.Float64}
	c.buffers.New = func() any { return new([bufferSize]byte) }
	if cfg.RateLimit > 0 {
		c.limiter = rate.NewLimiter(rate.Limit(cfg.RateLimit), bufferSize)
	}
	return c, nil
}

// Close drops idle connections. Requests under way go on.
func (c *Client) Close() { c.transports.closeIdle() }

// Scheme is "http" for hosts that Config.Registries says speak plain HTTP, else "https". host may have a port.
func (c *Client) Scheme(host string) string {
	if c.transports.site(host).PlainHTTP {
		return "http"
	}
	return "https"
}

// Request names content to read by GET.
type Request struct {
	// URL, http or https. User info in it is sent as basic authorization when Header has none.
	URL string
	// Header to send, which may hold credentials; it is never logged. Hop-by-hop, range, conditional and encoding headers are
	// not taken over: those are the Client's.
	Header http.Header
	// Immutable says that the URL names one content for ever, as that of a blob by its digest does. Then only the length is
	// compared between answers: the servers behind one name often disagree about ETag and Last-Modified.
	Immutable bool
}

// Info is what the first answer tells of the content.
type Info struct {
	// Length of the whole content in bytes, -1 while the origin does not tell.
	Length int64
	// Ranges reports whether the origin can send parts.
	Ranges bool
	// Identified says that the origin knew who asked, by an authorization, in the header or the URL, or a client certificate.
	Identified bool
	// ETag and LastModified are the validators as sent, "" if absent.
	ETag, LastModified string
	// Header holds the representation headers worth repeating: Content-Type, Content-Encoding, Content-Language,
	// Content-Disposition, Docker-Content-Digest, Etag, Last-Modified.
	Header http.Header
}

// Range is N bytes from Off on; a negative N means to the end.
type Range struct{ Off, N int64 }

// Stream opens one ordered run of n bytes of the content from off on; a negative n means to the end. It returns once the origin
// sends. A failure under way is mended by a new request at the exact offset; only when that fails too, Read returns an error.
// When the content has fewer bytes than asked for, the error is ErrChanged. The caller closes the reader, which ctx must outlive.
func (c *Client) Stream(ctx context.Context, req Request, off, n int64) (*Info, io.ReadCloser, error) {
	ct, err := c.newContent(req)
	if err != nil {
		return nil, nil, err
	}
	if err := checkNeed([]Range{{off, n}}); err != nil {
		return nil, nil, err
	}
	s := ct.stream(ctx, off, endOf(off, n))
	if err := s.open(); err != nil {
		s.Close()
		return nil, nil, fmt.Errorf("read %s: %w", redact(ct.home.url), err)
	}
	info := ct.info()
	return &info, s, nil
}

func (c *Client) buffer() *[bufferSize]byte { return c.buffers.Get().(*[bufferSize]byte) }

// endOf is the end of a range, exclusive, -1 for the end of the content.
func endOf(off, n int64) int64 {
	if n < 0 {
		return -1
	}
	return off + n
}

// parseURL never repeats its input in the error, since that may hold a password.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errURL
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}
