// Package hostfs reads and changes the files of a host whose root directory is anywhere. Symbolic links lead to where they would lead
// on the host, absolute ones too, and never out of the root.
package hostfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// Limits of what configuration is.
const (
	maxFile  = 8 << 20 // bytes of a file
	maxLinks = 40      // symbolic links on the way to a file, as Linux has it
)

// Op is a step that changes the host.
type Op string

// The steps.
const (
	Mkdir  Op = "make directory"
	Create Op = "create"
	Write  Op = "write"
	Own    Op = "set owner of"
	Mode   Op = "set mode of"
	Sync   Op = "sync"
	Rename Op = "rename"
	Remove Op = "remove"
)

// Root is a host's tree of files. Paths are the host's own, absolute with slashes. Not safe for two programs that write at once.
type Root struct {
	root *os.Root
	// before is asked before each step; its error takes the step's place.
	before func(op Op, name string) error
}

// ErrSkip leaves a step out and goes on, for tests that need no disk to be written.
var ErrSkip = errors.New("skip this step")

// Open opens the tree under a directory. before, if not nil, is called before each step that changes something, and prevents it by an
// error: that is how tests find out what a failure leaves.
func Open(dir string, before func(op Op, name string) error) (*Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the host's root: %w", err)
	}
	if before == nil {
		before = func(Op, string) error { return nil }
	}
	return &Root{root, before}, nil
}

// Close frees the tree.
func (r *Root) Close() error { return r.root.Close() }

// Resolve is the path that name stands for when all symbolic links are followed. What does not exist stands for itself.
func (r *Root) Resolve(name string) (string, error) {
	todo := strings.Split(path.Clean("/"+name), "/")
	done := "/"
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, part)
		info, err := r.root.Lstat(inside(next))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("look at %s: %w", next, cause(err))
		}
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("look at %s: %w", name, syscall.ELOOP)
		}
		target, err := r.root.Readlink(inside(next))
		if err != nil {
			return "", fmt.Errorf("read the link %s: %w", next, cause(err))
		}
		if path.IsAbs(target) {
			done = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return done, nil
}

// ReadFile reads a regular file of a configuration's size. fs.ErrNotExist says that there is none.
func (r *Root) ReadFile(name string) ([]byte, error) {
	file, err := r.Resolve(name)
	if err != nil {
		return nil, err
	}
	info, err := r.root.Lstat(inside(file))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, cause(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: it is not a regular file", name)
	}
	f, err := r.root.Open(inside(file))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, cause(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, cause(err))
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read %s: it has more than %d MiB, too much for a configuration", name, maxFile>>20)
	}
	return data, nil
}

// ReadDir lists the names in a directory in order. fs.ErrNotExist says that there is none.
func (r *Root) ReadDir(name string) ([]string, error) {
	file, err := r.Resolve(name)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(r.root.FS(), inside(file))
	if err != nil {
		return nil, fmt.Errorf("read the directory %s: %w", name, cause(err))
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// Exists reports whether there is something of the name, of whatever kind.
func (r *Root) Exists(name string) bool {
	file, err := r.Resolve(name)
	if err != nil {
		return false
	}
	_, err = r.root.Lstat(inside(file))
	return err == nil
}

// inside is a path as os.Root wants it.
func inside(name string) string {
	if name = strings.TrimPrefix(path.Clean(name), "/"); name == "" {
		return "."
	}
	return name
}

// cause is an error without the operation and path that os adds: they are the root's, not the host's.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		return l.Err
	}
	return err
}
