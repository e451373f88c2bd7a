package store

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"os"
	"sync"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// diskWriter writes one piece. It is a pin of its own.
type diskWriter struct {
	task *diskTask
	i    int
	off  int64 // of the piece in the content
	max  int64 // bytes the piece may have
	want *piece.Digest
	site *site // nil where the piece was held from the start

	mu        sync.Mutex // guards the fields below: another writer's Commit may take the place
	hash      hash.Hash
	place     place
	file      *os.File // data or scratch; nil for nowhere
	n         int64    // bytes taken
	reserved  int64
	unwritten int64 // of the reserved
	err       error // answers every further call; os.ErrClosed after Commit and Abort
	ended     bool
}

// Writer implements Task.
func (t *diskTask) Writer(i int, want *piece.Digest) (PieceWriter, error) {
	t.disk.life.RLock()
	defer t.disk.life.RUnlock()
	if t.disk.closed {
		return nil, errNoMore
	}
	off, limit, err := t.room(i)
	if err != nil {
		return nil, err
	}
	w := &diskWriter{task: t, i: i, off: off, max: limit, want: want, hash: sha256.New()}
	t.disk.hold(t.slot)
	if t.Has(i) {
		w.place = nowhere
		return w, nil
	}
	if err := t.disk.reserve(t.slot, onDisk(limit)); err != nil {
		t.disk.unpin(t.slot)
		return nil, err
	}
	w.mu.Lock() // once it owns the place, another writer may take it
	defer w.mu.Unlock()
	w.reserved, w.unwritten = onDisk(limit), onDisk(limit)
	w.place = t.enter(w)
	switch w.place {
	case inPlace:
		w.file, err = t.root.OpenFile(dataName, os.O_WRONLY, 0)
	case aside:
		w.file, err = t.disk.scratch()
	case nowhere:
		w.giveBack(0)
	}
	if err != nil {
		w.end(false)
		return nil, noSpace(err, "write piece %d of task %s", i, t.slot.id)
	}
	return w, nil
}

// Write implements PieceWriter.
func (w *diskWriter) Write(p []byte) (int, error) {
	w.task.disk.life.RLock()
	defer w.task.disk.life.RUnlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && w.task.disk.closed {
		w.err = errNoMore
	}
	if w.err != nil {
		return 0, w.err
	}
	if w.n+int64(len(p)) > w.max {
		w.err = errTooLong(w.i, w.max)
		return 0, w.err
	}
	if err := w.put(p); err != nil {
		w.task.disk.metrics.failures.WithLabelValues(string(byDisk)).Inc()
		w.err = noSpace(err, "write piece %d of task %s", w.i, w.task.slot.id)
		w.end(false)
		return 0, w.err
	}
	w.hash.Write(p)
	w.n += int64(len(p))
	return len(p), nil
}

// put writes p to where the bytes go. The caller holds mu.
func (w *diskWriter) put(p []byte) error {
	at := w.n
	switch w.place {
	case nowhere:
		return nil
	case inPlace:
		at += w.off
	}
	if err := w.task.disk.writeFull(w.file, p, at); err != nil {
		return err
	}
	written := min(w.unwritten, int64(len(p)))
	w.unwritten -= written
	w.task.disk.pending.Add(-written)
	return nil
}

// Commit implements PieceWriter. Where the piece is held already, the digest returned is that of the held one.
func (w *diskWriter) Commit() (piece.Digest, error) {
	w.task.disk.life.RLock()
	defer w.task.disk.life.RUnlock()
	if w.site != nil {
		w.site.commit.Lock()
		defer w.site.commit.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.err; err != nil {
		w.end(false)
		return piece.Digest{}, err
	}
	sum, gained, err := w.settle()
	if err != nil {
		err = fmt.Errorf("commit piece %d of task %s: %w", w.i, w.task.slot.id, err)
	}
	w.end(gained)
	return sum, err
}

// settle decides what becomes of the bytes: gained says that the piece is held by them. The caller holds mu.
func (w *diskWriter) settle() (held piece.Digest, gained bool, err error) {
	t := w.task
	if t.disk.closed {
		return piece.Digest{}, false, errNoMore
	}
	sum := piece.Digest(w.hash.Sum(nil))
	if w.want != nil && sum != *w.want {
		return piece.Digest{}, false, fmt.Errorf("%w: got %s, want %s", ErrDigest, sum, *w.want)
	}
	if d, ok := t.Digest(w.i); ok {
		return d, false, nil
	}
	switch w.place {
	case nowhere:
		return piece.Digest{}, false, fmt.Errorf("%w: it was dropped, or its writer failed, while this one left it the place", ErrNotHeld)
	case aside:
		if err := w.moveIn(); err != nil {
			return piece.Digest{}, false, err
		}
	}
	return t.gainPiece(w.i, w.n, sum)
}

// giveBack returns what was reserved but for keep bytes. The caller holds mu.
func (w *diskWriter) giveBack(keep int64) {
	w.task.disk.settle(w.task.slot, w.reserved-keep, w.unwritten)
	w.reserved, w.unwritten = 0, 0
}

// end ends the writer, once. Unless its bytes became the piece, they are gone from the disk after; but for a store that is closed,
// where another process may have the place by now. The caller holds mu and Disk.life.
func (w *diskWriter) end(gained bool) {
	if w.ended {
		return
	}
	w.ended = true
	defer w.task.disk.unpin(w.task.slot)
	if w.file != nil {
		if w.place == inPlace && !gained && !w.task.disk.closed {
			_ = punch(w.file, w.off, w.max) // where that is impossible the next writer overwrites them
		}
		w.file.Close()
		w.file = nil
	}
	w.task.leave(w)
	if gained {
		w.giveBack(onDisk(w.n))
	} else {
		w.giveBack(0)
	}
	if w.err == nil {
		w.err = os.ErrClosed
	}
}

// Abort implements PieceWriter.
func (w *diskWriter) Abort() {
	w.task.disk.life.RLock()
	defer w.task.disk.life.RUnlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end(false)
}
