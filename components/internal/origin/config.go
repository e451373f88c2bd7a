package origin

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Registry is how one host is reached. The zero value is HTTPS with the system's roots.
type Registry struct {
	// CAFile is a PEM file with roots trusted for this host beside the system's.
	CAFile string
	// ClientCert and ClientKey are PEM files, shown to this host only. They are read again at each handshake, so a renewed
	// certificate needs no restart.
	ClientCert, ClientKey string
	// PlainHTTP says that the host speaks HTTP where a caller composes its URL, see Client.Scheme.
	PlainHTTP bool
}

// Config of a Client. A zero field means its default.
type Config struct {
	// Registries by "host" or "host:port". A key without port speaks for every port of that host.
	Registries map[string]Registry
	// CAFile is a PEM file with roots trusted for every host beside the system's.
	CAFile string
	// Parallel is the number of ranged GETs of one Fetch at once. Default 4.
	Parallel int
	// FirstPart is the length in bytes of the first ranged GET; every later part ends at a multiple of it. It should be a
	// multiple of the largest piece, so that no piece lies in two parts. Default 16 MiB.
	FirstPart int64
	// MinPart is the least length in bytes of the later parts, a multiple of FirstPart. Default 32 MiB.
	MinPart int64
	// MaxParts bounds the later parts of one run of bytes: big content is cut into bigger parts, not more. Default 16.
	MaxParts int
	// ConnectTimeout covers name lookup and TCP connect. Default 3 s.
	ConnectTimeout time.Duration
	// HeaderTimeout covers the TLS handshake, and, from the end of the request on, the wait for the answer's header. Default 10 s.
	HeaderTimeout time.Duration
	// StallTimeout is the longest wait for the next bytes of a body before the try counts as failed. Default 10 s.
	StallTimeout time.Duration
	// Retries is how often in a row a request may fail, without a MiB of progress in between, before the error is given to the
	// caller. Default 5, negative for none.
	Retries int
	// RateLimit bounds all bodies of this Client together, in bytes per second. Default 0, no limit.
	RateLimit int64
	// MaxConnsPerHost bounds open connections, so that many tasks can't exhaust the registry or our descriptors. Default 128.
	MaxConnsPerHost int
	// UserAgent for requests that carry none. Default "dragonfly".
	UserAgent string
	// CheckAddr is asked before each connection, with the host as it stood in the URL and the address it resolved to, also for the
	// targets of redirects. An error refuses the connection for good. Where the environment sets a proxy, the proxy resolves
	// names, and CheckAddr is not asked. Default nil, every address is good.
	CheckAddr func(host string, addr netip.AddrPort) error
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	set(&c.Parallel, 4)
	set(&c.FirstPart, 16<<20)
	set(&c.MinPart, 32<<20)
	set(&c.MaxParts, 16)
	set(&c.ConnectTimeout, 3*time.Second)
	set(&c.HeaderTimeout, 10*time.Second)
	set(&c.StallTimeout, 10*time.Second)
	set(&c.Retries, 5)
	set(&c.MaxConnsPerHost, 128)
	set(&c.UserAgent, "dragonfly")
	return c
}

func set[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// Validate says what in c can't work. It does not read the files named.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("origin config: "+format, args...))
		}
	}
	bad(c.Parallel > 0, "parallel is %d, want 1 or more", c.Parallel)
	bad(c.FirstPart > 0, "first part is %d bytes, want 1 or more", c.FirstPart)
	bad(c.MinPart > 0 && c.FirstPart > 0 && c.MinPart%c.FirstPart == 0,
		"least part is %d bytes, want a multiple of the first part, %d", c.MinPart, c.FirstPart)
	bad(c.MaxParts > 0, "max parts is %d, want 1 or more", c.MaxParts)
	bad(c.ConnectTimeout > 0 && c.HeaderTimeout > 0 && c.StallTimeout > 0,
		"timeouts are %v, %v, %v, want all above zero", c.ConnectTimeout, c.HeaderTimeout, c.StallTimeout)
	bad(c.RateLimit >= 0, "rate limit is %d, want 0 or more", c.RateLimit)
	bad(c.MaxConnsPerHost > 0, "connections per host is %d, want 1 or more", c.MaxConnsPerHost)
	for host, r := range c.Registries {
		bad(host != "" && !strings.ContainsAny(host, "/@? "), "registry %q is no host[:port]", host)
		bad((r.ClientCert == "") == (r.ClientKey == ""), "registry %q: client certificate and key belong together", host)
	}
	return errors.Join(errs...)
}
