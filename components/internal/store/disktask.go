package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// diskTask is a task of Disk. Locks are taken in this order: a writer's, another writer's, meta, order, claims, ledger.mu; Disk.mu
// before ledger.mu and after all others.
type diskTask struct {
	*ledger
	disk *Disk
	slot *slot
	root *os.Root // the task's directory, wherever it moves; nil while nobody holds the task

	metaMu sync.Mutex // held while meta.json is written, and whenever completeness changes

	order      sync.Mutex // held while a piece is gained or lost, so that journal and ledger tell the same story
	journalEnd int64      // where the next record goes; guarded by order

	claims sync.Mutex // guards owners
	owners map[int]*diskWriter
}

// diskHandle is one holder's pin.
type diskHandle struct {
	*diskTask
	released atomic.Bool
}

// Release implements Task.
func (h *diskHandle) Release() {
	if h.released.Swap(true) {
		return
	}
	h.disk.life.RLock()
	defer h.disk.life.RUnlock()
	h.disk.unpin(h.slot)
}

// create makes the directory of a new task, in one step for whoever looks. The caller holds the slot's loading.
func (d *Disk) create(s *slot, m api.Meta) error {
	temp := d.tempName()
	err := d.withSpace(func() error {
		err := d.build(temp, metaFile{Version: metaVersion, ID: s.id, Meta: m})
		if err != nil {
			return errors.Join(err, d.root.RemoveAll(temp))
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.gone {
		return errors.Join(errGone, d.root.RemoveAll(temp))
	}
	if err := d.root.MkdirAll(filepath.Dir(s.path()), 0o700); err != nil {
		return errors.Join(err, d.root.RemoveAll(temp))
	}
	if err := d.root.Rename(temp, s.path()); err != nil {
		return errors.Join(err, d.root.RemoveAll(temp))
	}
	s.made, s.dirty, s.touched = true, true, d.sys.now()
	return nil
}

// build writes an empty task to a new directory.
func (d *Disk) build(path string, m metaFile) error {
	if err := d.root.Mkdir(path, 0o700); err != nil {
		return err
	}
	dir, err := d.root.OpenRoot(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	data, err := dir.OpenFile(dataName, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if m.Meta.Length > 0 {
		err = data.Truncate(m.Meta.Length)
	}
	if err := errors.Join(err, data.Close()); err != nil {
		return err
	}
	journal, err := dir.OpenFile(journalName, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(journal.Close(), d.writeMeta(dir, m, overKill))
}

// load reads a task's metadata and journal. The caller holds the slot's loading.
func (d *Disk) load(s *slot, root *os.Root) (*diskTask, error) {
	m, err := readMeta(root, s.id)
	if err != nil {
		return nil, err
	}
	t := &diskTask{ledger: newLedger(m.Meta), disk: d, slot: s, root: root, owners: make(map[int]*diskWriter)}
	info, err := root.Lstat(dataName)
	if err != nil {
		return nil, missing(err)
	}
	journal, err := root.Open(journalName)
	if err != nil {
		return nil, missing(err)
	}
	defer journal.Close()
	if t.journalEnd, err = t.replay(journal, info.Size(), d.epoch); err != nil {
		return nil, err
	}
	if m.Complete && t.whole() == nil {
		t.finish()
	}
	if !t.IsComplete() && allocated(info) > t.space() {
		t.sweep()
	}
	d.adopt(t)
	if m.Complete != t.IsComplete() || t.IsComplete() != (info.Mode().Perm()&0o200 == 0) {
		if err := t.persist(t.IsComplete(), overKill); err != nil {
			d.log.Warn("store: could not write metadata", "task", s.id, "err", err)
		}
	}
	return t, nil
}

// missing marks the task unusable where err is that a file is not there.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	return err
}

// space is the disk space the held pieces take.
func (t *diskTask) space() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var n int64
	for i := range t.held.EachSet() {
		n += onDisk(t.size(int(i)))
	}
	return n
}

// sweep gives back the space of what a killed writer left where no piece is held.
func (t *diskTask) sweep() {
	f, err := t.root.OpenFile(dataName, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return
	}
	have, size := t.Have(), t.Layout().Size
	end := uint((info.Size() + size - 1) / size)
	for i, ok := have.NextClear(0); ok && i < end; {
		next, more := have.NextSet(i)
		if !more {
			next = end
		}
		if punch(f, int64(i)*size, int64(next-i)*size) != nil {
			return
		}
		i, ok = have.NextClear(next)
	}
}

// adopt makes the slot tell what the loaded task is.
func (d *Disk) adopt(t *diskTask) {
	n := t.space()
	d.markComplete(t.slot, t.IsComplete(), t.Layout().Length)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used += n - t.slot.bytes
	t.slot.bytes = n
}

// markComplete puts the task into the list of complete ones, or takes it out.
func (d *Disk) markComplete(s *slot, complete bool, length int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !s.gone && s.complete {
		d.revision ^= mark(s.id, s.length)
	}
	s.complete, s.length = complete, length
	if !s.gone && s.complete {
		d.revision ^= mark(s.id, s.length)
	}
}

func (t *diskTask) ID() string { return t.slot.id }

// persist writes meta.json and makes the data file's mode say the same, for the scan at the next start. The caller holds metaMu or is
// alone with the task.
func (t *diskTask) persist(complete bool, outlives durability) error {
	m := metaFile{Version: metaVersion, ID: t.slot.id, Meta: t.Meta(), Complete: complete}
	write := func() error { return t.disk.writeMeta(t.root, m, outlives) }
	if complete {
		if err := t.disk.withSpace(write); err != nil {
			return err
		}
		return t.root.Chmod(dataName, 0o400)
	}
	if err := t.root.Chmod(dataName, 0o600); err != nil {
		return err
	}
	return t.disk.withSpace(write)
}

// SetMeta implements Task. The change counts at once; an error may also say that it is not on disk, which a later life makes up for.
func (t *diskTask) SetMeta(m api.Meta) error {
	t.disk.life.RLock()
	defer t.disk.life.RUnlock()
	if t.disk.closed {
		return errClosed
	}
	t.metaMu.Lock()
	defer t.metaMu.Unlock()
	t.order.Lock()
	changed, err := t.setMeta(m)
	t.order.Unlock()
	if err != nil || !changed {
		return err
	}
	if err := t.persist(t.IsComplete(), overPowerLoss); err != nil {
		return fmt.Errorf("%w: write metadata of task %s: %v", ErrNoSpace, t.slot.id, err)
	}
	return nil
}

// Complete implements Task.
func (t *diskTask) Complete() error {
	t.disk.life.RLock()
	defer t.disk.life.RUnlock()
	if t.disk.closed {
		return errClosed
	}
	t.metaMu.Lock()
	defer t.metaMu.Unlock()
	if err := t.whole(); err != nil || t.IsComplete() {
		return err
	}
	if err := t.trimData(); err != nil {
		return fmt.Errorf("%w: complete task %s: %v", ErrNoSpace, t.slot.id, err)
	}
	if err := t.persist(true, overPowerLoss); err != nil {
		return fmt.Errorf("%w: complete task %s: %v", ErrNoSpace, t.slot.id, err)
	}
	t.finish()
	t.disk.markComplete(t.slot, true, t.Layout().Length)
	return nil
}

// trimData makes the data file as long as the content, which it is not where the length came late.
func (t *diskTask) trimData() error {
	f, err := t.root.OpenFile(dataName, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(t.Layout().Length), f.Close())
}

// Drop implements Task. Who reads the piece at this moment may still read it, or what a writer puts in its place.
func (t *diskTask) Drop(i int) {
	t.disk.life.RLock()
	defer t.disk.life.RUnlock()
	t.drop(i)
}

// drop is Drop for a caller that holds Disk.life.
func (t *diskTask) drop(i int) {
	t.metaMu.Lock()
	defer t.metaMu.Unlock()
	t.order.Lock()
	n, wasComplete := t.lose(i)
	if n > 0 && !t.disk.closed {
		if err := t.append(record{kind: recordDropped, index: i}); err != nil {
			t.disk.log.Warn("store: could not note a dropped piece", "task", t.slot.id, "piece", i, "err", err)
		}
	}
	t.order.Unlock()
	if n == 0 {
		return
	}
	t.disk.settle(t.slot, onDisk(n), 0)
	if !wasComplete {
		return
	}
	t.disk.markComplete(t.slot, false, t.Layout().Length)
	if t.disk.closed {
		return
	}
	if err := t.persist(false, overKill); err != nil {
		t.disk.log.Warn("store: could not write metadata", "task", t.slot.id, "err", err)
	}
}

// append writes a record to the journal. The caller holds order.
func (t *diskTask) append(r record) error {
	f, err := t.root.OpenFile(journalName, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = t.disk.writeFull(f, r.encode(), t.journalEnd)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	t.journalEnd += recordSize
	return nil
}

// gainPiece records a piece whose bytes are in place.
func (t *diskTask) gainPiece(i int, n int64, sum piece.Digest) (piece.Digest, bool, error) {
	t.order.Lock()
	defer t.order.Unlock()
	t.mu.Lock()
	old, held := t.digests[i]
	err := t.fits(i, n)
	t.mu.Unlock()
	if held {
		return old, false, nil
	}
	if err != nil {
		return piece.Digest{}, false, err
	}
	if err := t.append(record{kind: recordHeld, index: i, bytes: n, epoch: t.disk.epoch, digest: sum}); err != nil {
		return piece.Digest{}, false, fmt.Errorf("%w: record piece %d: %v", ErrNoSpace, i, err)
	}
	return t.gain(i, n, sum)
}
