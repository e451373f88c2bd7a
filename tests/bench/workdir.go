package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dragonfly-kube/dragonfly/tests/bench/network"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// folders of runs are named so, with digits after it.
const folders = network.Prefix + "run-"

// workDir makes a folder for content and stores, in memory unless told otherwise, and removes those of runs that were killed. The caller holds
// the lock.
func (o options) workDir(ctx context.Context) (dir string, remove func(), err error) {
	parent := o.dir
	if parent == "" {
		parent = os.TempDir()
	}
	if parent, err = filepath.Abs(parent); err != nil {
		return "", nil, err
	}
	stale, _ := filepath.Glob(filepath.Join(parent, folders+"*"))
	for _, d := range stale {
		removeDir(ctx, d)
	}
	if dir, err = os.MkdirTemp(parent, folders); err != nil {
		return "", nil, err
	}
	if o.dir == "" {
		if _, err := command.New("mount", "-t", "tmpfs", "-o", "size=85%", "dfbench", dir).Run(ctx); err != nil {
			removeDir(ctx, dir)
			return "", nil, fmt.Errorf("make a file system in memory: %w", err)
		}
	}
	return dir, func() { removeDir(context.WithoutCancel(ctx), dir) }, nil
}

// removeDir removes a folder, and the file system that is mounted there, if one is.
func removeDir(ctx context.Context, dir string) {
	if _, err := command.New("umount", "-l", dir).Run(ctx); err != nil { // nothing is mounted there
		_ = os.RemoveAll(dir)
		return
	}
	_ = os.Remove(dir)
}

// lock waits until no other run uses the network's names.
func lock(io streams) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), network.Prefix+"lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep other runs away: %w", err)
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		fmt.Fprintln(io.err, "another run is under way; waiting for it")
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			f.Close()
			return nil, fmt.Errorf("keep other runs away: %w", err)
		}
	}
	return func() { _ = f.Close() }, nil
}
