package store

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// warmTasks is how many tasks nobody holds stay loaded, so that piece requests that come one after the other need not read the
// journal each time. A loaded task of 1,024 pieces takes about 60 KiB, and 140 KiB more where it has
// their proofs.
const warmTasks = 32

// touchInterval bounds how often the time of a task's last use is written to disk.
const touchInterval = time.Minute

// slot is the store's entry for a task. It is all that is in memory of a task that nobody uses.
type slot struct {
	id string

	loading sync.Mutex // held while the task is made or loaded
	made    bool       // the directory exists; guarded by loading

	// The rest is guarded by Disk.mu.
	pins     int
	bytes    int64 // disk space taken and reserved
	length   int64 // of a complete task
	complete bool
	gone     bool      // no longer in Disk.slots; the directory is moved
	moved    string    // to where
	touched  time.Time // last use known to the disk
	task     *diskTask // nil unless loaded
	idle     *list.Element
	warm     *list.Element
}

// errGone says that the task was removed meanwhile.
var errGone = fmt.Errorf("%w: removed", errUnusable)

// path of the task's directory in the store's.
func (s *slot) path() string { return filepath.Join("tasks", s.id[:3], s.id) }

// tempName returns a new path in tmp.
func (d *Disk) tempName() string {
	return filepath.Join("tmp", strconv.FormatUint(d.serial.Add(1), 10))
}

// pin keeps the task from being evicted until unpin. Where there is none it returns nil, or with add a new slot.
func (d *Disk) pin(id string, add bool) *slot {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.slots[id]
	if !ok && !add {
		return nil
	}
	if !ok {
		s = &slot{id: id}
		d.slots[id] = s
	}
	s.pins++
	d.unlist(s)
	return s
}

// hold adds a pin to a pinned slot.
func (d *Disk) hold(s *slot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.pins++
}

// unlist takes s out of the lists of slots without holders. The caller holds mu.
func (d *Disk) unlist(s *slot) {
	if s.idle != nil {
		d.idle.Remove(s.idle)
		s.idle = nil
		d.idleUsed -= s.bytes
	}
	if s.warm != nil {
		d.warm.Remove(s.warm)
		s.warm = nil
	}
}

// unpin ends one pin. With the last one the task's directory is closed, and removed where it is gone or has nothing in it.
func (d *Disk) unpin(s *slot) {
	d.mu.Lock()
	s.pins--
	if s.pins > 0 {
		d.mu.Unlock()
		return
	}
	t := s.task
	open := t != nil && t.root != nil
	if !s.gone && !d.closed && t != nil && t.Count() == 0 && !t.IsComplete() {
		d.detach(s)
	}
	if !s.gone && !d.closed {
		d.retire(s)
	}
	if open {
		t.root.Close()
		t.root = nil
	}
	remove := s.gone && !d.closed
	if s.gone {
		d.used -= s.bytes
		s.bytes = 0
	}
	d.mu.Unlock()
	if remove {
		d.erase(s)
	}
}

// retire lists a slot that lost its last holder as the most recently used one. The caller holds mu.
func (d *Disk) retire(s *slot) {
	s.idle = d.idle.PushFront(s)
	d.idleUsed += s.bytes
	if s.task == nil {
		return
	}
	if now := d.sys.now(); now.Sub(s.touched) > touchInterval && s.task.root != nil {
		s.touched = now
		if err := s.task.root.Chtimes(dataName, now, now); err != nil {
			d.log.Warn("store: could not note the last use", "task", s.id, "err", err)
		}
	}
	s.warm = d.warm.PushFront(s)
	if d.warm.Len() > warmTasks {
		cold := d.warm.Remove(d.warm.Back()).(*slot)
		cold.warm, cold.task = nil, nil
	}
}

// detach takes a slot out of the store and moves its directory aside, so that a task of the same id may be made. Holders go on using
// the moved one. The caller holds mu, and erases the slot when its pins are 0.
func (d *Disk) detach(s *slot) {
	if s.gone {
		return
	}
	d.unlist(s)
	delete(d.slots, s.id)
	if s.complete {
		d.revision ^= mark(s.id, s.length)
	}
	s.gone, s.moved = true, d.tempName()
	if err := d.root.Rename(s.path(), s.moved); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Error("store: could not move a task aside", "task", s.id, "err", err)
		s.moved = s.path()
	}
}

// discard removes the task of a pinned slot and ends the pin.
func (d *Disk) discard(s *slot) {
	d.mu.Lock()
	d.detach(s)
	d.mu.Unlock()
	d.unpin(s)
}

// erase deletes what is left of a slot that is gone.
func (d *Disk) erase(s *slot) {
	if err := d.root.RemoveAll(s.moved); err != nil {
		d.log.Error("store: could not delete a task", "task", s.id, "err", err)
	}
}

// giveUp ends the pin of a slot that could not be made or loaded, and removes the task where it never will.
func (d *Disk) giveUp(s *slot, err error) {
	s.loading.Lock()
	made := s.made
	s.loading.Unlock()
	switch {
	case errors.Is(err, errGone):
		d.unpin(s)
	case errors.Is(err, errUnusable):
		d.log.Warn("store: removed an unusable task", "task", s.id, "err", err)
		d.discard(s)
	case !made:
		d.discard(s)
	default:
		d.unpin(s)
	}
}

// loaded returns the task of a pinned slot, ready for use. Where it is not on disk it is made of meta.
func (d *Disk) loaded(s *slot, meta *api.Meta) (*diskTask, error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	d.mu.Lock()
	t, gone := s.task, s.gone
	open := t != nil && t.root != nil
	d.mu.Unlock()
	switch {
	case gone, !s.made && meta == nil:
		return nil, errGone
	case open:
		return t, nil
	case !s.made:
		if err := d.create(s, *meta); err != nil {
			return nil, err
		}
	}
	// By its whole path, as that is one call where d.root would make one for each element.
	root, err := os.OpenRoot(filepath.Join(d.dir, s.path()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	if err != nil {
		return nil, err
	}
	if t == nil {
		if t, err = d.load(s, root); err != nil {
			root.Close()
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.gone { // then root may be the directory of a successor
		root.Close()
		return nil, errGone
	}
	s.task, t.root = t, root
	return t, nil
}
