package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// swarmContent is the content of a task as io.ReadSeeker for http.ServeContent. It reads from the download, opened at the first read,
// and, from where that fails on, from the origin.
type swarmContent struct {
	m    *Mirror
	q    *request
	o    *opened
	size int64 // -1 while unknown

	mu         sync.Mutex // guards the fields below: ServeContent's goroutine for multi-part answers may outlive it by one Read
	off        int64
	r          io.ReadCloser // at off, nil if none is open
	fromOrigin bool
	err        error // why the content can't be had
}

func newContent(m *Mirror, q *request, o *opened) *swarmContent {
	return &swarmContent{m: m, q: q, o: o, size: o.meta.Length}
}

var errClosed = errors.New("content closed")

// close ends reads under way and to come, and all else that is done for the request.
func (c *swarmContent) close() {
	c.o.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeReader()
	if c.err == nil {
		c.err = errClosed
	}
}

func (c *swarmContent) closeReader() {
	if c.r != nil {
		c.r.Close()
		c.r = nil
	}
}

// failure tells why bytes are missing, nil if none are.
func (c *swarmContent) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Seek implements io.Seeker. It opens nothing.
func (c *swarmContent) Seek(offset int64, whence int) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += c.off
	case io.SeekEnd:
		offset += c.size
	}
	if offset != c.off {
		c.closeReader()
	}
	c.off = offset
	return offset, nil
}

// Read implements io.Reader.
func (c *swarmContent) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if c.size >= 0 && c.off >= c.size {
		return 0, io.EOF
	}
	for {
		n, err := c.read(p)
		c.off += int64(n)
		if n > 0 || err == nil || err == io.EOF && c.size < 0 { //nolint:errorlint // a reader ends with io.EOF itself
			return n, err
		}
		if c.err = c.change(err); c.err != nil {
			return 0, c.err
		}
	}
}

// read once from where c is, opening what is needed.
func (c *swarmContent) read(p []byte) (int, error) {
	if c.r == nil {
		n := int64(-1)
		if c.size >= 0 {
			n = c.size - c.off
		}
		r, err := c.openAt(n)
		if err != nil {
			return 0, err
		}
		c.r = r
	}
	return c.r.Read(p)
}

// openAt opens n bytes from where c is. c.mu is held.
func (c *swarmContent) openAt(n int64) (io.ReadCloser, error) {
	if c.fromOrigin {
		return c.openOrigin(n)
	}
	if c.o.handle == nil {
		if err := c.m.open(c.q, c.o, metaTimeout); err != nil {
			return nil, err
		}
	}
	r := c.o.handle.Reader(c.off, n)
	// A reader waits for bytes, not for the request: without this, one whose client left would wait until some come.
	stop := context.AfterFunc(c.q.ctx(), func() { r.Close() })
	return &watched{r, stop}, nil
}

// watched is a reader that is closed when the request ends.
type watched struct {
	io.ReadCloser
	stop func() bool
}

func (w *watched) Close() error {
	w.stop()
	return w.ReadCloser.Close()
}

// WriteTo implements io.WriterTo.
func (w *watched) WriteTo(dst io.Writer) (int64, error) { return io.Copy(dst, w.ReadCloser) }

func (c *swarmContent) openOrigin(n int64) (io.ReadCloser, error) {
	total, body, err := c.m.origin.Stream(c.q.ctx(), c.q.url(), c.q.header(), c.off, n)
	if err != nil {
		return nil, err
	}
	if c.size >= 0 && total >= 0 && total != c.size {
		body.Close()
		return nil, fmt.Errorf("the origin has %d bytes of this digest, the swarm %d", total, c.size)
	}
	return body, nil
}

// change goes over to the origin because of err, unless that is where err is from or nobody waits any more. c.mu is held.
func (c *swarmContent) change(err error) error {
	c.closeReader()
	if c.q.ctx().Err() != nil {
		return context.Cause(c.q.ctx())
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if c.fromOrigin {
		return fmt.Errorf("read from the origin: %w", err)
	}
	c.fromOrigin = true
	c.m.metrics.fallbacks.WithLabelValues("body").Inc()
	c.q.logger(c.m).Warn("mirror: download failed, going on from the origin", "offset", c.off, "error", err)
	return nil
}

// sendTo writes n bytes to w, all to the end for a negative n, by the reader's own WriteTo where it has one: that may be sendfile.
func (c *swarmContent) sendTo(w io.Writer, n int64) (sent int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	c.closeReader()
	for n != 0 {
		k, err := c.sendOnce(w, n)
		c.off, sent = c.off+k, sent+k
		if n > 0 {
			n -= k
		}
		if n == 0 || n < 0 && err == nil {
			break
		}
		if err == nil {
			err = io.EOF
		}
		if isClientGone(err) {
			c.o.cancel()
		}
		if c.err = c.change(err); c.err != nil {
			return sent, c.err
		}
	}
	return sent, nil
}

func (c *swarmContent) sendOnce(w io.Writer, n int64) (int64, error) {
	r, err := c.openAt(n)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if n >= 0 && c.fromOrigin {
		return io.Copy(w, io.LimitReader(r, n))
	}
	return io.Copy(w, r) // uses WriteTo, else ReadFrom
}

// isClientGone recognises a failed write to the client, after which nobody needs the rest.
func isClientGone(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "write" || op.Op == "readfrom") && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET))
}

// sender is the ResponseWriter that http.ServeContent sees. It hands whole runs of the content to sendTo, and turns errors into OCI's
// shape.
type sender struct {
	http.ResponseWriter
	c      *swarmContent
	whole  bool // the content has no ranges
	failed bool // an error was written instead of content
}

func (s *sender) WriteHeader(status int) {
	if s.whole {
		s.Header().Del("Accept-Ranges")
	}
	if status < 400 {
		s.ResponseWriter.WriteHeader(status)
		return
	}
	s.failed = true
	code, message := codeRange, "the range asked for is not in the content"
	if status != http.StatusRequestedRangeNotSatisfiable {
		code, message = codeUnsupported, http.StatusText(status)
	} else if s.c != nil {
		s.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", s.c.size))
	}
	fail(s.ResponseWriter, status, code, message)
}

func (s *sender) Write(p []byte) (int, error) {
	if s.failed {
		return len(p), nil
	}
	return s.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom.
func (s *sender) ReadFrom(src io.Reader) (int64, error) {
	if l, ok := src.(*io.LimitedReader); ok && s.c != nil && l.R == io.Reader(s.c) {
		n, err := s.c.sendTo(s.ResponseWriter, l.N)
		l.N -= n
		return n, err
	}
	return io.Copy(s.ResponseWriter, src)
}
