// Package transfer runs the one download of each task on this host: it registers at the supernode, keeps links to parents busy as the
// mesh decides, goes to the origin where the swarm does not deliver, and lets any number of readers have the bytes in order as they
// come. See docs/architecture.md, "Failure ladder".
package transfer

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/mesh"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

var (
	// ErrBusy says that too many downloads run on this host already.
	ErrBusy = errors.New("transfer: too many downloads at once")
	// ErrNoOrigin says that the swarm can't provide the content and the origin may not be asked.
	ErrNoOrigin = errors.New("transfer: the swarm does not provide the content, and going to the origin is switched off")
	// ErrClosed says that the manager stops.
	ErrClosed = errors.New("transfer: stopping")
)

// Pattern says where a download may take its bytes from.
type Pattern int

// Patterns.
const (
	P2P    Pattern = iota // seed and peers; the origin when they fail
	CDN                   // the seed only; the origin when it fails
	Source                // the origin only
)

// Spec names a task and where its content comes from.
type Spec struct {
	// ID is the task id, 64 hexadecimal digits; see piece.BlobID and piece.URLID.
	ID string
	// URL of the content at its origin.
	URL string
	// Header for the origin; may hold credentials.
	Header http.Header
	// Digest of the whole content, "" if unknown. With one, content counts as complete only when it matches.
	Digest digest.Digest
	// Private asks that nobody but this host uses Header.
	Private bool
	Pattern Pattern
	// NoOrigin forbids this host to ask the origin itself.
	NoOrigin bool
}

// Config of a Manager. The zero value of a field means its default.
type Config struct {
	// Host is how other peers reach this one.
	Host api.Host
	Mesh mesh.Config
	// Stall is how long a download may gain nothing before it goes to the origin for what it lacks. Default 2.2 s: with the first
	// byte of the origin a client then waits less than 3 s.
	Stall time.Duration
	// Patience is how long a living supernode is trusted to bring pieces: those that it does not have yet itself, and, from the last that it
	// told of, those that it has, which it gives to one peer after the other. Default 15 s.
	Patience time.Duration
	// Linger is how long a download goes on that nobody reads any more. Default 30 s.
	Linger time.Duration
	// MaxDownloads bounds downloads at once. Default 512.
	MaxDownloads int
	// Limiter bounds what is received from other peers, in bytes; nil means no limit.
	Limiter *rate.Limiter
	// Dial opens connections to other peers; nil means TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Seed of the random choices; 0 means an unpredictable one.
	Seed uint64
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&c.Stall, 2200 * time.Millisecond},
		{&c.Patience, 15 * time.Second},
		{&c.Linger, 30 * time.Second},
	} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if c.MaxDownloads == 0 {
		c.MaxDownloads = 512
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
}

// Supernodes is the control plane.
type Supernodes interface {
	// Configured reports whether there is any supernode to ask.
	Configured() bool
	// Register registers this peer for a task. *api.Error when a supernode refused, any other error when none answered.
	Register(ctx context.Context, task string, req api.RegisterRequest) (Session, *api.Update, error)
}

// Session is a registration at one supernode.
type Session interface {
	// Events calls f with each update behind since until the stream ends; it always returns an error.
	Events(ctx context.Context, since int, f func(*api.Update)) error
	// AllDigests is Events from the start on, with the digests of signed pieces as well.
	AllDigests(ctx context.Context, f func(*api.Update)) error
	Report(ctx context.Context, r api.Report) error
	// Supernode is its address, for logs.
	Supernode() string
}

// Origin reads content from where it comes from.
type Origin interface {
	Fetch(ctx context.Context, req origin.Request, need []origin.Range, sink origin.Sink) error
}

// Deps are what a Manager works with.
type Deps struct {
	Store      store.Store
	Supernodes Supernodes
	Origin     Origin
	// Verify checks the proof of piece i of a task, as proof.Key.Verify does; nil means that.
	Verify func(key proof.Key, p *proof.Proof, task string, i int) error
	// Ticket makes a ticket for a task where no supernode gave one; nil when no secret is set.
	Ticket     func(task string) string
	Log        *slog.Logger
	Registerer prometheus.Registerer
}
