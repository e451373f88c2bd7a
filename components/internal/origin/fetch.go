package origin

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"
)

// Sink takes the bytes of a Fetch.
type Sink interface {
	// Start tells what the content is, once, before any Part. An error ends the Fetch, which returns it.
	Start(Info) error
	// Part returns the writer of the n bytes from off on; n is -1 in content of unknown length, for all that is left of it. Parts don't
	// overlap, begin nearly in ascending order, and several are open at once. An error ends the Fetch, which returns it. Safe for
	// concurrent use.
	Part(off, n int64) (PartWriter, error)
}

// PartWriter takes one part's bytes in order, from one goroutine. A write that waits holds up the origin, harmlessly. An *io.PipeWriter is one.
type PartWriter interface {
	// Write takes the bytes that follow; they are in a buffer that is used again.
	io.Writer
	// CloseWithError is the last call: nil after the part's last byte, which for a part of unknown length is the content's end, else
	// why the rest won't come. Its error ends the Fetch.
	CloseWithError(error) error
}

// Fetch reads the ranges of need, ascending and apart, into sink; nil means everything, an empty list nothing. The first GET asks for the
// first FirstPart bytes; an origin that answers with a part is asked for the others by several GETs at once, in order of offset. Any
// other sends one stream. Each part is resumed by itself at the exact offset when it breaks. Fetch returns when all
// writers are closed. It fails with a *StatusError where the origin refuses, ErrChanged where the content is not one, and
// context.Cause when ctx ends; parts that were closed with nil are good then too.
func (c *Client) Fetch(ctx context.Context, req Request, need []Range, sink Sink) error {
	if need == nil {
		need = []Range{{0, -1}}
	}
	if len(need) == 0 {
		return nil
	}
	ct, err := c.newContent(req)
	if err != nil {
		return err
	}
	if err := checkNeed(need); err != nil {
		return err
	}
	if err := ct.fetch(ctx, need, sink); err != nil {
		return fmt.Errorf("fetch %s: %w", redact(ct.home.url), err)
	}
	return nil
}

func checkNeed(need []Range) error {
	at := int64(0)
	for i, r := range need {
		if r.Off < at || r.N == 0 || (r.N < 0 && i < len(need)-1) || r.Off+max(r.N, 0) < r.Off {
			return fmt.Errorf("origin: range %d, %d bytes from %d, is empty, out of order or overlaps", i, r.N, r.Off)
		}
		at = r.Off + r.N
	}
	return nil
}

func (ct *content) fetch(ctx context.Context, need []Range, sink Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	off := need[0].Off
	first := ct.c.cut(off, ct.c.cfg.FirstPart)
	if need[0].N >= 0 {
		first = min(first, off+need[0].N)
	}
	s := ct.stream(ctx, off, first)
	s.clamp = need[0].N < 0
	defer s.Close()
	if err := s.open(); err != nil {
		return err
	}
	info := ct.info()
	if err := sink.Start(info); err != nil {
		return err
	}
	if s.whole {
		s.end = info.Length
		return ct.sequential(s, need, sink)
	}
	need, err := fit(need, info.Length)
	if err != nil {
		return err
	}
	return ct.parallel(ctx, group, s, need, sink)
}

// fit gives an open end its number of bytes, and refuses ranges that the content does not have.
func fit(need []Range, length int64) ([]Range, error) {
	fitted := make([]Range, 0, len(need))
	for _, r := range need {
		if r.N < 0 {
			r.N = length - r.Off
		}
		if r.Off+r.N > length || r.N < 0 {
			return nil, fmt.Errorf("%w: it has %d bytes, %d were asked for", ErrChanged, length, r.Off+max(r.N, 0))
		}
		if r.N > 0 {
			fitted = append(fitted, r)
		}
	}
	return fitted, nil
}

// sequential takes everything from s, which the origin sends whole and perhaps without a length.
func (ct *content) sequential(s *stream, need []Range, sink Sink) error {
	if s.end >= 0 {
		var err error
		if need, err = fit(need, s.end); err != nil {
			return err
		}
	}
	for _, r := range need {
		if err := s.forward(r.Off); err != nil {
			return err
		}
		if err := s.part(r.N, sink); err != nil {
			return err
		}
	}
	return nil
}

// parallel copies the part that s has begun, and beside it the rest of need, cut into parts.
func (ct *content) parallel(ctx context.Context, group *errgroup.Group, s *stream, need []Range, sink Sink) error {
	parts := ct.c.parts(need, s.end)
	todo := make(chan Range, len(parts)) // filled first: whichever worker runs first takes the lowest
	for _, r := range parts {
		todo <- r
	}
	close(todo)
	work := func() error {
		for r := range todo {
			s := ct.stream(ctx, r.Off, r.Off+r.N)
			if err := s.part(r.N, sink); err != nil {
				return err
			}
		}
		return nil
	}
	group.Go(func() error {
		if s.off < s.end {
			if err := s.part(s.end-s.off, sink); err != nil {
				return err
			}
		}
		return work()
	})
	for range min(ct.c.cfg.Parallel-1, len(parts)) {
		group.Go(work)
	}
	return group.Wait()
}

// parts cuts what of need lies behind from, each part ending at a multiple of FirstPart or at the end of its range.
func (c *Client) parts(need []Range, from int64) []Range {
	var cuts []Range
	for _, r := range need {
		end := r.Off + r.N
		off := max(r.Off, from)
		size := max(c.cfg.MinPart, (end-off+int64(c.cfg.MaxParts)-1)/int64(c.cfg.MaxParts))
		for off < end {
			next := min(c.cut(off, size), end)
			cuts = append(cuts, Range{off, next - off})
			off = next
		}
	}
	return cuts
}

// cut is the first multiple of FirstPart at or behind off+size.
func (c *Client) cut(off, size int64) int64 {
	unit := c.cfg.FirstPart
	return (off + size + unit - 1) / unit * unit
}

// part copies the next n bytes, or all with a negative n, to a writer of sink.
func (s *stream) part(n int64, sink Sink) (err error) {
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	off := s.off
	w, err := sink.Part(off, n)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
		if cerr := w.CloseWithError(err); err == nil {
			err = cerr
		}
	}()
	buf := s.ct.c.buffer()
	defer s.ct.c.buffers.Put(buf)
	for n < 0 || s.off < off+n {
		p := buf[:]
		if n >= 0 {
			p = p[:min(int64(len(p)), off+n-s.off)]
		}
		got, rerr := s.Read(p)
		if got > 0 {
			if _, err := w.Write(p[:got]); err != nil {
				return err
			}
		}
		if errors.Is(rerr, io.EOF) && n < 0 {
			return nil
		}
		if errors.Is(rerr, io.EOF) {
			return fmt.Errorf("%w: it ends at byte %d, %d were asked for", ErrChanged, s.off, off+n)
		}
		if rerr != nil {
			return rerr
		}
	}
	return nil
}

// forward moves to the byte at off, by reading on, or, with no body open, at once.
func (s *stream) forward(off int64) error {
	buf := s.ct.c.buffer()
	defer s.ct.c.buffers.Put(buf)
	for s.off < off {
		if s.err != nil {
			return s.err
		}
		if s.body == nil {
			s.off = off
			break
		}
		n := s.readBody(buf[:min(off-s.off, int64(len(buf)))])
		s.ct.c.metrics.skipped.Add(float64(n))
		if s.end >= 0 && s.off >= s.end && s.off < off {
			return fmt.Errorf("%w: it ends at byte %d, %d were asked for", ErrChanged, s.end, off)
		}
	}
	return nil
}
