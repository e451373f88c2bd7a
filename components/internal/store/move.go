package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Move takes a complete task out of the store without copying it: its file is written to the disk and gets the name path, in place of
// another file, and the permissions perm. Who reads the task at this moment goes on reading the file. ErrNotHeld where a piece is
// missing or not verified since an unclean stop, errors.ErrUnsupported where path is on another file system: the task stays then.
func (d *Disk) Move(id, path string, perm os.FileMode) error {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return errClosed
	}
	s := d.pin(id, false)
	if s == nil {
		return ErrNotFound
	}
	t, err := d.loaded(s, nil)
	if err != nil {
		d.giveUp(s, err)
		return fmt.Errorf("store: open task %s: %w", id, err)
	}
	if err := t.moveData(path, perm); err != nil {
		d.unpin(s)
		return fmt.Errorf("store: move task %s out: %w", id, err)
	}
	d.discard(s)
	return nil
}

// moveData renames the data file. Where that fails the file stays as it was.
func (t *diskTask) moveData(path string, perm os.FileMode) error {
	t.metaMu.Lock() // completeness stays as it is
	defer t.metaMu.Unlock()
	if !t.sound() {
		return ErrNotHeld
	}
	f, err := t.root.Open(dataName)
	if err != nil {
		return err
	}
	defer f.Close()
	if err = f.Chmod(perm); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(filepath.Join(t.disk.dir, t.slot.path(), dataName), path)
	}
	if errors.Is(err, unix.EXDEV) {
		err = fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	if err != nil {
		err = errors.Join(err, f.Chmod(0o400)) // as persist left it
	}
	return err
}

// sound reports whether the task is complete and nothing of it has to be verified anew.
func (l *ledger) sound() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.complete && l.suspect.None()
}
