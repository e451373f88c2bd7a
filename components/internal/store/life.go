package store

import (
	"container/list"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

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
	if d.epoch, err = takeEpoch(d.root); err != nil {
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
		err = d.lock.Close()
	}
	if d.root != nil {
		err = errors.Join(err, d.root.Close())
	}
	return err
}

const cleanName = "clean"

// takeEpoch returns the epoch to live in: that of the last life when it stopped cleanly, else a new one, in which all pieces on disk
// are suspect. The marker of the clean stop is gone before anything else changes.
func takeEpoch(dir *os.Root) (uint64, error) {
	f, err := dir.Open(cleanName)
	if errors.Is(err, os.ErrNotExist) {
		return newEpoch(), nil
	}
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err := errors.Join(err, f.Close(), dir.Remove(cleanName), syncDir(dir)); err != nil {
		return 0, err
	}
	if epoch, err := strconv.ParseUint(strings.TrimSpace(string(text)), 16, 64); err == nil && epoch != 0 {
		return epoch, nil
	}
	return newEpoch(), nil
}

// newEpoch is random, so that no lost or restored file can bring an old one back. It is never 0.
func newEpoch() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return max(1, binary.LittleEndian.Uint64(b[:]))
}

// writeEpoch marks a clean stop.
func writeEpoch(dir *os.Root, epoch uint64) error {
	f, err := dir.Create(cleanName)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%016x\n", epoch)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(dir))
}

// Close implements Store. It waits for pieces being committed and flushes what this life wrote, then marks the stop as clean; where
// the flush fails there is no mark, and the next life verifies each piece before its use.
func (d *Disk) Close() error {
	d.life.Lock()
	defer d.life.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.metrics.unregister()
	err := d.flush()
	if err == nil {
		err = writeEpoch(d.root, d.epoch)
	}
	if err = errors.Join(err, d.releaseDir()); err != nil {
		return fmt.Errorf("close store %s: %w", d.dir, err)
	}
	return nil
}

// flush makes durable what this life wrote.
func (d *Disk) flush() error {
	d.mu.Lock()
	var dirty []*slot
	for _, s := range d.slots {
		if s.dirty {
			dirty = append(dirty, s)
		}
	}
	d.mu.Unlock()
	for _, s := range dirty {
		if err := syncTask(d.root, s.path()); err != nil {
			return err
		}
	}
	return nil
}

func syncTask(root *os.Root, path string) error {
	for _, name := range []string{dataName, journalName, metaName, "."} {
		f, err := root.Open(filepath.Join(path, name))
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
