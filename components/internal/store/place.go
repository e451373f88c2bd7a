package store

import (
	"errors"
	"os"
	"sync"
)

// place is where a writer puts its bytes.
type place int

const (
	inPlace place = iota // into the data file: the first writer of a piece
	aside                // into a scratch file: the others, until their Commit
	nowhere              // the piece is held, or another writer took the place; only the digest is computed
)

// site is a piece's place in the data file while writers of the piece are open. At most one owns it, and none once the piece is held.
type site struct {
	// commit is held by the one writer of the piece that commits: the others' Commit comes after it and finds what became of it.
	commit sync.Mutex

	writers int         // guarded by diskTask.claims
	owner   *diskWriter // guarded by diskTask.claims
}

// enter adds w to the writers of its piece and tells where to put the bytes. The caller holds w.mu.
func (t *diskTask) enter(w *diskWriter) place {
	t.claims.Lock()
	defer t.claims.Unlock()
	s := t.sites[w.i]
	if s == nil {
		s = &site{}
		t.sites[w.i] = s
	}
	s.writers++
	w.site = s
	switch {
	case t.Has(w.i): // an owner leaves only after the piece is held or its bytes are gone
		return nowhere
	case s.owner != nil:
		return aside
	}
	s.owner = w
	return inPlace
}

// leave takes w out of the writers of its piece. The caller holds w.mu.
func (t *diskTask) leave(w *diskWriter) {
	if w.site == nil {
		return
	}
	t.claims.Lock()
	defer t.claims.Unlock()
	if w.site.owner == w {
		w.site.owner = nil
	}
	if w.site.writers--; w.site.writers == 0 {
		delete(t.sites, w.i)
	}
}

// seize makes w the owner of its site. An owner that is still writing loses it: its bytes are unverified, w's are not. The caller holds
// the site's commit, so an owner waits for nobody and is soon out of the way, and w.mu.
func (w *diskWriter) seize() {
	w.task.claims.Lock()
	owner := w.site.owner
	w.site.owner = w
	w.task.claims.Unlock()
	if owner != nil {
		owner.mu.Lock()
		defer owner.mu.Unlock()
		owner.yield()
	}
}

// yield gives up a place that another writer owns now. The caller holds w.mu.
func (w *diskWriter) yield() {
	if w.ended {
		return
	}
	w.file.Close()
	w.file, w.place = nil, nowhere
	w.giveBack(0)
}

// moveIn copies verified bytes from the scratch file to their place. The caller holds the site's commit and w.mu.
func (w *diskWriter) moveIn() error {
	w.seize()
	data, err := w.task.root.OpenFile(dataName, os.O_WRONLY, 0)
	if err != nil {
		return noSpace(err, "move it in")
	}
	scratch := w.file
	defer scratch.Close()
	w.file, w.place = data, inPlace
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
