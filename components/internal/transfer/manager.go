package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// Manager has the downloads of this host. Safe for concurrent use.
type Manager struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	totals  [3]atomic.Int64 // bytes by source: seed, peers, origin
	arrived atomic.Int64    // bytes from parents, of unfinished pieces too

	mu     sync.Mutex // guards the fields below
	tasks  map[string]*download
	closed bool
	wg     sync.WaitGroup
}

// New returns a manager. Close it in the end.
func New(cfg Config, deps Deps) *Manager {
	cfg.setDefaults()
	if deps.Verify == nil {
		deps.Verify = proof.Key.Verify
	}
	return &Manager{cfg: cfg, deps: deps, metrics: newMetrics(deps.Registerer), tasks: map[string]*download{}}
}

// Open joins the task's download, starts one, or finds the content complete on this host. ctx is not kept: the use ends with the
// handle's Close. It does not wait for anything but the disk.
func (m *Manager) Open(_ context.Context, spec Spec) (*Handle, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	if d := m.tasks[spec.ID]; d != nil && d.acquire() {
		return &Handle{d: d, start: d.snapshot()}, nil
	}
	if t, err := m.complete(spec.ID); err == nil {
		return &Handle{d: cached(m, spec, t)}, nil
	}
	if len(m.tasks) >= m.cfg.MaxDownloads {
		return nil, fmt.Errorf("%w (%d)", ErrBusy, len(m.tasks))
	}
	d := newDownload(m, spec)
	m.tasks[spec.ID] = d
	m.wg.Go(func() {
		d.run()
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.tasks[spec.ID] == d {
			delete(m.tasks, spec.ID)
		}
	})
	return &Handle{d: d}, nil
}

// complete returns the pinned task if its content is complete on this host.
func (m *Manager) complete(id string) (store.Task, error) {
	t, err := m.deps.Store.Get(id)
	if err != nil {
		return nil, err
	}
	if !t.IsComplete() {
		t.Release()
		return nil, store.ErrNotFound
	}
	return t, nil
}

// Known tells of content that is complete on this host.
func (m *Manager) Known(id string) (api.Meta, bool) {
	t, err := m.complete(id)
	if err != nil {
		return api.Meta{}, false
	}
	defer t.Release()
	return t.Meta(), true
}

// Await waits until the download of a task has something in the store, or has failed, or ctx ends. It returns at once when there is no
// such download.
func (m *Manager) Await(ctx context.Context, id string) {
	m.mu.Lock()
	d := m.tasks[id]
	m.mu.Unlock()
	if d == nil {
		return
	}
	select {
	case <-d.opened:
	case <-d.failed:
	case <-ctx.Done():
	}
}

// Lacks returns those of pieces that a peer did not say it holds.
func (m *Manager) Lacks(id, peer string, pieces []int) []int {
	m.mu.Lock()
	d := m.tasks[id]
	m.mu.Unlock()
	if d == nil {
		return pieces
	}
	return d.heard.lacks(peer, pieces)
}

// MarkPublic notes that the origin served a task to a request without credentials.
func (m *Manager) MarkPublic(id string) error {
	t, err := m.deps.Store.Get(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer t.Release()
	meta := t.Meta()
	if meta.Public {
		return nil
	}
	meta.Public = true
	return t.SetMeta(meta)
}

// Running is the number of downloads.
func (m *Manager) Running() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tasks)
}

// Totals tells what all downloads together received so far.
func (m *Manager) Totals() Stats {
	return Stats{m.totals[0].Load(), m.totals[1].Load(), m.totals[2].Load()}
}

// Close ends all downloads and waits for them. What was verified stays in the store.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	for _, d := range m.tasks {
		d.cancel(ErrClosed)
	}
	m.mu.Unlock()
	m.wg.Wait()
}
