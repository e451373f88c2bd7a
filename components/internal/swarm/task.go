package swarm

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/scheduler"
)

// unknownAhead is how far beyond the pieces known an index may be while the length is unknown, so that no message makes a task's
// tables large: parts that are fetched in parallel are not further apart.
const unknownAhead = 4096

// task is one swarm. It lives from its first registration until nobody has asked for it for a while.
type task struct {
	s  *Swarm
	id string

	mu     sync.Mutex // guards everything below
	gone   bool       // no longer in Swarm.tasks
	active time.Time  // last sign of interest
	failed *api.Error // told to every peer; the task is dropped soon after
	// changed is closed, and replaced, at every change that all peers are to hear of, and supplied when the seed gains a piece, of which
	// those hear that wait for it.
	changed, supplied chan struct{}

	url, digest string
	meta        api.Meta
	metaVersion int
	log         []api.Piece // in the order they became known; append-only, so that slices of it may be read without lock
	position    []int32     // of a piece in log, counted from one; 0 while unknown
	// checking is true while the origin is asked whether what the store has is still right; checked is when it was asked last.
	checking bool
	checked  time.Time
	// adopted is true when some digest came from peers and the seed has not proven the whole.
	adopted bool

	// signer is of this life of the task, so that no proof outlives what may change: content that no digest names. nil until a peer is
	// told its key.
	signer *proof.Signer
	signed bitset.BitSet        // the seed was the first to have them, so that their digests come with them
	proofs map[int]*proof.Proof // made so far

	atSeed bitset.BitSet // held by the seed
	proven bool          // the seed holds the whole and verified it
	copies []int32       // of each piece, at peers that hold a part
	whole  int           // peers that hold every piece
	fresh  scheduler.Fresh

	peers     map[string]*peer
	residents map[string]*peer // by host: peers without event stream that hold the whole
	streams   int
	joined    int // counts peers ever registered, for their order
	mesh      *scheduler.Mesh

	supply
}

func newTask(s *Swarm, id string) *task {
	return &task{
		s: s, id: id,
		active:    time.Now(),
		changed:   make(chan struct{}),
		supplied:  make(chan struct{}),
		proofs:    map[int]*proof.Proof{},
		meta:      api.Meta{Length: -1},
		peers:     map[string]*peer{},
		residents: map[string]*peer{},
		mesh:      scheduler.NewMesh(s.rand()),
	}
}

// rand derives an own source for a task, so that tasks share no lock. Callers hold Swarm.mu.
func (s *Swarm) rand() *rand.Rand {
	return rand.New(rand.NewPCG(s.deps.Rand.Uint64(), s.deps.Rand.Uint64()))
}

// load takes over what the seed has on disk.
func (t *task) load() {
	h := t.s.deps.Seed.Open(t.id)
	if h.Meta.PieceSize == 0 {
		return
	}
	t.setSeedMeta(h.Meta)
	for _, p := range h.Pieces {
		t.gained(p)
	}
	t.proven = h.Complete
	if t.told() {
		t.addHolders()
	}
}

// retire drops the task from memory. Bytes stay in the store.
func (t *task) retire() {
	if t.gone {
		return
	}
	t.gone = true
	for _, p := range t.peers {
		p.stop()
	}
	t.s.metrics.peers.Add(-float64(len(t.peers)))
	t.supply.stop()
	t.s.deps.Seed.Close(t.id)
	t.s.mu.Lock()
	if t.s.tasks[t.id] == t {
		delete(t.s.tasks, t.id)
	}
	t.s.mu.Unlock()
	t.notify()
}

// notify wakes every stream of the task.
func (t *task) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// notifySupplied wakes those who wait for pieces of the seed.
func (t *task) notifySupplied() {
	close(t.supplied)
	t.supplied = make(chan struct{})
}

func (t *task) layout() piece.Layout {
	return piece.Layout{Length: t.meta.Length, Size: t.meta.PieceSize}
}

// told reports whether every piece's digest is known.
func (t *task) told() bool {
	return t.meta.PieceSize > 0 && t.layout().Known() && len(t.log) == t.layout().Count()
}

func (t *task) tiny() bool { return t.meta.Length > 0 && t.meta.Length <= TinySize }

// setMeta takes metadata that a peer tells.
func (t *task) setMeta(m api.Meta) error {
	if m.PieceSize != piece.Size(m.Length) && m.PieceSize != piece.UnknownSize {
		return fmt.Errorf("%w: pieces of %d bytes for content of %d", ErrConflict, m.PieceSize, m.Length)
	}
	if t.meta.PieceSize == 0 {
		t.meta = api.Meta{Length: max(-1, m.Length), PieceSize: m.PieceSize, Header: maps.Clone(m.Header), Public: m.Public}
		t.metaChanged()
		return nil
	}
	if m.PieceSize != t.meta.PieceSize || m.Length >= 0 && t.meta.Length >= 0 && m.Length != t.meta.Length {
		return fmt.Errorf("%w: length %d in pieces of %d, known are %d and %d",
			ErrConflict, m.Length, m.PieceSize, t.meta.Length, t.meta.PieceSize)
	}
	if t.meta.Length < 0 && m.Length >= 0 {
		if n := (piece.Layout{Length: m.Length, Size: m.PieceSize}).Count(); n < len(t.position) {
			return fmt.Errorf("%w: length %d, but piece %d is known", ErrConflict, m.Length, len(t.position)-1)
		}
		t.meta.Length = m.Length
		t.metaChanged()
	}
	return nil
}

// setSeedMeta takes what the seed knows, which is right.
func (t *task) setSeedMeta(m api.Meta) {
	m.Public = m.Public || t.meta.Public
	if m.Header == nil {
		m.Header = t.meta.Header
	}
	t.meta = m
	t.metaChanged()
}

func (t *task) metaChanged() {
	t.metaVersion++
	t.notify()
}

// limit bounds the pieces that there can be.
func (t *task) limit() int {
	if n := t.layout().Count(); n >= 0 {
		return n
	}
	return len(t.position) + unknownAhead
}

// learn adds a piece's digest that a peer tells to the log.
func (t *task) learn(p api.Piece) error {
	known := len(t.log)
	if err := t.enlist(p); err != nil {
		return err
	}
	if len(t.log) > known {
		t.notify()
	}
	return nil
}

// enlist is learn, of which nobody is told yet.
func (t *task) enlist(p api.Piece) error {
	if len(p.SHA256) != len(piece.Digest{}) {
		return fmt.Errorf("%w: the digest of piece %d has %d bytes", ErrConflict, p.Index, len(p.SHA256))
	}
	if t.meta.PieceSize == 0 || p.Index < 0 || p.Index >= t.limit() {
		return fmt.Errorf("%w: there is no piece %d", ErrConflict, p.Index)
	}
	if p.Index >= len(t.position) {
		t.position = append(t.position, make([]int32, p.Index+1-len(t.position))...)
		t.copies = append(t.copies, make([]int32, len(t.position)-len(t.copies))...)
	}
	if at := t.position[p.Index]; at > 0 {
		if string(t.log[at-1].SHA256) != string(p.SHA256) {
			return fmt.Errorf("%w: piece %d is known with another digest", ErrConflict, p.Index)
		}
		return nil
	}
	t.log = append(t.log, p)
	t.position[p.Index] = int32(len(t.log))
	if t.whole > 0 {
		t.fresh.Spread(p.Index)
	}
	return nil
}

// gained is called for a piece that the seed has.
func (t *task) gained(p api.Piece) {
	known := len(t.log)
	if err := t.enlist(p); err != nil {
		t.s.deps.Log.Error("the seed contradicts what is known", "task", t.id, "piece", p.Index, "err", err)
		return
	}
	if len(t.log) > known {
		t.signed.Set(uint(p.Index))
	}
	t.atSeed.Set(uint(p.Index))
	t.fresh.Ready(p.Index)
	if t.told() {
		t.notify()
	}
	t.notifySupplied()
}

// lacks reports whether there is something that neither the seed nor a peer can give.
func (t *task) lacks() bool {
	switch {
	case t.proven, t.told() && t.whole > 0:
		return false
	case !t.told():
		return true
	}
	for i := range t.position {
		if !t.held(i) {
			return true
		}
	}
	return false
}

func (t *task) held(i int) bool { return t.whole > 0 || t.copies[i] > 0 || t.atSeed.Test(uint(i)) }
