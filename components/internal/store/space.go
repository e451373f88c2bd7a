package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// shortage is what there is too little of; "" for nothing.
type shortage string

const (
	byQuota     shortage = "quota"
	byFreeSpace shortage = "free_space"
	byDisk      shortage = "disk" // the file system refused
)

// reserve takes n bytes of disk space for a pinned slot, evicting other tasks where it must. The bytes count as pending until they
// are written or released.
func (d *Disk) reserve(s *slot, n int64) error {
	short := d.take(s, n)
	if short == "" {
		return nil
	}
	d.evicting.Lock()
	defer d.evicting.Unlock()
	for {
		if short = d.take(s, n); short == "" {
			return nil
		}
		if short == byQuota && !d.evictionHelps(n) || !d.evictOne(short) {
			d.metrics.failures.WithLabelValues(string(short)).Inc()
			return fmt.Errorf("%w: %d bytes more than %s allows, and nothing to evict", ErrNoSpace, n, short)
		}
	}
}

// take reserves n bytes where there is room and tells else what is short.
func (d *Disk) take(s *slot, n int64) shortage {
	low := d.low(n)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cfg.Quota > 0 && d.used+n > d.cfg.Quota {
		return byQuota
	}
	if low {
		return byFreeSpace
	}
	d.used += n
	s.bytes += n
	d.pending.Add(n)
	return ""
}

// low reports whether n bytes more would leave less than the minimum free. What can't be told is not low: the write will tell.
func (d *Disk) low(n int64) bool {
	if d.cfg.MinFree == 0 {
		return false
	}
	free, err := d.sys.free(d.dir)
	if err != nil {
		d.log.Warn("store: could not tell the free space", "err", err)
		return false
	}
	return free-d.pending.Load()-n < d.cfg.MinFree
}

// evictionHelps reports whether n bytes would fit the quota if all that can be evicted were, so that a task larger than the quota does
// not cost all others.
func (d *Disk) evictionHelps(n int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used-d.idleUsed+n <= d.cfg.Quota
}

// settle gives n reserved bytes back, of which the last unwritten were still pending.
func (d *Disk) settle(s *slot, n, unwritten int64) {
	d.pending.Add(-unwritten)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used -= n
	s.bytes -= n
}

// evictOne removes the task least recently used that nobody holds, and reports whether there was one.
func (d *Disk) evictOne(why shortage) bool {
	d.mu.Lock()
	e := d.idle.Back()
	if e == nil {
		d.mu.Unlock()
		return false
	}
	s := e.Value.(*slot)
	d.detach(s)
	d.used -= s.bytes
	d.mu.Unlock()
	d.erase(s)
	d.evictions.Add(1)
	d.metrics.evictions.WithLabelValues(string(why)).Inc()
	d.log.Info("store: evicted a task", "task", s.id, "bytes", s.bytes, "reason", why)
	return true
}

// trimEvery is the time between two looks at the disk space that others take.
const trimEvery = 30 * time.Second

// Watch calls Trim now and then until ctx ends.
func (d *Disk) Watch(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.Trim()
		case <-ctx.Done():
			return
		}
	}
}

// Trim evicts tasks until quota and free space are as configured. Writers do the same as they need room; it is for the disk space that
// others take.
func (d *Disk) Trim() {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return
	}
	d.evicting.Lock()
	defer d.evicting.Unlock()
	for {
		d.mu.Lock()
		over := d.cfg.Quota > 0 && d.used > d.cfg.Quota
		d.mu.Unlock()
		switch {
		case over && d.evictOne(byQuota):
		case !over && d.low(0) && d.evictOne(byFreeSpace):
		default:
			return
		}
	}
}

// withSpace calls write, and again after each eviction, until the disk is not full for it.
func (d *Disk) withSpace(write func() error) error {
	for {
		before := d.evictions.Load()
		err := write()
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			return err
		}
		d.evicting.Lock()
		more := d.evictions.Load() != before || d.evictOne(byDisk) // one eviction may be enough for all who wait
		d.evicting.Unlock()
		if !more {
			return err
		}
	}
}

// writeFull writes p at off, making room where the disk is full.
func (d *Disk) writeFull(f *os.File, p []byte, off int64) error {
	done := 0
	return d.withSpace(func() error {
		n, err := d.sys.writeAt(f, p[done:], off+int64(done))
		done += n
		return err
	})
}
