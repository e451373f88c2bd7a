package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

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
	s.made, s.touched = true, d.sys.now()
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
	return errors.Join(journal.Close(), d.writeMeta(dir, m))
}

// load reads a task's metadata and journal. The caller holds the slot's loading.
func (d *Disk) load(s *slot, root *os.Root) (*diskTask, error) {
	m, err := readMeta(root, s.id)
	if err != nil {
		return nil, err
	}
	t := &diskTask{ledger: newLedger(m.Meta), disk: d, slot: s, root: root, sites: make(map[int]*site)}
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
		if err := t.persist(t.IsComplete()); err != nil {
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
	for i := uint(0); i < end; i++ {
		next, more := have.NextSet(i)
		if !more {
			next = end
		}
		if next > i && punch(f, int64(i)*size, int64(next-i)*size) != nil {
			return
		}
		i = next
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

// persist writes meta.json and makes the data file's mode say the same, for the scan at the next start. The caller holds metaMu or is
// alone with the task.
func (t *diskTask) persist(complete bool) error {
	m := metaFile{Version: metaVersion, ID: t.slot.id, Meta: t.Meta(), Complete: complete}
	write := func() error { return t.disk.writeMeta(t.root, m) }
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

// trimData makes the data file as long as the content, which it is not where the length came late.
func (t *diskTask) trimData() error {
	f, err := t.root.OpenFile(dataName, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(t.Layout().Length), f.Close())
}
