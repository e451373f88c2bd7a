package store

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// diskTask is a task of Disk. Locks are taken in this order: Disk.life, a site's commit, its writer's mu, another writer's
// mu, metaMu, order, claims, Disk.evicting, Disk.mu, ledger.mu.
type diskTask struct {
	*ledger
	disk *Disk
	slot *slot
	root *os.Root // the task's directory, wherever it moves; nil while nobody holds the task

	metaMu sync.Mutex // held while meta.json is written, and whenever completeness changes

	order      sync.Mutex // held while a piece is gained or lost, so that journal and ledger tell the same story
	journalEnd int64      // where the next record goes; guarded by order

	claims sync.Mutex // guards sites and what they say so of
	sites  map[int]*site
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

// SetMeta implements Task. The change counts at once; an error may also say that it is not on disk, which a later life makes up for.
func (t *diskTask) SetMeta(m api.Meta) error {
	return t.whileOpen(func() error {
		t.order.Lock()
		changed, err := t.setMeta(m)
		t.order.Unlock()
		if err != nil || !changed {
			return err
		}
		if err := t.persist(t.IsComplete()); err != nil {
			return noSpace(err, "write metadata of task %s", t.slot.id)
		}
		return nil
	})
}

// Complete implements Task.
func (t *diskTask) Complete() error {
	return t.whileOpen(func() error {
		if err := t.whole(); err != nil || t.IsComplete() {
			return err
		}
		err := t.trimData()
		if err == nil {
			err = t.persist(true)
		}
		if err != nil {
			return noSpace(err, "complete task %s", t.slot.id)
		}
		t.finish()
		t.disk.markComplete(t.slot, true, t.Layout().Length)
		return nil
	})
}

// whileOpen makes a change that meta.json tells, unless the store is closed.
func (t *diskTask) whileOpen(change func() error) error {
	t.disk.life.RLock()
	defer t.disk.life.RUnlock()
	if t.disk.closed {
		return errClosed
	}
	t.metaMu.Lock()
	defer t.metaMu.Unlock()
	return change()
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
	if err := t.persist(false); err != nil {
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
		return piece.Digest{}, false, noSpace(err, "record it")
	}
	return t.gain(i, n, sum)
}
