// Package sim runs the engine's own code over modelled links in virtual time: the supernode's swarm, and on each node the download loop with
// its plan, the links to parents and the piece server. Only what is outside of it is a model: the network between nodes, the store (which
// keeps marks instead of bytes, so that nothing is hashed), and the control plane's encoding. A proof is checked once in a run, where peers
// would each do it: that has no part in virtual time. tests/sim runs it inside a testing/synctest bubble, whose clock it takes.
package sim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/mesh"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/swarm"
	"github.com/dragonfly-kube/dragonfly/components/internal/transfer"
	"github.com/dragonfly-kube/dragonfly/components/internal/upload"
)

// Config of a run. The zero value of a field means its default.
type Config struct {
	// Peers that pull at once.
	Peers int
	// Size of the content, in bytes. Default 64 MiB.
	Size int64
	// Rate of each node's link, both ways, in bytes a second. Default 5 MB/s (40 Mbit/s).
	Rate float64
	// RateOf is the rate of peer i where they differ; nil means Rate.
	RateOf func(i int) float64
	// SeedRate is the supernode's; default Rate.
	SeedRate float64
	// OriginRate is how fast the supernode gets the content; 0 means that it has it.
	OriginRate float64
	// Latency is the time of one way. Default 0.5 ms.
	Latency time.Duration
	// Buffer is how far a sender may be ahead of its uplink on one connection, in bytes. Default upload.Unsent: what the
	// piece server sets.
	Buffer int
	// Window is how much may be on its way on one connection, in bytes, as TCP's. Default 64 KiB.
	Window int
	// FIFO links have one queue for everything, so that requests and news wait behind content. Else what is small passes by, as with
	// fq_codel, the usual queue of Linux.
	FIFO bool
	// Spread is the time over which peers start. Default 0: all at once.
	Spread time.Duration
	// Zones the peers are in, in turn. Default 1.
	Zones int
	// Mesh and Upload are the engine's own settings.
	Mesh   mesh.Config
	Upload upload.Config
	// Seed of all random choices of the run, but for those of the engine that are timed. Default 1.
	Seed uint64
}

func (c *Config) setDefaults() {
	if c.Size == 0 {
		c.Size = 64 << 20
	}
	if c.Rate == 0 {
		c.Rate = 5e6
	}
	if c.RateOf == nil {
		c.RateOf = func(int) float64 { return c.Rate }
	}
	if c.SeedRate == 0 {
		c.SeedRate = c.Rate
	}
	if c.Latency == 0 {
		c.Latency = 500 * time.Microsecond
	}
	if c.Buffer == 0 {
		c.Buffer = upload.Unsent
	}
	if c.Window == 0 {
		c.Window = 64 << 10
	}
	c.Zones = max(1, c.Zones)
	c.Seed = max(1, c.Seed)
}

const taskID = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed"

// swarmNet is everything of one run.
type swarmNet struct {
	cfg    Config
	net    *network
	swarm  *swarm.Swarm
	seed   *node
	peers  []*node
	byAddr map[string]*node
	byName map[string]*node
	proofs checked

	calls, answers, updates tally
}

// node is a host: the seed's, or a peer's.
type node struct {
	ctx      context.Context
	addr     string
	host     api.Host
	up, down *link
	store    *marks
	pieces   *upload.Server
	manager  *transfer.Manager // nil at the seed
	rate     float64
	wg       sync.WaitGroup

	start, first, done time.Duration // of its pull; 0 while not yet
	err                error

	sent            atomic.Int64    // content, bytes
	news, newsBytes atomic.Int64    // of availability streams
	answers         [6]atomic.Int64 // by the first digit of the status

	mu       sync.Mutex     // guards children
	children map[string]int // followers of our news, by name
}

// follow counts the availability streams of a child.
func (n *node) follow(child string, change int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.children[child] += change; n.children[child] == 0 {
		delete(n.children, child)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (s *swarmNet) newNode(ctx context.Context, i int, rate float64) *node {
	n := &node{
		ctx: ctx, addr: fmt.Sprintf("10.%d.%d.%d:%d", i>>16, i>>8&255, i&255, api.PeerPort), rate: rate,
		up: newLink(rate), down: newLink(rate), store: newMarks(), children: map[string]int{},
	}
	n.host = api.Host{ID: fmt.Sprintf("node-%05d", i), Name: fmt.Sprintf("node-%05d", i), Addrs: []string{n.addr}, Zone: fmt.Sprint("zone-", i%s.cfg.Zones)}
	s.byAddr[n.addr], s.byName[n.host.ID] = n, n
	return n
}

func build(ctx context.Context, cfg Config) *swarmNet {
	s := &swarmNet{cfg: cfg, net: newNetwork(cfg), byAddr: map[string]*node{}, byName: map[string]*node{}}
	meta := api.Meta{Length: cfg.Size, PieceSize: piece.Size(cfg.Size), Public: true}
	s.seed = s.newNode(ctx, 0, cfg.SeedRate)
	s.swarm = swarm.New(swarm.Config{}, swarm.Deps{
		Seed: &supply{store: s.seed.store, meta: meta, rate: cfg.OriginRate}, Manifests: noSecret{}, Keys: noSecret{},
		Rand: rand.New(rand.NewPCG(cfg.Seed, 1)), Log: quiet(), Registerer: prometheus.NewRegistry(),
	})
	s.seed.pieces = upload.New(cfg.Upload, upload.Deps{
		Store: s.seed.store, Picker: picker{s}, Prover: s.swarm, Log: quiet(), Registerer: prometheus.NewRegistry(),
	})
	for i := range cfg.Peers {
		n := s.newNode(ctx, i+1, cfg.RateOf(i))
		n.manager = transfer.New(transfer.Config{
			Host: n.host, Mesh: cfg.Mesh, Seed: cfg.Seed<<32 + uint64(i) + 1,
			Dial: func(ctx context.Context, _, address string) (net.Conn, error) { return s.dial(ctx, n, address) },
		}, transfer.Deps{
			Store: n.store, Supernodes: &control{n, s}, Verify: s.proofs.verify, Log: quiet(), Registerer: prometheus.NewRegistry(),
		})
		n.pieces = upload.New(cfg.Upload, upload.Deps{
			Store: n.store, Downloads: n.manager, Log: quiet(), Registerer: prometheus.NewRegistry(),
		})
		s.peers = append(s.peers, n)
	}
	return s
}

// Run has all peers pull the content and returns how it went. It has to run in a bubble of testing/synctest.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	cfg.setDefaults()
	ctx, cancel := context.WithCancel(ctx)
	s := build(ctx, cfg)
	var background, pulls sync.WaitGroup
	background.Go(func() { s.net.run(ctx) })
	r := rand.New(rand.NewPCG(cfg.Seed, 2))
	for i, n := range s.peers {
		if _, n.err = s.swarm.Heartbeat(&api.Heartbeat{Host: n.host, Version: "v1.0.0"}); n.err != nil {
			continue
		}
		phase := time.Duration(r.Int64N(int64(api.HeartbeatInterval)))
		background.Go(func() { (&control{n, s}).beat(ctx, phase) })
		delay := cfg.Spread * time.Duration(i) / time.Duration(cfg.Peers)
		pulls.Go(func() { s.pull(ctx, n, delay) })
	}
	overdue := time.AfterFunc(s.patience(), s.giveUp)
	w := &watcher{s: s}
	watch, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { w.run(watch) })
	pulls.Wait()
	overdue.Stop()
	stop()
	watching.Wait()
	result := s.result(w)
	for _, n := range s.peers {
		n.manager.Close()
	}
	cancel()
	s.swarm.Close()
	for _, n := range append(s.peers, s.seed) {
		n.wg.Wait()
	}
	background.Wait()
	for _, n := range s.peers {
		if n.err != nil {
			return nil, fmt.Errorf("%s, with %d of %d pieces: %w", n.addr, n.store.Count(), s.pieces(), n.err)
		}
	}
	return result, nil
}

// patience is how long a run may take, in virtual time. Peers may go to no origin, so one that nobody serves would wait for ever.
func (s *swarmNet) patience() time.Duration {
	slowest := s.cfg.SeedRate
	for i := range s.peers {
		slowest = min(slowest, s.cfg.RateOf(i))
	}
	if s.cfg.OriginRate > 0 {
		slowest = min(slowest, s.cfg.OriginRate)
	}
	return time.Minute + s.cfg.Spread + 20*time.Duration(float64(s.cfg.Size)/slowest*1e9)
}

// giveUp ends the pulls that go on.
func (s *swarmNet) giveUp() {
	for _, n := range s.peers {
		n.manager.Close()
	}
}

// pull reads the content as a client does, from the first byte to the last.
func (s *swarmNet) pull(ctx context.Context, n *node, delay time.Duration) {
	if n.err = wait(ctx, delay); n.err != nil {
		return
	}
	n.start = s.net.now()
	h, err := n.manager.Open(ctx, transfer.Spec{ID: taskID, URL: "https://registry.example/v2/app/blobs/x", Header: http.Header{}, NoOrigin: true})
	if err != nil {
		n.err = err
		return
	}
	defer h.Close()
	if _, n.err = h.Meta(ctx); n.err != nil {
		return
	}
	rd := h.Reader(0, -1)
	defer rd.Close()
	_, n.err = rd.(io.WriterTo).WriteTo(&client{s: s, n: n})
	n.done = s.net.now()
}
