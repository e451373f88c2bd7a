package supernode

import (
	"net"
	"net/netip"
	"strings"

	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry/egress"
)

// guarded is the origin configuration with a look at each address that is dialled: a registry's redirect, or a URL that a peer names,
// must not make the supernode read what only its own machine may, such as the cloud's metadata, for the whole swarm. A peer that may
// read such an origin is elected to do so. Trusted are hosts that the operator gave a certificate for, and loopback addresses where
// the supernode serves nobody else.
func (c *Config) guarded() (origin.Config, error) {
	o := c.Origin
	if o.CheckAddr != nil {
		return o, nil
	}
	alone := loopback(c.RegisterAddr) && loopback(c.DownloadAddr)
	guard, err := egress.New(egress.Config{
		Trusted: func(host string) bool { return c.listed(host) || alone && loopback(host) },
		Own:     func() ([]netip.Addr, error) { return nil, nil }, // a registry on the same machine is at an address that all reach
	})
	if err != nil {
		return o, err
	}
	o.CheckAddr = guard.CheckAddr
	return o, nil
}

// listed reports whether the operator said something of host[:port].
func (c *Config) listed(host string) bool {
	bare := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		bare = h
	}
	_, exact := c.Origin.Registries[strings.ToLower(host)]
	_, bareToo := c.Origin.Registries[strings.ToLower(bare)]
	return exact || bareToo
}

// loopback reports whether host[:port] names a loopback address by itself: what a name resolves to may change.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}
