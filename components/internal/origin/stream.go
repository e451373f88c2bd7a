package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// progress is how many bytes a try must have brought for the count of failures to begin anew: little enough that a connection that breaks
// now and then never ends a long download, enough that an origin that sends a byte a try does.
const progress = 1 << 20

// The backoff's first and greatest bound: jitter is drawn from the full width below it, so that nodes that failed together don't
// come back together.
const (
	backoffFirst = 200 * time.Millisecond
	backoffMax   = 10 * time.Second
)

// stream is one ordered run of bytes that resumes by itself. Not safe for concurrent use.
type stream struct {
	ct   *content
	ctx  context.Context
	off  int64 // next byte to give
	end  int64 // exclusive; -1 for the end of the content, until that is known
	err  error // final
	body io.ReadCloser
	// clamp says that end may lie behind the content's, and is moved there once that is known. Otherwise it is an error.
	clamp bool
	whole bool  // body is everything, not a part
	fails int   // in a row
	since int64 // bytes since the last failure
	skips int
	pause time.Duration // before the next try
}

func (ct *content) stream(ctx context.Context, off, end int64) *stream {
	return &stream{ct: ct, ctx: ctx, off: off, end: end}
}

// Read gives the next bytes. io.EOF comes only when all that was asked for, or all the content, has been given.
func (s *stream) Read(p []byte) (int, error) {
	for s.err == nil {
		if s.end >= 0 && s.off >= s.end {
			s.drop()
			return 0, io.EOF
		}
		if s.body == nil {
			if s.open() != nil {
				break
			}
			continue
		}
		if n := s.readBody(p); n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, s.err
}

// readBody reads once and takes note of how that ended.
func (s *stream) readBody(p []byte) int {
	if s.end >= 0 {
		p = p[:min(int64(len(p)), s.end-s.off)]
	}
	n, err := s.body.Read(p)
	s.off += int64(n)
	s.since += int64(n)
	switch {
	case s.end >= 0 && s.off >= s.end: // how the body ends does not matter any more
		s.drop()
	case err == io.EOF && s.end < 0: // the length was never told
		s.drop()
		s.end = s.off
	case err == io.EOF:
		s.drop()
		s.short()
	case err != nil:
		s.drop()
		s.failed(err)
	}
	return n
}

// short handles an answer that was right but ended before all that was asked for: the next try asks for the rest.
func (s *stream) short() {
	switch {
	case s.ct.length() < 0:
		s.err = fmt.Errorf("%w: it ends at byte %d, %d were asked for", ErrChanged, s.off, s.end)
	case s.since >= progress: // an origin that bounds its answers; no failure
		s.since, s.fails = 0, 0
	default:
		s.failed(fmt.Errorf("%w: a short part", errLie))
	}
}

// open gets an answer positioned at off, trying again as configured. The error is also kept for Read.
func (s *stream) open() error {
	for s.err == nil && s.body == nil {
		if s.rest(); s.err != nil {
			break
		}
		a, err := s.ct.try(s.ctx, s.off, s.end)
		switch {
		case err != nil:
			s.failed(err)
		case a == nil && (s.clamp || s.end < 0):
			s.end = s.off
			return nil
		case a == nil:
			s.err = fmt.Errorf("%w: it has %d bytes, %d were asked for", ErrChanged, s.off, s.end)
		default:
			s.use(a)
		}
	}
	return s.err
}

// use makes a the body, and skips to off where the origin sent everything.
func (s *stream) use(a *answer) {
	s.body, s.whole = a.body, a.whole
	length := s.ct.length()
	if length >= 0 && (s.end < 0 || s.clamp && s.end > length) {
		s.end = length
	}
	if length >= 0 && max(s.off, s.end) > length {
		s.drop()
		s.err = fmt.Errorf("%w: it has %d bytes, %d were asked for", ErrChanged, length, max(s.off, s.end))
		return
	}
	if err := s.skip(s.off - a.start); err != nil {
		s.drop()
		s.failed(err)
	}
}

// skip throws away the next n bytes of the body. Without ranges there is no cheaper way, but it costs what was read already, so
// it may happen only so often, progress or not.
func (s *stream) skip(n int64) error {
	if n <= 0 {
		return nil
	}
	if s.skips++; s.skips > 1+max(0, s.ct.c.cfg.Retries) {
		return errSkips
	}
	buf := s.ct.c.buffer()
	defer s.ct.c.buffers.Put(buf)
	for n > 0 {
		got, err := s.body.Read(buf[:min(n, int64(len(buf)))])
		n -= int64(got)
		s.ct.c.metrics.skipped.Add(float64(got))
		if err == io.EOF && n > 0 {
			return fmt.Errorf("%w: it ends before byte %d", ErrChanged, s.off)
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("skip to byte %d: %w", s.off, err)
		}
	}
	return nil
}

// failed decides whether another try is worth it, and when. If not, err becomes final.
func (s *stream) failed(err error) {
	if cause := context.Cause(s.ctx); cause != nil {
		s.err = cause
		return
	}
	if !retryable(err) {
		s.err = err
		return
	}
	if s.since >= progress {
		s.fails = 0
	}
	s.since = 0
	c := s.ct.c
	if s.fails++; s.fails > c.cfg.Retries {
		s.err = fmt.Errorf("at byte %d, after %d tries: %w", s.off, s.fails, err)
		return
	}
	if s.fails > 1 {
		s.ct.forget() // the redirect may have led to a broken server
	}
	c.metrics.retry(err)
	s.pause = c.backoff(s.fails, err)
	c.log.Debug("origin failed, will ask again",
		"url", redact(s.ct.home.url), "offset", s.off, "try", s.fails, "wait", s.pause, "error", err)
}

// rest waits before the next try, where the last one failed. It is apart from failed so that bytes which came before the failure
// are given out without delay.
func (s *stream) rest() {
	if s.pause <= 0 {
		return
	}
	timer := time.NewTimer(s.pause)
	defer timer.Stop()
	s.pause = 0
	select {
	case <-timer.C:
	case <-s.ctx.Done():
		s.err = context.Cause(s.ctx)
	}
}

// backoff is how long to wait after the n-th failure in a row.
func (c *Client) backoff(n int, err error) time.Duration {
	width := min(backoffFirst<<min(n-1, 16), backoffMax)
	jitter := time.Duration(c.random() * float64(width))
	if status, ok := errors.AsType[*StatusError](err); ok {
		if wait, told := retryAfter(status.Header, time.Now()); told {
			return wait + min(jitter, time.Second)
		}
	}
	return jitter
}

func (s *stream) drop() {
	if s.body != nil {
		s.body.Close()
		s.body = nil
	}
}

// Close ends the stream. It returns no error.
func (s *stream) Close() error {
	s.drop()
	if s.err == nil {
		s.err = errors.New("origin: read after close")
	}
	return nil
}
