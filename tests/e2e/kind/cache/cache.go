// Package cache keeps what is slow to make, step by step: a step is made aside and renamed when it is complete, so that a run that was
// interrupted goes on with the next step.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Cache is a folder whose entries are complete or not there.
type Cache struct {
	dir string
	log *slog.Logger
}

// Open makes the folder if need be: dir, or E2E_CACHE, or dragonfly-e2e in the user's cache folder.
func Open(dir string, log *slog.Logger) (*Cache, error) {
	if dir == "" {
		dir = os.Getenv("E2E_CACHE")
	}
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find a cache folder (set E2E_CACHE): %w", err)
		}
		dir = filepath.Join(user, "dragonfly-e2e")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open cache %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open cache %s: %w", dir, err)
	}
	return &Cache{dir: dir, log: log}, nil
}

// Path of an entry, which need not be there.
func (c *Cache) Path(name string) string { return filepath.Join(c.dir, name) }

// Lock holds the cache for one process, and waits for it while ctx allows.
func (c *Cache) Lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(c.Path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	for said := false; ; said = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock cache: %w", err)
		}
		if !said {
			c.log.Info("waiting for another process that uses the cache", "cache", c.dir)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("lock cache: %w", context.Cause(ctx))
		case <-time.After(time.Second):
		}
	}
}

// Step returns the path of the entry name, and has it made when it is not there. make gets a path that does not exist, for a file or
// a folder; an error leaves nothing behind.
func (c *Cache) Step(name string, build func(path string) error) (string, error) {
	path := c.Path(name)
	if _, err := os.Lstat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for %s in the cache: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	aside := path + ".part"
	if err := os.RemoveAll(aside); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	start := time.Now()
	c.log.Info("making", "entry", name)
	if err := build(aside); err != nil {
		return "", errors.Join(fmt.Errorf("make %s: %w", name, err), os.RemoveAll(aside))
	}
	if err := os.Rename(aside, path); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	c.log.Info("made", "entry", name, "time", time.Since(start).Round(time.Second))
	return path, nil
}
