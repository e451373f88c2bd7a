package store

import (
	"errors"
	"os"
)

// place is where a writer puts its bytes.
type place int

const (
	inPlace place = iota // into the data file: the first writer of a piece
	aside                // into a scratch file: the others, until their Commit
	nowhere              // the piece is held, or another writer took the place; only the digest is computed
)

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

// moveIn copies verified bytes from the scratch file to their place, unless the piece is held by then. The caller holds mu.
func (w *diskWriter) moveIn() error {
	if !w.seize() {
		w.place = nowhere
		return nil
	}
	scratch := w.file
	data, err := w.task.root.OpenFile(dataName, os.O_WRONLY, 0)
	if err != nil {
		return noSpace(err, "move it in")
	}
	w.file, w.place = data, inPlace
	defer scratch.Close()
	buf := w.task.disk.buffers.Get().(*[]byte)
	defer w.task.disk.buffers.Put(buf)
	for done := int64(0); done < w.n; {
		b := (*buf)[:min(int64(len(*buf)), w.n-done)]
		if _, err := scratch.ReadAt(b, done); err != nil {
			return noSpace(err, "read it back")
		}
		if err := w.task.disk.writeFull(data, b, w.off+done); err != nil {
			return noSpace(err, "move it in")
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
