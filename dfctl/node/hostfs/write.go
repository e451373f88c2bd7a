package hostfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"
)

// keptMode are the bits of a file's mode that its next version gets.
const keptMode = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// step does something unless it is prevented.
func (r *Root) step(op Op, name string, do func() error) error {
	err := r.before(op, name)
	switch {
	case errors.Is(err, ErrSkip):
		return nil
	case err == nil:
		err = do()
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, name, cause(err))
	}
	return nil
}

// temporary is where the next version of a file is written. A name for each file, so that what a killed run left is found again; the
// dot and the ending keep runtimes from reading it, which take *.toml or *.conf.
func temporary(file string) string {
	return path.Join(path.Dir(file), "."+path.Base(file)+".dragonfly-tmp")
}

// Replace gives a file its content at once: a reader, or a host that loses power, finds the old one or the new one. An existing file
// keeps its mode and owner; a new one gets perm. The directory has to exist.
func (r *Root) Replace(name string, data []byte, perm fs.FileMode) error {
	file, err := r.Resolve(name)
	if err != nil {
		return err
	}
	tmp := temporary(file)
	if err := r.fill(file, tmp, data, perm); err != nil {
		_ = r.step(Remove, tmp, func() error { return r.root.Remove(inside(tmp)) })
		return err
	}
	if err := r.step(Rename, file, func() error { return r.root.Rename(inside(tmp), inside(file)) }); err != nil {
		_ = r.step(Remove, tmp, func() error { return r.root.Remove(inside(tmp)) })
		return err
	}
	return r.syncDir(path.Dir(file))
}

// fill writes the temporary file.
func (r *Root) fill(file, tmp string, data []byte, perm fs.FileMode) error {
	old, err := r.root.Lstat(inside(file))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", file, cause(err))
	}
	if old != nil {
		if !old.Mode().IsRegular() {
			return fmt.Errorf("write %s: it is not a regular file", file)
		}
		perm = old.Mode() & keptMode
	}
	if err := r.Discard(file); err != nil {
		return err
	}
	var f *os.File
	err = r.step(Create, tmp, func() error {
		f, err = r.root.OpenFile(inside(tmp), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	// In two halves, so that tests can stop between them.
	for _, part := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
		if err := r.step(Write, tmp, func() error { _, err := f.Write(part); return err }); err != nil {
			return err
		}
	}
	err = r.step(Own, tmp, func() error {
		if uid, gid, other := owner(f, old); other {
			return f.Chown(uid, gid)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.step(Mode, tmp, func() error { return f.Chmod(perm) }); err != nil {
		return err
	}
	if err := r.step(Sync, tmp, f.Sync); err != nil {
		return err
	}
	return f.Close()
}

// owner is whom a file that takes the place of an old one has to be given to, and whether that is another than it belongs to.
func owner(f *os.File, old fs.FileInfo) (uid, gid int, other bool) {
	if old == nil {
		return 0, 0, false
	}
	info, err := f.Stat()
	if err != nil {
		return 0, 0, false
	}
	want, ok := old.Sys().(*syscall.Stat_t)
	has, ok2 := info.Sys().(*syscall.Stat_t)
	if !ok || !ok2 {
		return 0, 0, false
	}
	return int(want.Uid), int(want.Gid), want.Uid != has.Uid || want.Gid != has.Gid
}

// Discard removes what a killed Replace of a file left.
func (r *Root) Discard(name string) error {
	file, err := r.Resolve(name)
	if err != nil {
		return err
	}
	tmp := temporary(file)
	if _, err := r.root.Lstat(inside(tmp)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return r.step(Remove, tmp, func() error { return r.root.Remove(inside(tmp)) })
}

// Missing lists the directories that MkdirAll would make, the outermost first.
func (r *Root) Missing(dir string) ([]string, error) {
	file, err := r.Resolve(dir)
	if err != nil {
		return nil, err
	}
	var missing []string
	for ; file != "/"; file = path.Dir(file) {
		info, err := r.root.Lstat(inside(file))
		if err == nil {
			if !info.IsDir() {
				return nil, fmt.Errorf("make directory %s: %s is not a directory", dir, file)
			}
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look at %s: %w", file, cause(err))
		}
		missing = append([]string{file}, missing...)
	}
	return missing, nil
}

// MkdirAll makes a directory and those above it.
func (r *Root) MkdirAll(dir string, perm fs.FileMode) error {
	missing, err := r.Missing(dir)
	if err != nil {
		return err
	}
	for _, d := range missing {
		if err := r.step(Mkdir, d, func() error { return r.root.Mkdir(inside(d), perm) }); err != nil {
			return err
		}
		if err := r.syncDir(path.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes a file or an empty directory. What is not there is removed already.
func (r *Root) Remove(name string) error {
	file, err := r.Resolve(name)
	if err != nil {
		return err
	}
	if _, err := r.root.Lstat(inside(file)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := r.step(Remove, file, func() error { return r.root.Remove(inside(file)) }); err != nil {
		return err
	}
	return r.syncDir(path.Dir(file))
}

// RemoveIfEmpty removes a directory that has nothing in it.
func (r *Root) RemoveIfEmpty(dir string) error {
	if names, err := r.ReadDir(dir); errors.Is(err, fs.ErrNotExist) || len(names) > 0 {
		return nil
	} else if err != nil {
		return err
	}
	return r.Remove(dir)
}

// RemoveAll removes a directory and what is in it, one after the other.
func (r *Root) RemoveAll(dir string) error {
	file, err := r.Resolve(dir)
	if err != nil {
		return err
	}
	info, err := r.root.Lstat(inside(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("look at %s: %w", file, cause(err))
	}
	if info.IsDir() {
		entries, err := fs.ReadDir(r.root.FS(), inside(file))
		if err != nil {
			return fmt.Errorf("read the directory %s: %w", file, cause(err))
		}
		for _, e := range entries {
			child := path.Join(file, e.Name())
			if e.IsDir() {
				err = r.RemoveAll(child)
			} else { // a symbolic link too, which is not followed
				err = r.step(Remove, child, func() error { return r.root.Remove(inside(child)) })
			}
			if err != nil {
				return err
			}
		}
	}
	return r.step(Remove, file, func() error { return r.root.Remove(inside(file)) })
}

// syncDir makes changes of a directory's names last.
func (r *Root) syncDir(dir string) error {
	return r.step(Sync, dir, func() error {
		d, err := r.root.Open(inside(dir))
		if err != nil {
			return err
		}
		defer d.Close()
		if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // file systems that know no sync of directories
			return err
		}
		return nil
	})
}

// lockEvery is how long Lock waits between tries.
const lockEvery = 20 * time.Millisecond

// Lock keeps other programs out that lock the same directory, until unlock is called. It waits for them as long as ctx lets it.
func (r *Root) Lock(ctx context.Context, dir string) (unlock func(), err error) {
	file, err := r.Resolve(dir)
	if err != nil {
		return nil, err
	}
	d, err := r.root.Open(inside(file))
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, cause(err))
	}
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = d.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = d.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			_ = d.Close()
			return nil, fmt.Errorf("lock %s, which another dfctl node-config is at work on: %w", dir, ctx.Err())
		case <-tick.C:
		}
	}
}
