package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// reader gives content in order as it comes. One user at a time.
type reader struct {
	d      *download
	own    bool // d is this reader's use of it, beside the handle's
	pos    int64
	end    int64 // -1: to the end of the content
	since  int   // of the store's news
	rd     store.Reader
	ctx    context.Context
	cancel context.CancelFunc
	use    sync.Mutex // held while a read is under way, so that Close, which ends it, may come from elsewhere
}

func newReader(d *download, off, n int64) *reader {
	r := &reader{d: d, pos: off, end: -1}
	if n >= 0 {
		r.end = off + n
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	d.readers.set(r, off)
	return r
}

// Close makes pending and later reads fail. It may come from another goroutine, and again.
func (r *reader) Close() error {
	r.cancel()
	r.use.Lock()
	defer r.use.Unlock()
	return r.leave()
}

// leave ends the use of the download. The caller holds use.
func (r *reader) leave() (err error) {
	r.d.readers.remove(r)
	if r.rd != nil {
		err = r.rd.Close()
		r.rd = nil
	}
	if r.own {
		r.own = false
		r.d.release()
	}
	return err
}

// rejoin goes on with another download of the task: r's own has ended, and a piece turned out to be corrupt on disk since.
func (r *reader) rejoin() error {
	h, err := r.d.m.Open(r.ctx, r.d.spec)
	if err != nil {
		return fmt.Errorf("content kept was lost: %w", err)
	}
	if err := r.leave(); err != nil {
		r.d.log.Debug("closing kept content failed", "err", err)
	}
	r.d, r.own, r.since = h.d, true, 0
	r.d.readers.set(r, r.pos)
	return nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	r.use.Lock()
	defer r.use.Unlock()
	for {
		n, err := r.await()
		if err != nil {
			return 0, err
		}
		k, err := r.rd.ReadAt(p[:min(int64(len(p)), n)], r.pos)
		if errors.Is(err, store.ErrNotHeld) && k == 0 {
			r.d.do(r.d.reckon) // dropped since await looked
			continue
		}
		r.advance(int64(k))
		if errors.Is(err, io.EOF) || k > 0 {
			err = nil
		}
		return k, err
	}
}

// Skip implements Reader.
func (r *reader) Skip() (int64, error) {
	r.use.Lock()
	defer r.use.Unlock()
	for {
		n, err := r.await()
		if err != nil {
			return 0, err
		}
		var first [1]byte // the store verifies a suspect piece before it gives out a byte of it
		_, err = r.rd.ReadAt(first[:], r.pos)
		if errors.Is(err, store.ErrNotHeld) {
			r.d.do(r.d.reckon)
			continue
		}
		if err != nil {
			return 0, err
		}
		l := r.d.task.Layout()
		off, size := l.Range(l.At(r.pos))
		n = min(n, off+size-r.pos)
		r.advance(n)
		return n, nil
	}
}

// Held implements Reader.
func (r *reader) Held() int64 {
	r.use.Lock()
	defer r.use.Unlock()
	l := r.d.task.Layout()
	end := r.end
	if l.Known() && (end < 0 || end > l.Length) {
		end = l.Length
	}
	return r.held(end, math.MaxInt64)
}

// WriteTo implements io.WriterTo.
func (r *reader) WriteTo(w io.Writer) (total int64, err error) {
	r.use.Lock()
	defer r.use.Unlock()
	for {
		n, err := r.await()
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		k, err := r.rd.Send(w, r.pos, n)
		total += k
		r.advance(k)
		if errors.Is(err, store.ErrNotHeld) {
			r.d.do(r.d.reckon)
		} else if err != nil {
			return total, err
		}
	}
}

func (r *reader) advance(n int64) {
	r.pos += n
	r.d.readers.set(r, r.pos)
}

// maxSend bounds one move of bytes, so that a reader's position, which the mesh follows, stays fresh. In bytes.
const maxSend = 4 << 20

// await waits until bytes at the position are held and returns how many are in a row; io.EOF at the end.
func (r *reader) await() (int64, error) {
	for {
		if err := r.ready(); err != nil {
			return 0, err
		}
		gained, changed := r.d.task.News(r.since)
		r.since += len(gained)
		l := r.d.task.Layout()
		end := r.end
		if l.Known() && (end < 0 || end > l.Length) {
			end = l.Length
		}
		if end >= 0 && r.pos >= end {
			return 0, io.EOF
		}
		if n := r.held(end, maxSend); n > 0 {
			return n, nil
		}
		select {
		case <-changed:
		case <-r.d.failed:
			return 0, r.d.err
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		case <-r.d.ended:
			if r.held(end, maxSend) > 0 {
				continue
			}
			if err := r.rejoin(); err != nil {
				return 0, err
			}
		}
	}
}

// ready waits until the content can be read.
func (r *reader) ready() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	select {
	case <-r.d.opened:
	case <-r.d.failed:
		return r.d.err
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	if r.rd != nil {
		return nil
	}
	rd, err := r.d.task.Reader()
	if err != nil {
		return fmt.Errorf("open content for reading: %w", err)
	}
	r.rd = rd
	return nil
}

// held is how many bytes from the position on are held in a row, up to end (-1: unknown) and most.
func (r *reader) held(end, most int64) int64 {
	l := r.d.task.Layout()
	at := r.pos
	for at-r.pos < most && (end < 0 || at < end) && r.d.task.Has(l.At(at)) {
		off, n := l.Range(l.At(at))
		at = off + n
	}
	if end >= 0 {
		at = min(at, end)
	}
	return min(at-r.pos, most)
}
