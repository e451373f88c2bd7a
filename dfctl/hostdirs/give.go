package hostdirs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxDepth = 64 // of directories: each holds a file descriptor
	maxNotes = 10 // what is left is counted beyond that
)

// giver gives directories to an owner. It works by file descriptors, never by a path: who owns a directory can put a symbolic link in
// the place of anything in it at any moment.
type giver struct {
	to        owner
	left      []string // what stays as it is, and why
	leftCount int
	device    uint64 // that the tree is on
}

// give makes a directory and gives it to the owner, and reports whether there was something to do. The directory itself goes last, so
// that a run that was killed is made good by the next.
func (g *giver) give(dir string, mode fs.FileMode) (changed bool, err error) {
	fd, made, err := enter(dir)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, failed("look at", dir, err)
	}
	mine, moded := g.owns(&st), fs.FileMode(st.Mode&0o7777) == mode
	if mine && moded {
		return made, nil
	}
	g.device = st.Dev
	f, err := list(fd, dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if !mine {
		if err := g.content(f, dir, 1); err != nil {
			return false, err
		}
	}
	if !moded {
		if err := unix.Fchmod(int(f.Fd()), uint32(mode)); err != nil {
			return false, failed("set the mode of", dir, err)
		}
	}
	if err := unix.Fchown(int(f.Fd()), g.to.uid, g.to.gid); err != nil {
		return false, failed("set the owner of", dir, err)
	}
	return true, nil
}

func (g *giver) owns(st *unix.Stat_t) bool {
	return st.Uid == uint32(g.to.uid) && st.Gid == uint32(g.to.gid)
}

// content gives away what is in a directory.
func (g *giver) content(dir *os.File, name string, depth int) error {
	for {
		names, err := dir.Readdirnames(1024)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return failed("list", name, err)
		}
		for _, child := range names {
			if err := g.entry(int(dir.Fd()), child, path.Join(name, child), depth); err != nil {
				return err
			}
		}
	}
}

// entry gives away something that is in a directory.
func (g *giver) entry(dir int, child, name string, depth int) error {
	fd, err := unix.Openat(dir, child, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // gone in the meantime
	} else if err != nil {
		return failed("look at", name, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return failed("look at", name, err)
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case st.Dev != g.device:
		g.leave(name, "another file system")
		return nil
	case kind == unix.S_IFDIR:
		if depth == maxDepth {
			return fmt.Errorf("look at %s: more than %d directories within each other", name, maxDepth)
		}
		f, err := list(fd, name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := g.content(f, name, depth+1); err != nil {
			return err
		}
	case kind == unix.S_IFBLK || kind == unix.S_IFCHR:
		g.leave(name, "a device")
		return nil
	case st.Nlink > 1:
		g.leave(name, "it has several names, and may be somebody else's file")
		return nil
	}
	if g.owns(&st) {
		return nil
	}
	if err := unix.Fchownat(fd, "", g.to.uid, g.to.gid, unix.AT_EMPTY_PATH); err != nil {
		return failed("set the owner of", name, err)
	}
	return nil
}

func (g *giver) leave(name, why string) {
	if g.leftCount++; len(g.left) < maxNotes {
		g.left = append(g.left, name+": "+why)
	}
}

// enter opens a directory for what needs no right to read it, and makes it and those above it where they are missing. Only directories
// lead there, no symbolic links.
func enter(dir string) (fd int, made bool, err error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if fd, err = unix.Open("/", flags, 0); err != nil {
		return -1, false, failed("open", "/", err)
	}
	at := "/"
	for part := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		at = path.Join(at, part)
		next, err := unix.Openat(fd, part, flags, 0)
		if errors.Is(err, unix.ENOENT) {
			if err := unix.Mkdirat(fd, part, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
				_ = unix.Close(fd)
				return -1, false, failed("make directory", at, err)
			}
			made = true
			next, err = unix.Openat(fd, part, flags, 0)
		}
		if err != nil {
			err = explain(fd, part, at, err)
			_ = unix.Close(fd)
			return -1, false, err
		}
		_ = unix.Close(fd)
		fd = next
	}
	return fd, made, nil
}

// explain says what is in the way of a directory.
func explain(parent int, part, at string, err error) error {
	var st unix.Stat_t
	if unix.Fstatat(parent, part, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			return fmt.Errorf("open %s: it is a symbolic link, which is not followed: name the directory that it leads to", at)
		case unix.S_IFDIR:
		default:
			return fmt.Errorf("open %s: it is not a directory", at)
		}
	}
	return failed("open", at, err)
}

// list opens a directory that is entered to read what is in it.
func list(fd int, name string) (*os.File, error) {
	full, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, failed("list", name, err)
	}
	return os.NewFile(uintptr(full), name), nil
}

// failed is an error with what to do about it, where that is known.
func failed(what, name string, err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%s %s: %w: this needs root with the capabilities CHOWN, FOWNER and DAC_OVERRIDE", what, name, err)
	}
	return fmt.Errorf("%s %s: %w", what, name, err)
}
