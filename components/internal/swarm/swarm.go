// Package swarm is the supernode's knowledge of who holds what: tasks, their pieces, their peers, the hosts those live on. It decides
// who provides what nobody holds (the seed, or an elected peer), and tells every peer what it has to know. All of it is in memory and
// bounded; after a restart, peers and hosts tell it anew.
package swarm

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

// Errors of requests that can't be met.
var (
	// ErrUnknownPeer says that the peer has to register (again).
	ErrUnknownPeer = errors.New("swarm: unknown peer")
	// ErrUnknownTask says that the task is not in memory.
	ErrUnknownTask = errors.New("swarm: unknown task")
	// ErrFull says that a bound on tasks, peers or hosts is reached.
	ErrFull = errors.New("swarm: full")
	// ErrConflict says that a request contradicts what is known.
	ErrConflict = errors.New("swarm: conflict")
	// ErrBadReport says that a report makes no sense.
	ErrBadReport = errors.New("swarm: bad report")
	// ErrNothingFresh says that every piece the seed will get was sent to somebody.
	ErrNothingFresh = errors.New("swarm: nothing fresh")
)

// TinySize is the largest content that goes inside the answer of a registration, in bytes: one piece of the smallest size.
const TinySize = 64 << 10

// Config of a Swarm. The zero value of a field means its default.
type Config struct {
	// FirstAnswer is how long a registration waits for something worth telling. Default 250 ms: well under the second after which
	// a peer gives a supernode up.
	FirstAnswer time.Duration
	// Grace is how long the first peer of a task waits, when it comes with pieces, for others that come with more: after a restart
	// of the supernode they all do. Default 300 ms.
	Grace time.Duration
	// StreamGrace is how long a peer may be without an event stream. Default 5 s.
	StreamGrace time.Duration
	// Idle is how long a task stays in memory that nobody asks for. Default 1 min.
	Idle time.Duration
	// FailureMemory is how long a failure is told without asking the origin again. Default 1 s.
	FailureMemory time.Duration
	// SourceStall is how long an elected source may bring nothing. Default 10 s.
	SourceStall time.Duration
	// ManifestTimeout bounds asking one host for its digests. Default 1 s.
	ManifestTimeout time.Duration
	// CheckTimeout bounds asking an origin whether content changed that no digest names, and Recheck is how long its answer holds.
	// Defaults 2 s and 10 s.
	CheckTimeout, Recheck time.Duration
	// TicketLife is the life of a ticket. Default 10 min; a stream renews it at half of that.
	TicketLife time.Duration
	// MaxTasks, MaxPeers (of a task) and MaxHosts bound the memory. Defaults 20,000 each.
	MaxTasks, MaxPeers, MaxHosts int
}

func (c *Config) setDefaults() {
	for v, d := range map[*time.Duration]time.Duration{
		&c.FirstAnswer:     250 * time.Millisecond,
		&c.Grace:           300 * time.Millisecond,
		&c.StreamGrace:     5 * time.Second,
		&c.Idle:            time.Minute,
		&c.FailureMemory:   time.Second,
		&c.SourceStall:     10 * time.Second,
		&c.ManifestTimeout: time.Second,
		&c.CheckTimeout:    2 * time.Second,
		&c.Recheck:         10 * time.Second,
		&c.TicketLife:      10 * time.Minute,
	} {
		if *v == 0 {
			*v = d
		}
	}
	for _, v := range []*int{&c.MaxTasks, &c.MaxPeers, &c.MaxHosts} {
		if *v == 0 {
			*v = 20_000
		}
	}
}

// Seed fetches from origins. *seed.Seed is one.
type Seed interface {
	// Open pins what is held of a task, until Close, and tells it.
	Open(task string) seed.Holding
	// Fetch gets what is missing; see seed.Seed.Fetch.
	Fetch(ctx context.Context, job seed.Job, progress seed.Progress) error
	// Content is the content of a complete task of at most limit bytes, else nil.
	Content(task string, limit int64) ([]byte, error)
	// Check asks whether content that no digest names is still what it was; see seed.Seed.Check.
	Check(ctx context.Context, req seed.Request, meta api.Meta) error
	// Close ends Open and Fetch.
	Close(task string)
	// Discard forgets a task, also in the store.
	Discard(task string)
}

// Manifests asks a host for the digests of a task that it holds.
type Manifests interface {
	Manifest(ctx context.Context, host api.Host, task, ticket string) (api.TaskManifest, error)
}

// Keys signs tickets.
type Keys interface {
	// Ticket opens task until it expires; "" where there is no secret.
	Ticket(task string, life time.Duration) (ticket string, expires time.Time)
}

// Deps are what a Swarm works with.
type Deps struct {
	Seed       Seed
	Manifests  Manifests
	Keys       Keys
	Rand       *rand.Rand // nil means a random one; used under Swarm.mu only
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Swarm is safe for concurrent use.
//
// Locks: Task.mu before Swarm.mu before hosts.mu.
type Swarm struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	hosts   *hosts
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	tasks    map[string]*task
	distrust map[string]time.Time // tasks of which peers told wrong digests, until when not to adopt any
}

// New returns a swarm that lives until Close.
func New(cfg Config, deps Deps) *Swarm {
	cfg.setDefaults()
	if deps.Rand == nil {
		deps.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	s := &Swarm{cfg: cfg, deps: deps, tasks: map[string]*task{}, distrust: map[string]time.Time{}}
	s.hosts = newHosts(cfg.MaxHosts)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.metrics = newMetrics(deps.Registerer, s)
	s.wg.Go(s.sweep)
	return s
}

// Close ends all streams and fetches, and waits for the fetches.
func (s *Swarm) Close() {
	s.cancel()
	s.mu.Lock()
	tasks := make([]*task, 0, len(s.tasks))
	for _, t := range s.tasks {
		tasks = append(tasks, t)
	}
	s.mu.Unlock()
	s.wg.Wait()
	for _, t := range tasks {
		t.mu.Lock()
		t.retire()
		t.mu.Unlock()
	}
}

// run starts a goroutine that Close waits for. False when it is too late.
func (s *Swarm) run(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.wg.Go(f)
	return true
}

// find returns a task that is in memory, or nil.
func (s *Swarm) find(id string) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tasks[id]
}

// enter returns the task, locked, making it when it is not in memory.
func (s *Swarm) enter(id string) (*task, error) {
	for {
		s.mu.Lock()
		if s.ctx.Err() != nil {
			s.mu.Unlock()
			return nil, s.ctx.Err()
		}
		t := s.tasks[id]
		if t == nil {
			if len(s.tasks) >= s.cfg.MaxTasks {
				s.mu.Unlock()
				return nil, ErrFull
			}
			t = newTask(s, id)
			t.mu.Lock() // nobody else knows it yet
			s.tasks[id] = t
			s.mu.Unlock()
			t.load()
			return t, nil
		}
		s.mu.Unlock()
		t.mu.Lock()
		if !t.gone {
			return t, nil
		}
		t.mu.Unlock()
	}
}

// with calls f with the task and the peer, locked.
func (s *Swarm) with(id, name string, f func(*task, *peer) error) error {
	t := s.find(id)
	if t == nil {
		return ErrUnknownPeer
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[name]
	if t.gone || p == nil || p.resident {
		return ErrUnknownPeer
	}
	return f(t, p)
}

func (s *Swarm) trusts(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().After(s.distrust[id])
}

// distrustFor is how long peers' digests of a task are not taken after they turned out wrong.
const distrustFor = 10 * time.Minute

func (s *Swarm) setDistrust(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.distrust) < s.cfg.MaxTasks {
		s.distrust[id] = time.Now().Add(distrustFor)
	}
}

// sweep drops what time has ended: hosts unheard of, tasks nobody asks for.
func (s *Swarm) sweep() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		s.sweepOnce(time.Now())
	}
}

func (s *Swarm) sweepOnce(now time.Time) {
	gone := s.hosts.expire(now)
	s.mu.Lock()
	tasks := make([]*task, 0, len(s.tasks))
	for _, t := range s.tasks {
		tasks = append(tasks, t)
	}
	for id, until := range s.distrust {
		if now.After(until) {
			delete(s.distrust, id)
		}
	}
	s.mu.Unlock()
	for _, t := range tasks {
		t.mu.Lock()
		for _, h := range gone {
			t.hostGone(h)
		}
		if !t.gone && !t.busy && t.streams == 0 && now.Sub(t.active) > s.cfg.Idle {
			t.retire()
		}
		t.mu.Unlock()
	}
}
