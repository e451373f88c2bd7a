package store

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

func (t *memoryTask) Writer(i int, want *piece.Digest) (PieceWriter, error) {
	t.store.mu.Lock()
	closed := t.store.closed
	t.store.mu.Unlock()
	if closed {
		return nil, errNoMore
	}
	_, limit, err := t.room(i)
	if err != nil {
		return nil, err
	}
	return &memoryWriter{task: t, i: i, want: want, limit: limit, hash: sha256.New()}, nil
}

type memoryWriter struct {
	task  *memoryTask
	i     int
	want  *piece.Digest
	limit int64
	hash  hash.Hash
	data  []byte
	err   error
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if int64(len(w.data)+len(p)) > w.limit {
		w.err = errTooLong(w.i, w.limit)
		return 0, w.err
	}
	w.hash.Write(p)
	w.data = append(w.data, p...)
	return len(p), nil
}

func (w *memoryWriter) Commit() (piece.Digest, error) {
	if w.err != nil {
		return piece.Digest{}, w.err
	}
	w.err = os.ErrClosed
	d := piece.Digest(w.hash.Sum(nil))
	if w.want != nil && d != *w.want {
		return piece.Digest{}, fmt.Errorf("%w: piece %d is %s, want %s", ErrDigest, w.i, d, *w.want)
	}
	t := w.task
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if t.store.closed {
		return piece.Digest{}, errNoMore
	}
	t.data.Lock()
	defer t.data.Unlock()
	held, gained, err := t.gain(w.i, int64(len(w.data)), d)
	if gained {
		t.pieces[w.i] = w.data
	}
	return held, err
}

func (w *memoryWriter) Abort() {
	if w.err == nil {
		w.err = os.ErrClosed
	}
	w.data = nil
}

func (t *memoryTask) Reader() (Reader, error) { return memoryReader{t}, nil }

type memoryReader struct{ task *memoryTask }

// next returns the held bytes from off to the end of their piece, at most n.
func (r memoryReader) next(off, n int64) ([]byte, error) {
	if off < 0 {
		return nil, errNegative(off)
	}
	ready, _, end := r.task.span(off, n)
	if end {
		return nil, io.EOF
	}
	lay := r.task.Layout()
	i := lay.At(off)
	r.task.data.Lock()
	b, ok := r.task.pieces[i]
	r.task.data.Unlock()
	if ready == 0 || !ok {
		return nil, errNotHeld(i)
	}
	b = b[off-int64(i)*lay.Size:]
	return b[:min(n, int64(len(b)))], nil
}

func (r memoryReader) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		b, err := r.next(off+int64(n), int64(len(p)-n))
		if err != nil {
			return n, err
		}
		n += copy(p[n:], b)
	}
	return n, nil
}

func (r memoryReader) Send(w io.Writer, off, n int64) (int64, error) {
	var sent int64
	for sent < n {
		b, err := r.next(off+sent, n-sent)
		if err != nil {
			return sent, endsEarly(err)
		}
		m, err := w.Write(b)
		sent += int64(m)
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func (r memoryReader) Close() error { return nil }
