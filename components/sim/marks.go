package sim

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// digestOf is what every piece i has for a digest: nothing is hashed.
func digestOf(i int) (d piece.Digest) {
	binary.BigEndian.PutUint64(d[:], uint64(i)+1)
	return d
}

// marks is a store of one task that keeps no bytes, only which pieces are held.
type marks struct {
	mu      sync.Mutex // guards the fields below
	id      string     // "" until the task is made
	meta    api.Meta
	held    bitset.BitSet
	proofs  map[int]*proof.Proof
	log     []int
	changed chan struct{}
	whole   bool
}

func newMarks() *marks { return &marks{proofs: map[int]*proof.Proof{}, changed: make(chan struct{})} }

// Get implements store.Store.
func (m *marks) Get(id string) (store.Task, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.id != id {
		return nil, store.ErrNotFound
	}
	return m, nil
}

// Create implements store.Store.
func (m *marks) Create(id string, meta api.Meta) (store.Task, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.id == "" {
		m.id, m.meta = id, meta
	}
	return m, nil
}

// Remove implements store.Store.
func (m *marks) Remove(string) error { return nil }

// Tasks implements store.Store.
func (m *marks) Tasks() ([]api.HeldTask, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.whole {
		return nil, 0
	}
	return []api.HeldTask{{ID: m.id, Length: m.meta.Length}}, 1
}

// Usage implements store.Store.
func (m *marks) Usage() (int64, int) { return 0, 0 }

// Close implements store.Store.
func (m *marks) Close() error { return nil }

// ID implements store.Task.
func (m *marks) ID() string { return m.id }

// Meta implements store.Task.
func (m *marks) Meta() api.Meta {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.meta
}

// Layout implements store.Task.
func (m *marks) Layout() piece.Layout {
	m.mu.Lock()
	defer m.mu.Unlock()
	return piece.Layout{Length: m.meta.Length, Size: m.meta.PieceSize}
}

// SetMeta implements store.Task.
func (m *marks) SetMeta(meta api.Meta) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.meta = meta
	m.tell()
	return nil
}

// tell wakes who waits for news. Callers hold mu.
func (m *marks) tell() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Has implements store.Task.
func (m *marks) Has(i int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held.Test(uint(i))
}

// Have implements store.Task.
func (m *marks) Have() *bitset.BitSet {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held.Clone()
}

// Count implements store.Task.
func (m *marks) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.log)
}

// Digest implements store.Task.
func (m *marks) Digest(i int) (piece.Digest, bool) { return digestOf(i), m.Has(i) }

// Prove implements store.Task.
func (m *marks) Prove(i int, p *proof.Proof) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proofs[i] = p
}

// Proof implements store.Task.
func (m *marks) Proof(i int) *proof.Proof {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proofs[i]
}

// News implements store.Task.
func (m *marks) News(since int) ([]int, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.log)
	return m.log[min(since, n):n:n], m.changed
}

// Writer implements store.Task.
func (m *marks) Writer(i int, want *piece.Digest) (store.PieceWriter, error) {
	_, n := m.Layout().Range(i)
	if want != nil && *want != digestOf(i) {
		return nil, fmt.Errorf("piece %d is wanted with the digest %s", i, *want)
	}
	return &mark{marks: m, i: i, left: n}, nil
}

// gain holds piece i.
func (m *marks) gain(i int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held.Test(uint(i)) {
		return
	}
	m.held.Set(uint(i))
	m.log = append(m.log, i)
	m.tell()
}

// Drop implements store.Task.
func (m *marks) Drop(int) {}

// Complete implements store.Task.
func (m *marks) Complete() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.whole = true
	m.tell()
	return nil
}

// IsComplete implements store.Task.
func (m *marks) IsComplete() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.whole
}

// Release implements store.Task.
func (m *marks) Release() {}

// Reader implements store.Task.
func (m *marks) Reader() (store.Reader, error) { return lengths{}, nil }

// mark is a piece on its way in.
type mark struct {
	marks *marks
	i     int
	left  int64
}

// Write implements io.Writer.
func (w *mark) Write(b []byte) (int, error) {
	w.left -= int64(len(b))
	return len(b), nil
}

// Commit implements store.PieceWriter.
func (w *mark) Commit() (piece.Digest, error) {
	if w.left != 0 {
		return piece.Digest{}, fmt.Errorf("piece %d lacks %d bytes", w.i, w.left)
	}
	w.marks.gain(w.i)
	return digestOf(w.i), nil
}

// Abort implements store.PieceWriter.
func (w *mark) Abort() {}

// lengths is a reader of content that nobody looks at.
type lengths struct{}

// ReadAt implements io.ReaderAt.
func (lengths) ReadAt([]byte, int64) (int, error) { return 0, os.ErrInvalid }

// Send implements store.Reader.
func (lengths) Send(w io.Writer, _, n int64) (int64, error) {
	if c, ok := w.(interface {
		Content(n int64) (int64, error)
	}); ok {
		return c.Content(n)
	}
	return 0, os.ErrInvalid
}

// Close implements io.Closer.
func (lengths) Close() error { return nil }
