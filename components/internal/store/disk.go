package store

import (
	"container/list"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// DiskConfig bounds a Disk.
type DiskConfig struct {
	// Quota is the disk space pieces may take, in bytes; 0 means no bound.
	Quota int64
	// MinFree is the space to leave free on the file system, in bytes; 0 leaves none.
	MinFree int64
}

// Validate says what is wrong with the configuration.
func (c DiskConfig) Validate() error {
	if c.Quota < 0 || c.MinFree < 0 {
		return fmt.Errorf("store: quota %d and minimum free space %d must not be negative", c.Quota, c.MinFree)
	}
	return nil
}

// Disk is a Store in a directory:
//
//	lock                        held while a process uses the directory
//	clean                       there only after a clean stop, with its epoch and boot
//	tasks/<id[:3]>/<id>/data       the content, sparse; read-only once complete
//	tasks/<id[:3]>/<id>/meta.json  what is known of it
//	tasks/<id[:3]>/<id>/pieces     journal of the pieces held
//	tmp/                        tasks being made or removed, and unlinked scratch files
//
// Open files are bounded by its use: one for a held task, one for each open Reader and PieceWriter.
type Disk struct {
	dir     string
	cfg     DiskConfig
	log     *slog.Logger
	metrics *metrics
	sys     system
	root    *os.Root
	lock    *os.File
	epoch   uint64
	buffers sync.Pool // of *[]byte
	serial  atomic.Uint64
	pending atomic.Int64 // reserved bytes that are not written yet

	life   sync.RWMutex // held for reading while anything changes on disk
	closed bool         // guarded by life

	evicting  sync.Mutex // held by the one who makes room
	evictions atomic.Int64

	mu       sync.Mutex // guards the fields below and those of slots that say so
	slots    map[string]*slot
	idle     *list.List // *slot without holders, the most recently used first
	warm     *list.List // *slot without holders whose task is loaded, the most recently used first
	used     int64      // disk space of all slots
	idleUsed int64      // disk space of those in idle
	revision uint64
}

var _ Store = (*Disk)(nil)

// Get implements Store.
func (d *Disk) Get(id string) (Task, error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return nil, errClosed
	}
	s := d.pin(id, false)
	if s == nil {
		return nil, ErrNotFound
	}
	t, err := d.loaded(s, nil)
	if err == nil {
		return &diskHandle{diskTask: t}, nil
	}
	d.giveUp(s, err)
	if errors.Is(err, errUnusable) {
		return nil, ErrNotFound
	}
	return nil, fmt.Errorf("store: open task %s: %w", id, err)
}

// Create implements Store. Where the disk is full and nothing can be evicted the error is ErrNoSpace.
func (d *Disk) Create(id string, meta api.Meta) (Task, error) {
	if err := checkNew(id, meta); err != nil {
		return nil, err
	}
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return nil, errClosed
	}
	for {
		s := d.pin(id, true)
		t, err := d.loaded(s, &meta)
		switch {
		case err == nil && t.serves(meta):
			return &diskHandle{diskTask: t}, nil
		case err == nil:
			d.discard(s)
		case errors.Is(err, errUnusable):
			d.giveUp(s, err)
		default:
			d.giveUp(s, err)
			d.metrics.failures.WithLabelValues(string(byDisk)).Inc()
			return nil, noSpace(err, "make task %s", id)
		}
	}
}

// Remove implements Store.
func (d *Disk) Remove(id string) error {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return errClosed
	}
	if s := d.pin(id, false); s != nil {
		d.discard(s)
	}
	return nil
}

// Tasks implements Store.
func (d *Disk) Tasks() ([]api.HeldTask, uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var held []api.HeldTask
	for _, s := range d.slots {
		if s.complete {
			held = append(held, api.HeldTask{ID: s.id, Length: s.length})
		}
	}
	return held, d.revision
}

// Usage implements Store. Space is counted in blocks of 4 KiB, and before the first use of a task as the file system counts it.
func (d *Disk) Usage() (int64, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used, len(d.slots)
}
