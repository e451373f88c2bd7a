package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

const (
	// maxHead bounds the head of an answer, in bytes.
	maxHead = 64 << 10
	// maxText bounds the body of an answer that refuses, in bytes: it is read so that the connection can go on.
	maxText = 4 << 10
	// digestWait bounds the wait for a digest that the control plane has still to tell.
	digestWait = 2 * time.Second
)

// buffers hold what is received between socket and file. They bound memory: one a connection that is receiving.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// capped is a reader that gives up after left bytes, so that no peer can make us read an endless head.
type capped struct {
	r    io.Reader
	left int64
}

var errTooLong = errors.New("answer is longer than it may be")

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLong
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// answer reads one answer and stores what it brings.
type answer struct {
	lane    *lane
	waker   *waker
	in      *capped
	br      *bufio.Reader
	request Request
	body    io.Reader
	bytes   int64
}

// read returns how the request ended, and an error when the connection can't go on.
func (a *answer) read() (Result, error) {
	// The body is read here or the connection cut: closing it would read on to its end, however far that is.
	resp, err := http.ReadResponse(a.br, nil) //nolint:bodyclose // see above
	if err != nil {
		return Broken, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode == http.StatusPartialContent {
		return a.content(resp)
	}
	how := Broken
	switch resp.StatusCode {
	case http.StatusServiceUnavailable:
		how = Busy
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable:
		how = Lacking
	case http.StatusNoContent:
		how = PickAgain
		if resp.Header.Get(api.HeaderPick) == api.PickOver {
			how = PickOver
		}
	default:
		err = fmt.Errorf("parent answered %s", resp.Status)
	}
	if n, rerr := io.Copy(io.Discard, io.LimitReader(resp.Body, maxText+1)); err == nil && (rerr != nil || n > maxText) {
		err = errTooLong
	}
	if resp.Close && err == nil {
		err = errors.New("parent closes the connection")
	}
	return how, err
}

// content reads the pieces of a 206.
func (a *answer) content(resp *http.Response) (Result, error) {
	task := a.lane.link.task
	layout := task.Layout()
	off, n, err := parseContentRange(resp.Header.Get("Content-Range"))
	if err != nil {
		return Broken, err
	}
	if n != resp.ContentLength || off%layout.Size != 0 || n > a.limit(layout) {
		return Broken, fmt.Errorf("answer holds bytes %d+%d, which was not asked for", off, n)
	}
	first := layout.At(off)
	if !a.request.Pick {
		if want, end := bounds(layout, a.request.First, a.request.Count); off != want || n != end-want {
			return Broken, fmt.Errorf("answer holds bytes %d+%d, asked for %d-%d", off, n, want, end-1)
		}
	}
	proofs, err := proof.ParseList(resp.Header.Get(api.HeaderProof), int((n+layout.Size-1)/layout.Size))
	if err != nil {
		a.lane.link.events.Wrong(a.lane.link.parent.Peer, first)
		return Broken, fmt.Errorf("answer for pieces from %d on: %w", first, err)
	}
	a.body = resp.Body
	a.in.left = n + maxHead // what is buffered ahead included
	defer a.waker.set(1)    // the next bytes may be a head alone
	for i := first; n > 0; i++ {
		_, size := layout.Range(i)
		size = min(size, n)
		var p *proof.Proof
		if len(proofs) > 0 {
			p, proofs = proofs[0], proofs[1:]
		}
		if err := a.piece(i, size, p); err != nil {
			return Broken, err
		}
		n -= size
	}
	return Served, nil
}

// limit is the most that the request may bring: a pick brings at least a piece.
func (a *answer) limit(l piece.Layout) int64 {
	if a.request.Pick {
		return max(a.request.Limit, l.Size)
	}
	return int64(a.request.Count) * l.Size
}

// piece reads, verifies and keeps one piece, whose digest p proves unless nil.
func (a *answer) piece(i int, size int64, p *proof.Proof) error {
	link := a.lane.link
	ctx, cancel := context.WithTimeout(a.lane.ctx, digestWait)
	d, err := link.task.Digest(ctx, i, p)
	cancel()
	if errors.Is(err, proof.ErrWrong) {
		link.events.Wrong(link.parent.Peer, i)
	}
	if err != nil {
		return fmt.Errorf("digest of piece %d: %w", i, err)
	}
	w, err := link.task.Writer(i, d)
	if err != nil {
		link.events.Full(err)
		return fmt.Errorf("start piece %d: %w", i, err)
	}
	if w == nil {
		if err := a.copy(io.Discard, size); err != nil {
			return err
		}
		link.events.Piece(link.parent.Peer, i, size, false)
		return nil
	}
	defer w.Abort()
	if err := a.copy(w, size); err != nil {
		return fmt.Errorf("receive piece %d: %w", i, err)
	}
	switch _, err := w.Commit(); {
	case errors.Is(err, store.ErrDigest):
		link.events.Wrong(link.parent.Peer, i)
		return fmt.Errorf("piece %d: %w", i, err)
	case err != nil:
		link.events.Full(err)
		return fmt.Errorf("keep piece %d: %w", i, err)
	}
	link.events.Piece(link.parent.Peer, i, size, true)
	return nil
}

// copy moves size bytes of the body to w through a pooled buffer.
func (a *answer) copy(w io.Writer, size int64) error {
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	for size > 0 {
		n, err := a.waker.read(a.body, buf[:min(size, int64(len(buf)))], int(size)-a.br.Buffered())
		if err != nil && n == 0 {
			return err
		}
		if lim := a.lane.link.cfg.Limiter; lim != nil {
			if err := lim.WaitN(a.lane.ctx, n); err != nil {
				return err
			}
		}
		if _, err := w.Write(buf[:n]); err != nil {
			if errors.Is(err, store.ErrNoSpace) {
				a.lane.link.events.Full(err)
			}
			return err
		}
		a.bytes += int64(n)
		a.lane.link.events.Received(n)
		size -= int64(n)
	}
	return nil
}

// bounds returns the first byte of a run of pieces and the one after its last.
func bounds(l piece.Layout, first, count int) (off, end int64) {
	off, _ = l.Range(first)
	lastOff, n := l.Range(first + count - 1)
	return off, lastOff + n
}

// parseContentRange reads "bytes first-last/total" (RFC 9110, section 14.4); total may be "*".
func parseContentRange(h string) (off, n int64, err error) {
	spec, ok := strings.CutPrefix(h, "bytes ")
	span, _, slash := strings.Cut(spec, "/")
	lo, hi, dash := strings.Cut(span, "-")
	first, err1 := strconv.ParseUint(lo, 10, 62)
	last, err2 := strconv.ParseUint(hi, 10, 62)
	if !ok || !slash || !dash || err1 != nil || err2 != nil || last < first {
		return 0, 0, fmt.Errorf("answer has no usable Content-Range: %.64q", h)
	}
	return int64(first), int64(last-first) + 1, nil
}
