package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// guard is a body whose reads are counted, held to the rate limit, and given up when nothing comes. Only the time spent in Read
// counts as a stall: a slow caller may take as long as it likes. Not safe for concurrent use, as any body.
type guard struct {
	c      *Client
	ctx    context.Context // of the request: the only way to end a read that hangs
	cancel context.CancelCauseFunc
	body   io.ReadCloser
	timer  *time.Timer
}

func (g *guard) Read(p []byte) (int, error) {
	p = p[:min(len(p), bufferSize)]
	if g.timer == nil {
		g.timer = time.AfterFunc(g.c.cfg.StallTimeout, func() { g.cancel(errStalled) })
	} else {
		g.timer.Reset(g.c.cfg.StallTimeout)
	}
	n, err := g.body.Read(p)
	g.timer.Stop()
	g.c.metrics.bytes.Add(float64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(g.ctx); cause != nil {
			err = cause
		}
		if errors.Is(err, errStalled) {
			g.c.metrics.stalls.Inc()
		}
		return n, err
	}
	if g.c.limiter != nil && n > 0 {
		if werr := g.c.limiter.WaitN(g.ctx, n); werr != nil && err == nil {
			err = fmt.Errorf("rate limit: %w", werr)
		}
	}
	return n, err
}

// start reads at most bufferSize bytes, taking no longer than a stall may: the body of an error or a redirect is not worth more.
func (g *guard) start() []byte {
	late := time.AfterFunc(g.c.cfg.StallTimeout, func() { g.cancel(errStalled) })
	defer late.Stop()
	body, _ := io.ReadAll(io.LimitReader(g, bufferSize)) // what came is better than nothing
	return body
}

// Close ends the request.
func (g *guard) Close() error {
	if g.timer != nil {
		g.timer.Stop()
	}
	err := g.body.Close()
	g.cancel(nil)
	return err
}

// exact passes on the left bytes of r that were promised, and finds out when r has fewer or more. The last bytes are held back until r's end
// is seen, so that a body that is too long gives an error instead of its beginning.
type exact struct {
	r    io.Reader
	left int64
}

func (e *exact) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.left -= int64(n)
	if e.left == 0 && err == nil {
		var probe [1]byte
		var more int
		for more == 0 && err == nil {
			more, err = e.r.Read(probe[:])
		}
		e.left -= int64(more)
	}
	switch {
	case e.left < 0:
		return 0, fmt.Errorf("%w: more bytes than promised", errLie)
	case e.left > 0 && err == io.EOF:
		return n, io.ErrUnexpectedEOF
	case e.left == 0 && err != io.EOF:
		return n, fmt.Errorf("end of body: %w", err)
	}
	return n, err
}
