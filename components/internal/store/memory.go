package store

import (
	"sync"
	"sync/atomic"

	"github.com/dragonfly-kube/dragonfly/components/api"
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
