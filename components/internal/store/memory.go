package store

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// Memory is a Store without a disk, for tests: it keeps everything in memory and has no bound.
type Memory struct {
	mu       sync.Mutex // guards the fields below and memoryTask.pins and gone
	tasks    map[string]*memoryTask
	revision uint64
	closed   bool
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{tasks: make(map[string]*memoryTask)} }

// memoryTask is a task of Memory. Its bytes stay until the garbage collector finds no holder.
type memoryTask struct {
	*ledger
	store *Memory
	id    string
	pins  int
	gone  bool

	data   sync.Mutex // guards pieces; held while a piece is gained or lost
	pieces map[int][]byte
}

type memoryHandle struct {
	*memoryTask
	released atomic.Bool
}

// Get implements Store.
func (m *Memory) Get(id string) (Task, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errClosed
	}
	t, ok := m.tasks[id]
	if !ok {
		return nil, ErrNotFound
	}
	t.pins++
	return &memoryHandle{memoryTask: t}, nil
}

// Create implements Store.
func (m *Memory) Create(id string, meta api.Meta) (Task, error) {
	if err := checkNew(id, meta); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errClosed
	}
	t, ok := m.tasks[id]
	if !ok || !t.serves(meta) {
		if ok {
			m.forget(t)
		}
		t = &memoryTask{ledger: newLedger(meta), store: m, id: id, pieces: make(map[int][]byte)}
		m.tasks[id] = t
	}
	t.pins++
	return &memoryHandle{memoryTask: t}, nil
}

// Remove implements Store.
func (m *Memory) Remove(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errClosed
	}
	if t, ok := m.tasks[id]; ok {
		m.forget(t)
	}
	return nil
}

// forget takes t out of the store. The caller holds mu.
func (m *Memory) forget(t *memoryTask) {
	delete(m.tasks, t.id)
	t.gone = true
	if t.IsComplete() {
		m.revision ^= mark(t.id, t.Layout().Length)
	}
}

// Tasks implements Store.
func (m *Memory) Tasks() ([]api.HeldTask, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var held []api.HeldTask
	for id, t := range m.tasks {
		if t.IsComplete() {
			held = append(held, api.HeldTask{ID: id, Length: t.Layout().Length})
		}
	}
	return held, m.revision
}

// Usage implements Store.
func (m *Memory) Usage() (int64, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var total int64
	for _, t := range m.tasks {
		t.data.Lock()
		for _, b := range t.pieces {
			total += int64(len(b))
		}
		t.data.Unlock()
	}
	return total, len(m.tasks)
}

// Close implements Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (t *memoryTask) ID() string { return t.id }

func (t *memoryTask) SetMeta(m api.Meta) error {
	_, err := t.setMeta(m)
	return err
}

func (t *memoryTask) Drop(i int) {
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	t.data.Lock()
	defer t.data.Unlock()
	if _, wasComplete := t.lose(i); wasComplete && !t.gone {
		t.store.revision ^= mark(t.id, t.Layout().Length)
	}
	delete(t.pieces, i)
}

func (t *memoryTask) Complete() error {
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if err := t.whole(); err != nil {
		return err
	}
	if !t.IsComplete() && !t.gone {
		t.store.revision ^= mark(t.id, t.Layout().Length)
	}
	t.finish()
	return nil
}

// Release implements Task.
func (h *memoryHandle) Release() {
	if h.released.Swap(true) {
		return
	}
	m := h.store
	m.mu.Lock()
	defer m.mu.Unlock()
	h.pins--
	if h.pins == 0 && !h.gone && h.Count() == 0 && !h.IsComplete() {
		m.forget(h.memoryTask)
	}
}

func (t *memoryTask) Writer(i int, want *piece.Digest) (PieceWriter, error) {
	t.store.mu.Lock()
	closed := t.store.closed
	t.store.mu.Unlock()
	if closed {
		return nil, errNoMore
	}
	_, limit, err := t.room(i)
	if err != nil {
		return nil, err
	}
	return &memoryWriter{task: t, i: i, want: want, limit: limit, hash: sha256.New()}, nil
}

type memoryWriter struct {
	task  *memoryTask
	i     int
	want  *piece.Digest
	limit int64
	hash  hash.Hash
	data  []byte
	err   error
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if int64(len(w.data)+len(p)) > w.limit {
		w.err = errTooLong(w.i, w.limit)
		return 0, w.err
	}
	w.hash.Write(p)
	w.data = append(w.data, p...)
	return len(p), nil
}

func (w *memoryWriter) Commit() (piece.Digest, error) {
	if w.err != nil {
		return piece.Digest{}, w.err
	}
	w.err = os.ErrClosed
	d := piece.Digest(w.hash.Sum(nil))
	if w.want != nil && d != *w.want {
		return piece.Digest{}, fmt.Errorf("%w: piece %d is %s, want %s", ErrDigest, w.i, d, *w.want)
	}
	t := w.task
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if t.store.closed {
		return piece.Digest{}, errNoMore
	}
	t.data.Lock()
	defer t.data.Unlock()
	held, gained, err := t.gain(w.i, int64(len(w.data)), d)
	if gained {
		t.pieces[w.i] = w.data
	}
	return held, err
}

func (w *memoryWriter) Abort() {
	if w.err == nil {
		w.err = os.ErrClosed
	}
	w.data = nil
}

func (t *memoryTask) Reader() (Reader, error) { return memoryReader{t}, nil }

type memoryReader struct{ task *memoryTask }

// next returns the held bytes from off to the end of their piece, at most n.
func (r memoryReader) next(off, n int64) ([]byte, error) {
	if off < 0 {
		return nil, errNegative(off)
	}
	ready, _, end := r.task.span(off, n)
	if end {
		return nil, io.EOF
	}
	lay := r.task.Layout()
	i := lay.At(off)
	r.task.data.Lock()
	b, ok := r.task.pieces[i]
	r.task.data.Unlock()
	if ready == 0 || !ok {
		return nil, errNotHeld(i)
	}
	b = b[off-int64(i)*lay.Size:]
	return b[:min(n, int64(len(b)))], nil
}

func (r memoryReader) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		b, err := r.next(off+int64(n), int64(len(p)-n))
		if err != nil {
			return n, err
		}
		n += copy(p[n:], b)
	}
	return n, nil
}

func (r memoryReader) Send(w io.Writer, off, n int64) (int64, error) {
	var sent int64
	for sent < n {
		b, err := r.next(off+sent, n-sent)
		if err != nil {
			return sent, endsEarly(err)
		}
		m, err := w.Write(b)
		sent += int64(m)
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func (r memoryReader) Close() error { return nil }
