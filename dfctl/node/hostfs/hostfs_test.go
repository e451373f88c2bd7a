package hostfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func open(t *testing.T, before func(Op, string) error) (*Root, string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"etc", "usr/lib"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(dir, before)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, dir
}

func TestResolve(t *testing.T) {
	t.Parallel()
	r, dir := open(t, nil)
	for name, target := range map[string]string{
		"lib": "usr/lib", "abs": "/usr/lib", "out": "../../../etc", "etc/up": "../usr", "chain": "abs", "a": "b", "b": "/a", "gone": "/none/x",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"/lib/x": "/usr/lib/x", "/abs": "/usr/lib", "/out/passwd": "/etc/passwd", "/etc/up/lib": "/usr/lib", "/chain/y": "/usr/lib/y",
		"/../../etc": "/etc", "/gone": "/none/x", "/": "/", "/none/../etc": "/etc",
	} {
		if got, err := r.Resolve(name); err != nil || got != want {
			t.Errorf("Resolve(%q): got %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := r.Resolve("/a/x"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a loop: got %v", err)
	}
}

func TestReplaceKeepsModeAndOwner(t *testing.T) {
	t.Parallel()
	r, dir := open(t, nil)
	file := filepath.Join(dir, "etc/x")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o604|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	root := os.Getuid() == 0
	if root {
		if err := os.Chown(file, 1234, 4321); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, 0o604|fs.ModeSetgid); err != nil { // chown clears it
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/.x.dragonfly-tmp"), []byte("of a killed run"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := r.Replace("/etc/x", []byte("new"), 0o777); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o604|fs.ModeSetgid {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
	if sys := info.Sys().(*syscall.Stat_t); root && (sys.Uid != 1234 || sys.Gid != 4321) {
		t.Errorf("got owner %d:%d", sys.Uid, sys.Gid)
	}
	if names, err := r.ReadDir("/etc"); err != nil || !slices.Equal(names, []string{"x"}) {
		t.Errorf("got %q, %v, want the file alone", names, err)
	}
	if err := r.Replace("/etc/new", nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "etc/new")); err != nil || info.Mode() != 0o640 {
		t.Errorf("a new file: got %v, %v", info, err)
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	r, _ := open(t, func(op Op, _ string) error {
		if op == Create {
			return &fs.PathError{Op: "openat", Path: "etc/.x.dragonfly-tmp", Err: syscall.EROFS}
		}
		return nil
	})
	err := r.Replace("/etc/x", nil, 0o644)
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "create /etc/.x.dragonfly-tmp: read-only file system") {
		t.Errorf("got %v", err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	r, dir := open(t, nil)
	unlock, err := r.Lock(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := other.Lock(stopped, "/"); !errors.Is(err, context.Canceled) {
		t.Errorf("two have the lock, or no one says that another has it: %v", err)
	}
	unlock()
	again, err := other.Lock(t.Context(), "/")
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	again()
}
