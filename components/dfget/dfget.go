package dfget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"golang.org/x/time/rate"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/config"
	"github.com/dragonfly-kube/dragonfly/components/internal/localapi"
)

// Streams are the program's standard streams.
type Streams struct {
	// Out takes the content when the output is "-".
	Out io.Writer
	// Err takes progress.
	Err io.Writer
	// Terminal says that Err is one.
	Terminal bool
}

// Run downloads. Errors have an exit code: *Error or *config.UsageError.
func Run(ctx context.Context, c Config, streams Streams, log *slog.Logger) error {
	if err := c.Validate(); err != nil {
		return &config.UsageError{Err: err}
	}
	g := &get{cfg: &c, streams: streams, log: log, sources: []source{daemonSource(&c), engineSource(&c, log)}}
	if !c.NoOrigin {
		g.sources = append(g.sources, originSource(&c, log))
	}
	return g.run(ctx)
}

// source is a way to the content.
type source struct {
	name string
	// after reports whether this source may help once the one before failed with err; nil for always.
	after func(err error) bool
	// open returns a Fetcher and what ends it. keep says that what is on disk may help the next call.
	open func(ctx context.Context) (f localapi.Fetcher, shut func(keep bool), err error)
}

// get is one run of the program.
type get struct {
	cfg     *Config
	streams Streams
	log     *slog.Logger
	sources []source

	req    api.FetchRequest
	out    output
	show   progress
	rate   *rate.Limiter // nil for none
	length int64         // of the content, -1 while unknown

	copies  bool              // the output is no other name for a source's file
	written int64             // bytes, by this run
	before  api.Shares        // received through sources that are gone
	shares  func() api.Shares // received so far
}

func (g *get) run(ctx context.Context) error {
	started := time.Now()
	if g.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, g.cfg.Timeout, errTimeout)
		defer cancel()
	}
	want, err := g.prepare()
	if err != nil {
		return explain(ctx, err, g.cfg, false)
	}
	if g.out, err = openOutput(g.cfg, g.streams.Out, want); err != nil {
		return explain(ctx, err, g.cfg, false)
	}
	err = g.tryAll(ctx)
	if err != nil {
		return explain(ctx, err, g.cfg, g.out.Close(keeps(ctx, err)))
	}
	if g.cfg.Output != "-" {
		os.RemoveAll(g.cfg.Output + storeSuffix) // of a call that was interrupted, or found no place in it
	}
	fmt.Fprintln(g.streams.Err, summary(g.cfg, g.written, time.Since(started), g.before))
	return nil
}

func (g *get) prepare() ([]wanted, error) {
	var err error
	if g.req, err = g.cfg.request(); err != nil {
		return nil, err
	}
	if limit := g.cfg.limit(); limit > 0 {
		g.rate = rate.NewLimiter(rate.Limit(limit), int(min(limit, chunk)))
	}
	if g.show = progress(&lines{w: g.streams.Err}); g.cfg.Bar || g.streams.Terminal && !g.cfg.Lines {
		g.show = &bar{w: g.streams.Err}
	}
	g.shares = func() api.Shares { return api.Shares{} }
	return g.cfg.wanted()
}

// keeps reports whether the beginning of the content is worth keeping after err: not where it is wrong, or will never be given.
func keeps(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	if errors.Is(err, errDigest) || errors.Is(err, errChanged) {
		return false
	}
	e, ok := errors.AsType[*api.Error](err)
	return !ok || e.Code != api.CodeInvalid && e.Status/100 != 4
}

// tryAll goes through the sources until one has brought all of it.
func (g *get) tryAll(ctx context.Context) error {
	defer g.show.end()
	var last error
	for _, s := range g.sources {
		if s.after != nil && last != nil && !s.after(last) {
			break
		}
		err := g.try(ctx, s)
		if err == nil || ctx.Err() != nil || !movesOn(err) {
			return err
		}
		g.log.Info("going on another way", "after", s.name, "err", err)
		last = err
	}
	return last
}

// movesOn reports whether another source may do what this one could not. A dfdaemon may not reach an origin that this process does:
// it has rules about addresses, and other certificates.
func movesOn(err error) bool {
	if errors.Is(err, localapi.ErrNoDaemon) {
		return true
	}
	e, ok := errors.AsType[*api.Error](err)
	return ok && (e.Code == api.CodeOverloaded || e.Code == api.CodeInternal || e.Code == api.CodeOrigin && e.Status == 0)
}

func (g *get) try(ctx context.Context, s source) (err error) {
	f, shut, err := s.open(ctx)
	if err != nil {
		return err
	}
	// Pieces that there is no place for leave it to the next source.
	defer func() { shut(err != nil && keeps(ctx, err) && !noPlace(err)) }()
	for {
		again, err := g.fetch(ctx, f)
		if !again {
			return err
		}
		if err := g.out.Restart(); err != nil {
			return err
		}
	}
}

// fetch asks for what is missing and writes it. again says that what is there is no beginning of it.
func (g *get) fetch(ctx context.Context, f localapi.Fetcher) (again bool, err error) {
	p, isFile := g.out.(*partial)
	if isFile && p.file != nil { // the file of a source that failed
		if err := p.Restart(); err != nil {
			return false, err
		}
	}
	g.req.Offset = g.out.Offset()
	content, err := f.Fetch(ctx, g.req)
	if e, ok := errors.AsType[*api.Error](err); ok && e.Code == api.CodeBadRequest && g.req.Offset > 0 {
		return true, nil // it may be shorter now
	}
	if err != nil {
		return false, err
	}
	defer content.Body.Close()
	ok, err := g.out.Accept(identify(content, g.req.Digest != ""))
	if !ok || err != nil {
		return err == nil, err
	}
	g.length = content.Length
	done := g.before
	g.shares = func() api.Shares { return add(done, content.Shares()) }
	defer func() { g.before = g.shares() }()
	if isFile && !g.copies && p.lend(content.File) {
		return g.take(ctx, p, content)
	}
	g.show.begin(g.length, g.out.Offset())
	if _, err := io.Copy(&sink{g: g, ctx: ctx}, content.Body); err != nil {
		return false, err
	}
	return false, g.out.Commit(g.length)
}

// take has the source's file become the output. What has no digest to match is not even read. again says that the bytes have to be copied.
func (g *get) take(ctx context.Context, p *partial, content *localapi.Content) (again bool, err error) {
	got := content.Shares()
	held := max(0, content.File.Held()-got.FromSeed-got.FromPeers-got.FromOrigin) // by an earlier run
	g.written = -held
	g.show.begin(g.length, held)
	for err == nil && len(p.sums.want) == 0 {
		var n int64
		if n, err = content.File.Skip(); err == nil {
			err = context.Cause(ctx)
		}
		p.skip(n)
		g.written += n
		g.show.at(p.Offset(), g.shares)
	}
	if len(p.sums.want) > 0 {
		_, err = io.Copy(&sink{g: g, ctx: ctx}, content.Body)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	err = p.Commit(g.length)
	if errors.Is(err, errors.ErrUnsupported) {
		g.copies, g.written = true, 0
		return true, nil
	}
	return false, err
}

func add(a, b api.Shares) api.Shares {
	return api.Shares{FromSeed: a.FromSeed + b.FromSeed, FromPeers: a.FromPeers + b.FromPeers, FromOrigin: a.FromOrigin + b.FromOrigin}
}

// chunk bounds one write, in bytes, so that the rate is even and an interruption is noticed.
const chunk = 1 << 20

// sink writes to the output at the rate allowed, and shows progress.
type sink struct {
	g   *get
	ctx context.Context
}

// Write implements io.Writer.
func (s *sink) Write(b []byte) (total int, err error) {
	for len(b) > 0 {
		if err := context.Cause(s.ctx); err != nil {
			return total, err
		}
		part := b[:min(len(b), chunk)]
		if s.g.rate != nil {
			part = b[:min(len(b), s.g.rate.Burst())]
			if err := s.g.rate.WaitN(s.ctx, len(part)); err != nil {
				return total, err
			}
		}
		n, err := s.g.out.Write(part)
		total += n
		s.g.written += int64(n)
		if err != nil {
			return total, err
		}
		b = b[n:]
		s.g.show.at(s.g.out.Offset(), s.g.shares)
	}
	return total, nil
}
