package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"sync"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// place is where a writer puts its bytes.
type place int

const (
	inPlace place = iota // into the data file: the first writer of a piece
	aside                // into a scratch file: the others, until their Commit
	nowhere              // the piece is held, or another writer took the place; only the digest is computed
)

// diskWriter writes one piece. Of all writers of a piece at most one owns its place in the data file, by diskTask.owners, and none
// while the piece is held.
type diskWriter struct {
	task *diskTask
	i    int
	off  int64 // of the piece in the content
	max  int64 // bytes the piece may have
	want *piece.Digest

	mu        sync.Mutex // guards the fields below: another writer's Commit may take the place
	hash      hash.Hash
	place     place
	file      *os.File // data or scratch; nil for nowhere
	n         int64    // bytes taken
	reserved  int64
	unwritten int64 // of the reserved
	err       error // answers every further call; os.ErrClosed after Commit and Abort
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
	if t.Has(i) {
		w.place = nowhere
		return w, nil
	}
	if err := t.disk.reserve(t.slot, onDisk(limit)); err != nil {
		return nil, err
	}
	w.mu.Lock() // from the claim on, another writer may ask for the place
	defer w.mu.Unlock()
	w.reserved, w.unwritten = onDisk(limit), onDisk(limit)
	w.place = t.claim(w)
	switch w.place {
	case inPlace:
		w.file, err = t.root.OpenFile(dataName, os.O_WRONLY, 0)
	case aside:
		w.file, err = t.disk.scratch()
	case nowhere:
		w.giveBack(0)
	}
	if err != nil {
		w.close(false)
		return nil, fmt.Errorf("%w: write piece %d of task %s: %v", ErrNoSpace, i, t.slot.id, err)
	}
	return w, nil
}

// claim makes w the owner of its piece's place where that is free.
func (t *diskTask) claim(w *diskWriter) place {
	t.claims.Lock()
	defer t.claims.Unlock()
	switch {
	case t.Has(w.i): // an owner leaves only after the piece is held or its bytes are gone
		return nowhere
	case t.owners[w.i] != nil:
		return aside
	}
	t.owners[w.i] = w
	return inPlace
}

// scratch opens a file that has no name.
func (d *Disk) scratch() (*os.File, error) {
	name := d.tempName()
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := d.root.Remove(name); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Write implements PieceWriter.
func (w *diskWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	if w.n+int64(len(p)) > w.max {
		w.err = errTooLong(w.i, w.max)
		return 0, w.err
	}
	if err := w.put(p); err != nil {
		w.task.disk.metrics.failures.WithLabelValues(string(byDisk)).Inc()
		w.close(false)
		w.err = fmt.Errorf("%w: write piece %d of task %s: %v", ErrNoSpace, w.i, w.task.slot.id, err)
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
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.err; err != nil {
		w.close(false)
		return piece.Digest{}, err
	}
	sum, gained, err := w.settle()
	if err != nil {
		err = fmt.Errorf("commit piece %d of task %s: %w", w.i, w.task.slot.id, err)
	}
	w.close(gained)
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
	if w.place == aside {
		if err := w.moveIn(); err != nil {
			return piece.Digest{}, false, err
		}
	}
	if w.place == nowhere {
		if d, ok := t.Digest(w.i); ok {
			return d, false, nil
		}
		return piece.Digest{}, false, fmt.Errorf("%w: it was dropped while it was written", ErrNotHeld)
	}
	return t.gainPiece(w.i, w.n, sum)
}

// moveIn copies verified bytes from the scratch file to their place, unless the piece is held by then. The caller holds mu.
func (w *diskWriter) moveIn() error {
	if !w.seize() {
		w.place = nowhere
		return nil
	}
	scratch := w.file
	data, err := w.task.root.OpenFile(dataName, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrNoSpace, err)
	}
	w.file, w.place = data, inPlace
	defer scratch.Close()
	buf := w.task.disk.buffers.Get().(*[]byte)
	defer w.task.disk.buffers.Put(buf)
	for done := int64(0); done < w.n; {
		b := (*buf)[:min(int64(len(*buf)), w.n-done)]
		if _, err := scratch.ReadAt(b, done); err != nil {
			return fmt.Errorf("%w: read scratch: %v", ErrNoSpace, err)
		}
		if err := w.task.disk.writeFull(data, b, w.off+done); err != nil {
			return fmt.Errorf("%w: %v", ErrNoSpace, err)
		}
		done += int64(len(b))
	}
	return nil
}

// seize makes w the owner of its piece's place. An owner that is still writing loses it: its bytes are unverified, w's are not. One that
// is committing is waited for; false means that it won. The caller holds mu. No owner ever waits for another writer, so this ends.
func (w *diskWriter) seize() bool {
	t := w.task
	for {
		t.claims.Lock()
		owner := t.owners[w.i]
		held := t.Has(w.i)
		if !held && owner == nil {
			t.owners[w.i] = w
		}
		t.claims.Unlock()
		if held || owner == nil {
			return !held
		}
		owner.mu.Lock()
		owner.yield()
		owner.mu.Unlock()
	}
}

// yield gives up the place to a writer with verified bytes. The caller holds mu.
func (w *diskWriter) yield() {
	if w.place != inPlace || w.file == nil {
		return
	}
	w.leave()
	w.file.Close()
	w.file, w.place = nil, nowhere
	w.giveBack(0)
}

// leave ends the ownership of the place, if w has it.
func (w *diskWriter) leave() {
	w.task.claims.Lock()
	defer w.task.claims.Unlock()
	if w.task.owners[w.i] == w {
		delete(w.task.owners, w.i)
	}
}

// giveBack returns what was reserved but for keep bytes. The caller holds mu.
func (w *diskWriter) giveBack(keep int64) {
	w.task.disk.settle(w.task.slot, w.reserved-keep, w.unwritten)
	w.reserved, w.unwritten = 0, 0
}

// close ends the writer. Unless its bytes became the piece, they are gone from the disk after. The caller holds mu.
func (w *diskWriter) close(gained bool) {
	if w.file != nil {
		if w.place == inPlace && !gained {
			punch(w.file, w.off, w.max) // where that is impossible the next writer overwrites them
		}
		w.file.Close()
		w.file = nil
	}
	w.leave()
	if gained {
		w.giveBack(onDisk(w.n))
		w.task.disk.markDirty(w.task.slot)
	} else {
		w.giveBack(0)
	}
	w.err = os.ErrClosed
}

// markDirty has the task flushed before a stop counts as clean.
func (d *Disk) markDirty(s *slot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.dirty = true
}

// Abort implements PieceWriter.
func (w *diskWriter) Abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !errors.Is(w.err, os.ErrClosed) {
		w.close(false)
	}
}
