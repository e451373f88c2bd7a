// Package upload is the piece server: it gives verified bytes to other peers, on the supernode's download port and on every
// dfdaemon's peer port. See docs/architecture.md, "Data plane", for the protocol.
package upload

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// Config of a piece server. The zero value of a field means its default.
type Config struct {
	// Slots is how many requests are served at once: few, since answers that share the uplink all come late. Default 5. A request that takes
	// much longer than usual gives its slot on, so that slow children do not hold the uplink.
	Slots int
	// Queue is how many more may wait. Short, so that no piece is bound to a slow answer: what all have outstanding should be more than what
	// slots and queues hold, else some parents hold much of it and others nothing. Default 2.
	Queue int
	// PickQueue is how many pick requests may wait at a seed. They name no piece, so the queue may be long. Default 16384.
	PickQueue int
	// Rate limits what is sent, in bytes a second over all requests. 0 means no limit.
	Rate int64
	// WriteStall is how long a child may take no byte before its connection is dropped. Default 10 s.
	WriteStall time.Duration
	// NewsCost is the time set aside for a message of an availability stream, so that a fast transfer does not cost a message a piece
	// and child: with n streams each has one at most every n times that, and every maxNewsInterval at least. Default 1.5 ms.
	NewsCost time.Duration
	// PickWait is the longest time a pick request is held until it has a slot and the seed something fresh: less than the 10 s that a child
	// waits for an answer, and not much less, since an answer that brings nothing takes of the uplink, too. Default 6 s.
	PickWait time.Duration
}

func (c *Config) setDefaults() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Slots, 5)
	def(&c.Queue, 2)
	def(&c.PickQueue, 16384)
	dur(&c.WriteStall, 10*time.Second)
	dur(&c.NewsCost, 1500*time.Microsecond)
	dur(&c.PickWait, 6*time.Second)
}

// maxBurst bounds what is sent at once where there is a rate limit, in bytes.
const maxBurst = 1 << 20

// Tickets checks the tickets of piece requests.
type Tickets interface {
	// VerifyTicket returns nil when ticket opens task.
	VerifyTicket(task, ticket string) error
}

// ErrNothingFresh says that a seed has sent every piece to somebody: children get them from each other now.
var ErrNothingFresh = errors.New("upload: every piece was sent once")

// Picker chooses what a seed sends. Safe for concurrent use.
type Picker interface {
	// Pick chooses a run of up to limit bytes (at least one piece) that no peer was sent yet, and takes it as sent. While
	// the seed still fetches and has nothing fresh it waits, until ctx ends: then it returns ctx's error. With a ctx that has ended
	// before it gives what is fresh now. ErrNothingFresh when there is nothing left, store.ErrNotFound for an unknown task.
	Pick(ctx context.Context, task string, limit int64) (off, n int64, err error)
	// Return gives back what Pick gave and could not be sent.
	Return(task string, off, n int64)
}

// Prover signs what a seed sends. Safe for concurrent use.
type Prover interface {
	// Prove returns the proof that piece i of a task has the digest d, nil where it can't be given.
	Prove(task string, i int, d piece.Digest) *proof.Proof
}

// Downloads knows what this host downloads. Safe for concurrent use.
type Downloads interface {
	// Await waits until a task that this host has begun to download is in the store, or ctx ends; at once for any other.
	Await(ctx context.Context, task string)
	// Lacks returns those of pieces that a peer did not say it holds: news of the others would tell it nothing.
	Lacks(task, peer string, pieces []int) []int
}

// Deps are what a Server works with. Picker and Prover are nil on peers, which pass on the proofs that they got; Tickets may be nil where
// no secret is set, Downloads where there are none.
type Deps struct {
	Store      store.Store
	Picker     Picker
	Prover     Prover
	Downloads  Downloads
	Tickets    Tickets
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Server serves everything below /download/. It is safe for concurrent use.
type Server struct {
	cfg     Config
	deps    Deps
	limiter *rate.Limiter
	gate    *gate // ranges
	picks   *gate // picks
	streams streams
	metrics *metrics
	sent    atomic.Int64
	mux     *http.ServeMux
}

// New returns a piece server over deps.
func New(cfg Config, deps Deps) *Server {
	cfg.setDefaults()
	s := &Server{
		cfg:     cfg,
		deps:    deps,
		gate:    newGate(cfg.Slots, cfg.Queue),
		picks:   newGate(cfg.Slots, cfg.PickQueue),
		metrics: newMetrics(deps.Registerer),
		mux:     http.NewServeMux(),
	}
	if cfg.Rate > 0 {
		s.limiter = rate.NewLimiter(rate.Limit(cfg.Rate), int(min(cfg.Rate, maxBurst)))
	}
	s.mux.HandleFunc("GET /download/{prefix}/{task}", s.guard(s.serveContent))
	s.mux.HandleFunc("GET /download/{prefix}/{task}/pieces", s.awaiting(s.guard(s.serveNews)))
	s.mux.HandleFunc("GET /download/{prefix}/{task}/manifest", s.guard(s.serveManifest))
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Sent is how much was sent so far, in bytes.
func (s *Server) Sent() int64 { return s.sent.Load() }
