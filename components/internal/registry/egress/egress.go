// Package egress keeps the mirror from being used as a way into its own node: it refuses loopback, link-local, metadata and the
// node's own addresses, both by the name asked for and by what the name resolves to.
package egress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/net/http/httpproxy"
)

// ErrRefused says that an address is not for the mirror to reach. Errors that wrap it say which, why, and what to do.
var ErrRefused = errors.New("address refused")

const (
	// lookupTimeout bounds the check before a request. What it misses, CheckAddr still sees at the dial.
	lookupTimeout = time.Second
	// verdictTTL is how long a name's verdict is used again, so that a pull asks the resolver once and not once a blob.
	verdictTTL = 30 * time.Second
	// failureTTL is how long a name that did not resolve is not asked for again: with the resolver gone, a pull of what is on this host
	// should wait for it once.
	failureTTL = 5 * time.Second
	// verdicts bounds the names remembered.
	verdicts = 1024
)

// Resolver is the part of *net.Resolver that a Guard needs.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config of a Guard.
type Config struct {
	// Trusted reports whether the operator named host[:port], so that it may have any address.
	Trusted func(host string) bool
	// Proxies lists, as "host:port", what the node's own proxies are dialled as; default those of the environment. They may have any
	// address, but are no upstreams.
	Proxies []string
	// Resolver defaults to net.DefaultResolver.
	Resolver Resolver
	// Own lists the node's own addresses, default those of its interfaces.
	Own func() ([]netip.Addr, error)
	// Now defaults to time.Now.
	Now func() time.Time
}

// Guard checks names and addresses. Safe for concurrent use.
type Guard struct {
	cfg   Config
	cache *lru.Cache[string, verdict]
}

type verdict struct {
	err   error
	until time.Time
}

// New makes a Guard.
func New(cfg Config) (*Guard, error) {
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Own == nil {
		cfg.Own = interfaceAddrs
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Proxies == nil {
		cfg.Proxies = proxies()
	}
	cache, err := lru.New[string, verdict](verdicts)
	return &Guard{cfg: cfg, cache: cache}, err
}

// CheckHost resolves host[:port] and refuses it if any of its addresses is refused. A name that does not resolve passes: the node may
// know it only through its proxy, and the dial goes by CheckAddr.
func (g *Guard) CheckHost(ctx context.Context, host string) error {
	if g.cfg.Trusted(host) {
		return nil
	}
	if v, ok := g.cache.Get(host); ok && g.cfg.Now().Before(v.until) {
		return v.err
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = unbracket(name)
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := g.cfg.Resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // by the client
			g.cache.Add(host, verdict{nil, g.cfg.Now().Add(failureTTL)})
		}
		return nil
	}
	for _, a := range addrs {
		if err = g.check(host, a); err != nil {
			break
		}
	}
	g.cache.Add(host, verdict{err, g.cfg.Now().Add(verdictTTL)})
	return err
}

// CheckAddr refuses a connection: host is the name without port that was dialled, addr what it resolved to.
func (g *Guard) CheckAddr(host string, addr netip.AddrPort) error {
	full := net.JoinHostPort(unbracket(host), strconv.Itoa(int(addr.Port())))
	if g.cfg.Trusted(full) || slices.Contains(g.cfg.Proxies, full) {
		return nil
	}
	// A registry named without port is at the port of its scheme.
	bare := strings.TrimSuffix(strings.TrimSuffix(full, ":443"), ":80")
	if bare != full && g.cfg.Trusted(bare) {
		return nil
	}
	return g.check(full, addr.Addr())
}

func unbracket(s string) string {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		return s[1 : len(s)-1]
	}
	return s
}

func (g *Guard) check(host string, a netip.Addr) error {
	why := special(a)
	if why == "" && g.isOwn(a) {
		why = "one of this node's own addresses"
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("%w: upstream %s is at %s, %s; if that is meant, name the registry in --allow-upstream, or in --plain-http", ErrRefused, host, a.Unmap(), why)
}

func (g *Guard) isOwn(a netip.Addr) bool {
	own, err := g.cfg.Own()
	if err != nil {
		return false
	}
	a = embedded(a)
	for _, o := range own {
		if embedded(o) == a {
			return true
		}
	}
	return false
}

// proxies of the environment, as they are dialled.
func proxies() []string {
	env := httpproxy.FromEnvironment()
	var out []string
	for _, raw := range []string{env.HTTPProxy, env.HTTPSProxy} {
		if !strings.Contains(raw, "://") {
			raw = "http://" + raw
		}
		u, err := url.Parse(raw)
		if err != nil || u.Hostname() == "" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
		}
		out = append(out, net.JoinHostPort(u.Hostname(), cmp.Or(port, "80")))
	}
	return out
}

// serviceInterface has the addresses of all Services on it where kube-proxy works by IPVS; none of them is the node's own.
// https://kubernetes.io/docs/reference/networking/virtual-ips/#proxy-mode-ipvs
const serviceInterface = "kube-ipvs0"

func interfaceAddrs() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, i := range interfaces {
		nets, err := i.Addrs()
		if err != nil || i.Name == serviceInterface {
			continue // an interface that went away meanwhile
		}
		for _, n := range nets {
			if p, err := netip.ParsePrefix(n.String()); err == nil {
				out = append(out, p.Addr())
			}
		}
	}
	return out, nil
}
