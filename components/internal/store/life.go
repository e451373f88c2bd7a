package store

import (
	"container/list"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
)

// OpenDisk opens the store in dir, making it where there is none. No other process may have it open. Contents are not read: the
// cost is one look at each task's directory entry. reg may be nil.
func OpenDisk(dir string, cfg DiskConfig, log *slog.Logger, reg prometheus.Registerer) (*Disk, error) {
	return openDisk(dir, cfg, log, reg, realSystem())
}

func openDisk(dir string, cfg DiskConfig, log *slog.Logger, reg prometheus.Registerer, sys system) (_ *Disk, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	d := &Disk{dir: dir, cfg: cfg, log: log, sys: sys, slots: make(map[string]*slot), idle: list.New(), warm: list.New()}
	d.buffers.New = func() any { b := make([]byte, 64<<10); return &b }
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store %s: %w", dir, errors.Join(err, d.releaseDir()))
		}
	}()
	if err := os.MkdirAll(filepath.Join(dir, "tasks"), 0o700); err != nil {
		return nil, err
	}
	if d.root, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	if d.lock, err = lockDir(d.root); err != nil {
		return nil, err
	}
	if d.epoch, err = takeEpoch(d.root, sys.boot()); err != nil {
		return nil, err
	}
	if err := errors.Join(d.root.RemoveAll("tmp"), d.root.Mkdir("tmp", 0o700)); err != nil {
		return nil, err
	}
	if err := d.scan(); err != nil {
		return nil, err
	}
	if d.metrics, err = newMetrics(reg, d.Usage); err != nil {
		return nil, err
	}
	d.Trim()
	return d, nil
}

// releaseDir lets another process open the directory.
func (d *Disk) releaseDir() error {
	var err error
	if d.lock != nil {
		err = errors.Join(unlock(d.lock), d.lock.Close())
	}
	if d.root != nil {
		err = errors.Join(err, d.root.Close())
	}
	return err
}

// Close implements Store. It waits for pieces being committed, then marks the stop as clean.
func (d *Disk) Close() error {
	d.life.Lock()
	defer d.life.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.metrics.unregister()
	if err := errors.Join(writeEpoch(d.root, d.epoch, d.sys.boot()), d.releaseDir()); err != nil {
		return fmt.Errorf("close store %s: %w", d.dir, err)
	}
	return nil
}
