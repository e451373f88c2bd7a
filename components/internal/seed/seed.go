// Package seed is the supernode in its role as first holder of a task: it fetches content from the origin into the store, tells each
// verified piece at once, and proves the whole against its digest. Who asks it to fetch, and with whose credentials, is decided in
// package swarm.
package seed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"github.com/bits-and-blooms/bitset"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// ErrInvalid says that the content is not what it has to be: its digest is wrong, or it changed between two reads. What was kept of it
// is gone.
var ErrInvalid = errors.New("seed: content is not valid")

// Refused is the origin's answer to a request it does not grant.
type Refused struct {
	Status int // HTTP
	Err    error
}

func (r *Refused) Error() string { return fmt.Sprintf("origin answers %d", r.Status) }
func (r *Refused) Unwrap() error { return r.Err }

// Request names content at an origin. Header may hold credentials.
type Request struct {
	URL    string
	Header http.Header
	// Immutable content is proven by its digest: the origin's servers may disagree about its ETag.
	Immutable bool
}

// Range is a run of bytes.
type Range struct{ Off, Len int64 }

// Info is what the origin tells before the first byte.
type Info struct {
	Length int64 // -1 when it tells none
	Header http.Header
	// Identified says that the origin knew who asked by more than the request's header, as by a client certificate.
	Identified bool
}

// Sink takes content as it arrives. Safe for concurrent use.
type Sink interface {
	// Start is called once a Fetch, before the first Part.
	Start(Info) error
	// Part returns where the bytes from off on are to be written, in order.
	Part(off int64) (PartWriter, error)
}

// PartWriter takes one part's bytes in order, from one goroutine.
type PartWriter interface {
	io.Writer
	// CloseWithError is the last call: nil after the part's last byte, which for content of unknown length is the content's end.
	CloseWithError(error) error
}

// Origin reads content from where it comes from.
type Origin interface {
	// Fetch writes the bytes of need to sink, or all when need is nil. Where the origin refuses it returns a *Refused.
	Fetch(ctx context.Context, req Request, need []Range, sink Sink) error
	// Probe tells what the content is now, or unchanged when it still has the ETag or, where that is empty, the date of modification.
	Probe(ctx context.Context, req Request, etag, modified string) (info Info, unchanged bool, err error)
}

// Job is one order to the seed.
type Job struct {
	Task    string
	Request Request
	Digest  string // of the whole, "algorithm:hex"; "" when unknown
	// Meta is what peers told of the task, nil when nothing is known.
	Meta *api.Meta
	// Known are digests that peers told. The origin's bytes have to match them.
	Known map[int]piece.Digest
	// Skip are pieces that peers hold and that are not to be fetched; may be nil.
	Skip *bitset.BitSet
}

// Progress hears what a fetch gains. Calls may come from several goroutines.
type Progress interface {
	Meta(api.Meta)
	Gained(api.Piece)
}

// Holding is what the seed has of a task.
type Holding struct {
	Meta     api.Meta
	Pieces   []api.Piece
	Complete bool // whole and verified
}

// maxFetches bounds the tasks that are fetched at once: each takes a few connections and buffers. Others wait.
const maxFetches = 128

// Deps are what a Seed works with.
type Deps struct {
	Store      store.Store
	Origin     Origin
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Seed fetches tasks. It is safe for concurrent use, but for one task only one Fetch may run at a time.
type Seed struct {
	Deps
	metrics *metrics
	slots   chan struct{} // one for each fetch under way
	mu      sync.Mutex    // guards open
	open    map[string]store.Task
}

// New returns a seed over deps.
func New(deps Deps) *Seed {
	return &Seed{Deps: deps, metrics: newMetrics(deps.Registerer), slots: make(chan struct{}, maxFetches), open: map[string]store.Task{}}
}

// Open pins what the store has of a task until Close, and tells what it is. The zero Holding means nothing.
func (s *Seed) Open(id string) Holding {
	t := s.pinned(id)
	if t == nil {
		var err error
		if t, err = s.Store.Get(id); err != nil {
			return Holding{}
		}
		t = s.pin(id, t)
	}
	return holding(t)
}

// Close ends Open, or a Fetch.
func (s *Seed) Close(id string) {
	s.mu.Lock()
	t := s.open[id]
	delete(s.open, id)
	s.mu.Unlock()
	if t != nil {
		t.Release()
	}
}

// Content is the whole content of a task that is complete and at most limit bytes long, else nil.
func (s *Seed) Content(id string, limit int64) ([]byte, error) {
	t, err := s.Store.Get(id)
	if err != nil {
		return nil, fmt.Errorf("content of task %s: %w", id, err)
	}
	defer t.Release()
	n := t.Layout().Length
	if !t.IsComplete() || n <= 0 || n > limit {
		return nil, nil
	}
	rd, err := t.Reader()
	if err != nil {
		return nil, fmt.Errorf("content of task %s: %w", id, err)
	}
	defer rd.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(rd, 0, n), b); err != nil {
		return nil, fmt.Errorf("content of task %s: %w", id, err)
	}
	return b, nil
}

func (s *Seed) pinned(id string) store.Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id]
}

// pin keeps t for id, unless one is kept already: then that one is returned and t released.
func (s *Seed) pin(id string, t store.Task) store.Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.open[id]; old != nil {
		t.Release()
		return old
	}
	s.open[id] = t
	return t
}

func holding(t store.Task) Holding {
	h := Holding{Meta: t.Meta(), Complete: t.IsComplete()}
	have := t.Have()
	h.Pieces = make([]api.Piece, 0, have.Count())
	for i := range have.EachSet() {
		if d, ok := t.Digest(int(i)); ok {
			h.Pieces = append(h.Pieces, api.Piece{Index: int(i), SHA256: d[:]})
		}
	}
	return h
}
