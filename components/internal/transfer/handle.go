package transfer

import (
	"context"
	"io"
	"sync"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// Stats is where bytes came from since the handle was opened.
type Stats struct {
	// FromSeed, FromPeers and FromOrigin count content that this host received itself, in bytes.
	FromSeed, FromPeers, FromOrigin int64
}

// Total is all that was received.
func (s Stats) Total() int64 { return s.FromSeed + s.FromPeers + s.FromOrigin }

// Handle is one use of a task's content. Safe for concurrent use.
type Handle struct {
	d     *download
	start Stats
	once  sync.Once

	mu      sync.Mutex // guards readers
	readers []*reader
}

// Meta waits until the representation headers are known, and the length, which is -1 if the origin tells none. It fails with
// *origin.StatusError when the origin refused.
func (h *Handle) Meta(ctx context.Context) (api.Meta, error) {
	select {
	case <-h.d.opened:
		return h.d.task.Meta(), nil
	case <-h.d.failed:
		return api.Meta{}, h.d.err
	case <-ctx.Done():
		return api.Meta{}, ctx.Err()
	}
}

// Wait returns nil once the content is complete and verified.
func (h *Handle) Wait(ctx context.Context) error {
	select {
	case <-h.d.done:
		return nil
	case <-h.d.failed:
		return h.d.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reader is what Handle.Reader returns. One user at a time.
type Reader interface {
	io.ReadCloser
	// WriteTo moves the bytes without copying them where the writer can.
	io.WriterTo
	// Skip passes over the next bytes, up to the end of their piece, once they are held and verified, and tells how many. It returns
	// io.EOF at the end.
	Skip() (int64, error)
	// Held is how many bytes in a row are there already.
	Held() int64
}

// Reader gives n bytes from off on, in order, as they come; a negative n means to the end. It is a Reader. Call it after Meta returned. The
// caller closes it, before the handle.
func (h *Handle) Reader(off, n int64) io.ReadCloser {
	r := newReader(h.d, off, n)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers = append(h.readers, r)
	return r
}

// Interrupt ends the reads of this handle, those under way included, with an error. It may be called at any time.
func (h *Handle) Interrupt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.readers {
		r.cancel()
	}
}

// Source is where the content comes from: "cache" when it was on this host, "origin" when this host reads the origin, else "swarm".
func (h *Handle) Source() string {
	switch {
	case h.d.wasCached:
		return "cache"
	case h.d.atOrigin.Load():
		return "origin"
	}
	return "swarm"
}

// Stats tells where the bytes came from so far.
func (h *Handle) Stats() Stats {
	now := h.d.snapshot()
	return Stats{now.FromSeed - h.start.FromSeed, now.FromPeers - h.start.FromPeers, now.FromOrigin - h.start.FromOrigin}
}

// Close ends this use. The download goes on for others, and for a while for nobody.
func (h *Handle) Close() { h.once.Do(h.d.release) }
