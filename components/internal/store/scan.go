package store

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// scan fills the slots from directory entries alone: the data file's blocks, time of last use and mode tell the rest.
func (d *Disk) scan() error {
	prefixes, err := fs.ReadDir(d.root.FS(), "tasks")
	if err != nil {
		return err
	}
	for _, p := range prefixes {
		if !p.IsDir() {
			d.log.Warn("store: ignored what is no task", "path", "tasks/"+p.Name())
			continue
		}
		ids, err := fs.ReadDir(d.root.FS(), "tasks/"+p.Name())
		if err != nil {
			return err
		}
		for _, e := range ids {
			if err := d.scanTask(p.Name(), e.Name()); err != nil {
				return err
			}
		}
	}
	d.order()
	return nil
}

func (d *Disk) scanTask(prefix, id string) error {
	if !api.ValidTaskID(id) || id[:3] != prefix {
		d.log.Warn("store: ignored what is no task", "path", filepath.Join("tasks", prefix, id))
		return nil
	}
	s := &slot{id: id, made: true}
	info, err := os.Lstat(filepath.Join(d.dir, s.path(), dataName))
	if errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("store: removed a task without data", "task", id)
		return d.root.RemoveAll(s.path())
	}
	if err != nil {
		return err
	}
	s.bytes, s.length, s.touched = allocated(info), info.Size(), info.ModTime()
	s.complete = info.Mode().Perm()&0o200 == 0
	if s.complete {
		d.revision ^= mark(s.id, s.length)
	}
	d.slots[id] = s
	d.used += s.bytes
	d.idleUsed += s.bytes
	return nil
}

// order puts all slots into the list of idle ones by the time of their last use.
func (d *Disk) order() {
	all := make([]*slot, 0, len(d.slots))
	for _, s := range d.slots {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *slot) int {
		return cmp.Or(b.touched.Compare(a.touched), cmp.Compare(a.id, b.id))
	})
	for _, s := range all {
		s.idle = d.idle.PushBack(s)
	}
}
