package store

import (
	"container/list"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

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
//	clean                       there only after a clean stop, with the epoch of the stop
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

	evicting sync.Mutex // held by the one who makes room

	mu       sync.Mutex // guards the fields below and those of slots that say so
	slots    map[string]*slot
	idle     *list.List // *slot without holders, the most recently used first
	warm     *list.List // *slot without holders whose task is loaded, the most recently used first
	used     int64      // disk space of all slots
	idleUsed int64      // disk space of those in idle
	revision uint64
}

var _ Store = (*Disk)(nil)

// OpenDisk opens the store in dir, making it where there is none. No other process may have it open. Contents are not read: the
// cost is one look at each task's directory entry. reg may be nil.
func OpenDisk(dir string, cfg DiskConfig, log *slog.Logger, reg prometheus.Registerer) (*Disk, error) {
	return openDisk(dir, cfg, log, reg, realSystem())
}

func openDisk(dir string, cfg DiskConfig, log *slog.Logger, reg prometheus.Registerer, sys system) (_ *Disk, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	d := &Disk{dir: dir, cfg: cfg, log: log, sys: sys, slots: make(map[string]*slot), idle: list.New(), warm: list.New()}
	d.buffers.New = func() any { b := make([]byte, 64<<10); return &b }
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store %s: %w", dir, errors.Join(err, d.releaseDir()))
		}
	}()
	if err := os.MkdirAll(filepath.Join(dir, "tasks"), 0o700); err != nil {
		return nil, err
	}
	if d.root, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	if d.lock, err = lockDir(d.root); err != nil {
		return nil, err
	}
	if d.epoch, err = takeEpoch(d.root); err != nil {
		return nil, err
	}
	if err := errors.Join(d.root.RemoveAll("tmp"), d.root.Mkdir("tmp", 0o700)); err != nil {
		return nil, err
	}
	if err := d.scan(); err != nil {
		return nil, err
	}
	if d.metrics, err = newMetrics(reg, d.Usage); err != nil {
		return nil, err
	}
	d.Trim()
	return d, nil
}

// releaseDir lets another process open the directory.
func (d *Disk) releaseDir() error {
	var err error
	if d.lock != nil {
		err = d.lock.Close()
	}
	if d.root != nil {
		err = errors.Join(err, d.root.Close())
	}
	return err
}

const cleanName = "clean"

// takeEpoch returns the epoch to live in: that of the last life when it stopped cleanly, else a new one, in which all pieces on disk
// are suspect. The marker of the clean stop is gone before anything else changes.
func takeEpoch(dir *os.Root) (uint64, error) {
	f, err := dir.Open(cleanName)
	if errors.Is(err, os.ErrNotExist) {
		return newEpoch(), nil
	}
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err := errors.Join(err, f.Close(), dir.Remove(cleanName), syncDir(dir)); err != nil {
		return 0, err
	}
	epoch, err := strconv.ParseUint(strings.TrimSpace(string(text)), 16, 64)
	if err != nil || epoch == 0 {
		return newEpoch(), nil
	}
	return epoch, nil
}

// newEpoch is random, so that no lost or restored file can bring an old one back. It is never 0.
func newEpoch() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return max(1, binary.LittleEndian.Uint64(b[:]))
}

// writeEpoch marks a clean stop.
func writeEpoch(dir *os.Root, epoch uint64) error {
	f, err := dir.Create(cleanName)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%016x\n", epoch)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(dir))
}

// Close implements Store. It waits for pieces being committed and flushes what this life wrote, then marks the stop as clean; where
// the flush fails there is no mark, and the next life verifies each piece before its use.
func (d *Disk) Close() error {
	d.life.Lock()
	defer d.life.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.metrics.unregister()
	err := d.flush()
	if err == nil {
		err = writeEpoch(d.root, d.epoch)
	}
	if err = errors.Join(err, d.releaseDir()); err != nil {
		return fmt.Errorf("close store %s: %w", d.dir, err)
	}
	return nil
}

// flush makes durable what this life wrote.
func (d *Disk) flush() error {
	d.mu.Lock()
	var dirty []*slot
	for _, s := range d.slots {
		if s.dirty {
			dirty = append(dirty, s)
		}
	}
	d.mu.Unlock()
	for _, s := range dirty {
		if err := syncTask(d.root, s.path()); err != nil {
			return err
		}
	}
	return nil
}

func syncTask(root *os.Root, path string) error {
	for _, name := range []string{dataName, journalName, metaName, "."} {
		f, err := root.Open(filepath.Join(path, name))
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

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
			return nil, fmt.Errorf("%w: make task %s: %v", ErrNoSpace, id, err)
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
