package store

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
)

// sendRun bounds what is sent between two looks at which pieces are held, in bytes.
const sendRun = 16 << 20

// diskReader reads a task through an open file of its own, as sendfile uses the file's offset. It is a pin of its own.
type diskReader struct {
	task   *diskTask
	file   *os.File
	closed atomic.Bool
}

// Reader implements Task.
func (t *diskTask) Reader() (Reader, error) {
	f, err := t.root.Open(dataName)
	if err != nil {
		return nil, fmt.Errorf("store: read task %s: %w", t.slot.id, err)
	}
	t.disk.hold(t.slot)
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

// Close implements io.Closer.
func (r *diskReader) Close() error {
	if r.closed.Swap(true) {
		return os.ErrClosed
	}
	r.task.disk.life.RLock()
	defer r.task.disk.life.RUnlock()
	r.task.disk.unpin(r.task.slot)
	return r.file.Close()
}
