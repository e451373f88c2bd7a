package superclient

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

const (
	resolveEvery    = 10 * time.Second // names whose records change, say by a restarted supernode pod
	resolveSoon     = 2 * time.Second  // while addresses change: supernodes that start together do not get their records together
	unsettled       = 15 * time.Second // after a change
	resolveAgain    = time.Second      // while no address is known
	resolveTimeout  = 3 * time.Second
	firstProbePause = 500 * time.Millisecond
	maxProbePause   = 5 * time.Second
	probeTimeout    = 2 * time.Second // without a sign of life
	presenceTick    = 250 * time.Millisecond
)

// Resolver is the part of net.Resolver that is used.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// Inventory is what a host holds. Safe for concurrent use.
type Inventory interface {
	// Tasks lists complete tasks, and a revision that changes whenever that list does.
	Tasks() ([]api.HeldTask, uint64)
}

// Run keeps the supernodes' addresses and states current and tells them about this host, until ctx ends.
func (c *Client) Run(ctx context.Context, host api.Host, version string, inv Inventory) {
	tick := time.NewTicker(presenceTick)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	busy := map[*node]chan struct{}{}
	var resolved time.Time
	for {
		now := time.Now()
		if now.Sub(resolved) >= c.resolvePause(now) {
			c.resolve(ctx)
			resolved = now
		}
		for _, n := range c.all() {
			if running(busy[n]) || !n.due(now) {
				continue
			}
			done := make(chan struct{})
			busy[n] = done
			wg.Go(func() {
				defer close(done)
				c.beat(ctx, n, host, version, inv)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// resolvePause is the time between two look-ups. Hosts that know different supernodes send one task to different ones, and the origin pays
// for each, so a change of addresses has to reach all of them soon.
func (c *Client) resolvePause(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.nodes) == 0:
		return resolveAgain
	case now.Sub(c.changed) < unsettled:
		return resolveSoon
	}
	return resolveEvery
}

func running(done chan struct{}) bool {
	if done == nil {
		return false
	}
	select {
	case <-done:
		return false
	default:
		return true
	}
}

// due reports whether a node may be asked: a dead one when its pause is over (half-open), whenever it was asked last, else at the
// pace of heartbeats, which this call counts as one of.
func (n *node) due(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return !now.Before(n.retryAt)
	}
	every := api.HeartbeatInterval
	if n.streams.Load() > 0 {
		every = api.BusyHeartbeat
	}
	if now.Sub(n.beaten) < min(every, n.every) {
		return false
	}
	n.beaten, n.every = now, every
	return true
}

// beat sends one heartbeat; to a dead node it is the probe that brings it back.
func (c *Client) beat(ctx context.Context, n *node, host api.Host, version string, inv Inventory) {
	for range 2 {
		tasks, revision := inv.Tasks()
		h := api.Heartbeat{Host: host, Version: version, Revision: revision, Every: n.seconds()}
		if n.tells(revision) {
			h.Inventory = tasks
		}
		var a api.HeartbeatAnswer
		err := n.watched(ctx, probeTimeout, func(ctx context.Context) error {
			return n.call(ctx, http.MethodPut, api.HostPath(host.ID), h, &a)
		})
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			wasAlive := n.alive()
			n.failed(time.Now(), err)
			if wasAlive {
				c.metrics.lost.Inc()
				c.cfg.Log.Warn("supernode does not answer the heartbeat", "supernode", n.addr, "err", err)
			}
			return
		}
		if !n.alive() {
			c.cfg.Log.Info("supernode is back", "supernode", n.addr)
		}
		n.succeeded()
		if !n.heard(revision, a.NeedInventory) {
			return
		}
	}
}

// seconds is what a heartbeat tells of the next.
func (n *node) seconds() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.every == api.HeartbeatInterval {
		return 0
	}
	return int(n.every / time.Second)
}

// tells reports whether the next heartbeat carries the inventory.
func (n *node) tells(revision uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.told || n.wants || n.revision != revision
}

// heard notes an answer and reports whether the inventory has to be sent at once.
func (n *node) heard(revision uint64, wants bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	again := wants && !n.wants
	n.told, n.wants, n.revision = true, wants, revision
	return again
}

func (c *Client) all() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// resolve looks all names up. A name that can't be looked up keeps the addresses it had.
func (c *Client) resolve(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found, failed := make([][]string, len(c.names)), make([]error, len(c.names))
	var wg sync.WaitGroup
	for i, t := range c.names {
		wg.Go(func() { found[i], failed[i] = c.lookup(ctx, t.host) })
	}
	wg.Wait()

	c.mu.Lock()
	defer c.mu.Unlock()
	var nodes []*node
	c.unknown = nil
	add := func(n *node) {
		if !slices.ContainsFunc(nodes, func(o *node) bool { return o.addr == n.addr }) {
			nodes = append(nodes, n)
		}
	}
	for i, t := range c.names {
		before := len(nodes)
		for _, n := range c.nodes {
			if found[i] == nil && strings.HasSuffix(n.base, "//"+net.JoinHostPort(t.host, t.port)) {
				add(n)
			}
		}
		for _, ip := range found[i] {
			add(c.known(t, ip))
		}
		if failed[i] != nil && len(nodes) == before {
			c.unknown = append(c.unknown, NodeState{Addr: net.JoinHostPort(t.host, t.port), Why: failed[i].Error()})
		}
	}
	for _, n := range c.nodes {
		if !slices.Contains(nodes, n) {
			n.http.CloseIdleConnections()
		}
	}
	slices.SortFunc(nodes, func(a, b *node) int { return strings.Compare(a.addr, b.addr) })
	if !slices.Equal(c.nodes, nodes) {
		c.changed = time.Now()
	}
	c.nodes = nodes
}

// known returns the node at an address, the one that is in use already if there is one. Callers hold mu.
func (c *Client) known(t target, ip string) *node {
	addr := net.JoinHostPort(ip, t.port)
	for _, n := range c.nodes {
		if n.addr == addr {
			return n
		}
	}
	return c.newNode(t, ip)
}

// lookup returns a host's addresses, none when the look-up fails.
func (c *Client) lookup(ctx context.Context, host string) ([]string, error) {
	if ip := net.ParseIP(host); ip != nil {
		return []string{ip.String()}, nil
	}
	ips, err := c.cfg.Resolver.LookupHost(ctx, host)
	if err != nil {
		c.cfg.Log.Warn("looking up a supernode failed", "host", host, "err", err)
		return nil, fmt.Errorf("look up supernode %s: %w", host, err)
	}
	return ips, nil
}
