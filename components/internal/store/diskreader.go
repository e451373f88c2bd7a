package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// sendRun bounds what is sent between two looks at which pieces are held, in bytes.
const sendRun = 16 << 20

// diskReader reads a task through an open file of its own, as sendfile uses the file's offset.
type diskReader struct {
	task *diskTask
	file *os.File
}

// Reader implements Task.
func (t *diskTask) Reader() (Reader, error) {
	f, err := t.root.Open(dataName)
	if err != nil {
		return nil, fmt.Errorf("store: read task %s: %w", t.slot.id, err)
	}
	return &diskReader{task: t, file: f}, nil
}

// ReadAt implements io.ReaderAt.
func (r *diskReader) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := r.ready(off+int64(done), int64(len(p)-done))
		if err != nil {
			return done, err
		}
		m, err := r.file.ReadAt(p[done:done+int(n)], off+int64(done))
		done += m
		if err != nil {
			return done, r.failed(off+int64(done), err)
		}
	}
	return done, nil
}

// Send implements Reader.
func (r *diskReader) Send(w io.Writer, off, n int64) (int64, error) {
	w = direct(w)
	var sent int64
	for sent < n {
		ready, err := r.ready(off+sent, min(n-sent, sendRun))
		if err != nil {
			return sent, endsEarly(err)
		}
		if _, err := r.file.Seek(off+sent, io.SeekStart); err != nil {
			return sent, err
		}
		m, err := r.copy(w, ready)
		sent += m
		if err != nil {
			return sent, err
		}
		if m < ready {
			return sent, r.failed(off+sent, io.EOF)
		}
	}
	return sent, nil
}

// copy sends n bytes from the file's offset.
func (r *diskReader) copy(w io.Writer, n int64) (int64, error) {
	src := &io.LimitedReader{R: r.file, N: n}
	if rf, ok := w.(io.ReaderFrom); ok {
		return rf.ReadFrom(src)
	}
	buf := r.task.disk.buffers.Get().(*[]byte)
	defer r.task.disk.buffers.Put(buf)
	return io.CopyBuffer(w, src, *buf)
}

// direct finds the writer below wrappers that can use sendfile. A wrapper that holds the header back is told to let go of it first.
func direct(w io.Writer) io.Writer {
	for at := w; ; {
		if _, ok := at.(io.ReaderFrom); ok {
			return at
		}
		wrapper, ok := at.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		if h, ok := at.(interface{ WriteHeaderNow() }); ok { // gin's
			h.WriteHeaderNow()
		}
		at = wrapper.Unwrap()
	}
}

// ready tells how many of the n bytes from off may be given out now, at least one, verifying the first piece where it is suspect.
func (r *diskReader) ready(off, n int64) (int64, error) {
	if off < 0 {
		return 0, errNegative(off)
	}
	for {
		ready, doubtful, end := r.task.span(off, n)
		switch {
		case end:
			return 0, io.EOF
		case ready > 0:
			return ready, nil
		case doubtful < 0:
			return 0, errNotHeld(r.task.Layout().At(off))
		}
		if err := r.verify(doubtful); err != nil {
			return 0, err
		}
	}
}

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

// Close implements io.Closer.
func (r *diskReader) Close() error { return r.file.Close() }

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
	t.disk.markDirty(t.slot)
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
