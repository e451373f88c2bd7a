// Package superclient is the peers' client of the control plane: it finds the supernodes, knows which of them live, and speaks
// register, events, reports and heartbeats. Several supernodes share the tasks by rendezvous hashing; a dead one's tasks go to the
// next in rank.
package superclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// ErrNoSupernode says that no supernode is known to live. It comes at once: who gets it goes to the origin.
var ErrNoSupernode = errors.New("no supernode answers")

// Config of a Client. The zero value of a duration means its default.
type Config struct {
	// Addrs are the supernodes, HOST or HOST:PORT. A name with several address records stands for that many supernodes.
	Addrs []string
	// TLS is set when the control plane is served over TLS; nil means plain HTTP.
	TLS *tls.Config
	// Token returns the current control token, "" when no secret is set; nil means never one.
	Token func() string
	// RegisterTimeout is how long a registration waits, over all supernodes that are tried, for a sign of life. Default 900 ms: with
	// it, a pull's first byte is late by less than a second when no supernode answers.
	RegisterTimeout time.Duration
	// Silence is how long an event stream waits for a sign of life of its supernode. Default 1.8 s: a sign of life
	// may be late by a packet that was lost twice.
	Silence time.Duration
	// MaxRegister is how long a registration waits for a supernode that shows signs of life elsewhere, on other streams. Default 10 s.
	MaxRegister time.Duration
	// Resolver looks names up; nil means net.DefaultResolver.
	Resolver Resolver
	Log      *slog.Logger
	// Registerer gets the client's metrics.
	Registerer prometheus.Registerer
}

// Client is safe for concurrent use.
type Client struct {
	cfg     Config
	names   []target
	metrics *metrics

	mu       sync.Mutex  // guards the fields below
	nodes    []*node     // sorted by address
	unknown  []NodeState // names that led to none at the last look-up
	changed  time.Time   // last change of nodes, whoever looked them up
	resolved time.Time   // last look-up that a registration made
}

// target is one configured supernode name.
type target struct{ host, port string }

// New returns a client. It does no I/O: Run, or the first registration, looks the names up.
func New(cfg Config) (*Client, error) {
	if cfg.RegisterTimeout == 0 {
		cfg.RegisterTimeout = 900 * time.Millisecond
	}
	if cfg.Silence == 0 {
		cfg.Silence = api.PingInterval + 800*time.Millisecond
	}
	if cfg.MaxRegister == 0 {
		cfg.MaxRegister = 10 * time.Second
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Token == nil {
		cfg.Token = func() string { return "" }
	}
	c := &Client{cfg: cfg, metrics: newMetrics(cfg.Registerer)}
	for _, addr := range cfg.Addrs {
		t, err := parseTarget(addr)
		if err != nil {
			return nil, err
		}
		c.names = append(c.names, t)
	}
	return c, nil
}

// parseTarget reads HOST, HOST:PORT, [V6] or [V6]:PORT.
func parseTarget(addr string) (target, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = strings.Trim(addr, "[]"), strconv.Itoa(api.RegisterPort)
	}
	n, perr := strconv.ParseUint(port, 10, 16)
	if host == "" || perr != nil || n == 0 || strings.ContainsAny(host, "/@ ") {
		return target{}, fmt.Errorf("supernode address %q: want HOST or HOST:PORT", addr)
	}
	return target{host, port}, nil
}

// live returns the supernodes that are not known to be dead, in the task's rank.
func (c *Client) live(task string) []*node {
	c.mu.Lock()
	nodes := slices.Clone(c.nodes)
	c.mu.Unlock()
	nodes = slices.DeleteFunc(nodes, func(n *node) bool { return !n.alive() })
	slices.SortFunc(nodes, func(a, b *node) int {
		if ra, rb := rank(task, a.addr), rank(task, b.addr); ra != rb {
			if ra > rb {
				return -1
			}
			return 1
		}
		return strings.Compare(a.addr, b.addr)
	})
	return nodes
}

// mayResolve keeps registrations from looking names up, which may take long, more than once a second.
func (c *Client) mayResolve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.resolved) >= resolveAgain {
		c.resolved = now
		return true
	}
	return false
}

// rank is the weight of a supernode for a task (rendezvous hashing): the same at every peer that knows it by the same address.
func rank(task, addr string) uint64 { return xxhash.Sum64String(task + "@" + addr) }

// NodeState is one supernode as a peer sees it.
type NodeState struct {
	// Addr is "ip:port", or "name:port" where the name leads nowhere.
	Addr  string
	Alive bool
	// Why it is not alive.
	Why string
}

// Nodes lists the supernodes found so far, and the names that led to none.
func (c *Client) Nodes() []NodeState {
	c.mu.Lock()
	defer c.mu.Unlock()
	states := make([]NodeState, 0, len(c.nodes))
	for _, n := range c.nodes {
		states = append(states, n.state())
	}
	return append(states, c.unknown...)
}

// Configured reports whether there is any supernode to ask.
func (c *Client) Configured() bool { return len(c.names) > 0 }
