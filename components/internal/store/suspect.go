package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// verify reads a suspect piece. It is trusted from then on, or dropped.
func (r *diskReader) verify(i int) error {
	t := r.task
	off, n, want, ok := t.suspected(i)
	if !ok {
		return nil // another reader was faster
	}
	buf := t.disk.buffers.Get().(*[]byte)
	defer t.disk.buffers.Put(buf)
	h := sha256.New()
	_, err := io.CopyBuffer(h, io.NewSectionReader(r.file, off, n), *buf)
	if err == nil && piece.Digest(h.Sum(nil)) == want {
		t.trust(i, n, want)
		return nil
	}
	t.dropSuspect(i)
	if err == nil {
		err = ErrDigest
	}
	t.disk.log.Warn("store: dropped a corrupt piece", "task", t.slot.id, "piece", i, "err", err)
	return fmt.Errorf("%w: it was corrupt on disk", errNotHeld(i))
}

// failed makes the piece at off suspect, as the file did not give what it should, and returns what to tell.
func (r *diskReader) failed(off int64, err error) error {
	r.task.distrust(r.task.Layout().At(off))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("store: read task %s: %w", r.task.slot.id, err)
}

// suspected returns what to verify of piece i; ok is false where there is nothing to.
func (t *diskTask) suspected(i int) (off, n int64, want piece.Digest, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	off, _ = t.layout().Range(i)
	return off, t.size(i), t.digests[i], t.suspect.Test(uint(i))
}

// trust ends the suspicion on piece i, for the following lives too.
func (t *diskTask) trust(i int, n int64, d piece.Digest) {
	t.disk.life.RLock()
	defer t.disk.life.RUnlock()
	t.order.Lock()
	defer t.order.Unlock()
	t.mu.Lock()
	still := t.suspect.Test(uint(i)) && t.digests[i] == d
	if still {
		t.suspect.Clear(uint(i))
	}
	t.mu.Unlock()
	if !still || t.disk.closed {
		return
	}
	if err := t.append(record{kind: recordHeld, index: i, bytes: n, epoch: t.disk.epoch, digest: d}); err != nil {
		t.disk.log.Warn("store: could not note a verified piece", "task", t.slot.id, "piece", i, "err", err)
	}
}

// distrust makes a held piece suspect.
func (t *diskTask) distrust(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held.Test(uint(i)) {
		t.suspect.Set(uint(i))
	}
}

// dropSuspect drops piece i unless it was verified meanwhile.
func (t *diskTask) dropSuspect(i int) {
	t.disk.life.RLock()
	defer t.disk.life.RUnlock()
	if _, _, _, still := t.suspected(i); still {
		t.disk.metrics.corrupt.Inc()
		t.drop(i)
	}
}
