package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// goToOrigin starts fetching what is missing from the origin, unless that goes on already. It runs on the loop.
func (d *download) goToOrigin(reason string) {
	if d.fetching || d.over() {
		return
	}
	if d.spec.NoOrigin {
		if d.session == nil || d.rejected {
			d.fail(ErrNoOrigin)
		}
		return
	}
	need := d.missing()
	if need != nil && len(need) == 0 {
		return
	}
	d.log.Info("going to the origin", "reason", reason, "ranges", len(need))
	d.m.metrics.fallbacks.WithLabelValues(reason).Inc()
	d.fetching = true
	d.atOrigin.Store(true)
	if d.session != nil {
		d.digests.all() // what the origin gives this host has to be compared
	}
	d.wg.Go(func() {
		err := d.m.deps.Origin.Fetch(d.ctx, d.originRequest(), need, &sink{d: d})
		d.do(func() { d.fetched(err) })
	})
}

// missing lists the byte ranges that are not held, nil for everything, as where nothing is known.
func (d *download) missing() []origin.Range {
	if d.task == nil || d.task.Count() == 0 {
		return nil
	}
	l := d.task.Layout()
	need := []origin.Range{}
	for i := 0; !l.Known() || i < l.Count(); i++ {
		if d.task.Has(i) {
			continue
		}
		off, n := l.Range(i)
		if !l.Known() {
			// Nobody knows the end yet: all from here on, the few held pieces behind included.
			return append(need, origin.Range{Off: off, N: -1})
		}
		if k := len(need); k > 0 && need[k-1].Off+need[k-1].N == off {
			need[k-1].N += n
			continue
		}
		need = append(need, origin.Range{Off: off, N: n})
	}
	return need
}

// fetched notes the end of the origin worker.
func (d *download) fetched(err error) {
	d.fetching = false
	d.atOrigin.Store(false)
	d.idle.time = 0
	if err == nil || d.over() {
		return
	}
	if d.source {
		d.source = false
		d.report.sourceFailed(err)
	}
	d.fetchFailures++
	if d.session != nil && !d.rejected && d.fetchFailures < maxFetchFailures && statusOf(err)/100 != 4 && !errors.Is(err, store.ErrNoSpace) {
		d.log.Warn("the origin failed; waiting for the swarm", "err", err)
		return
	}
	d.fail(err)
}

// maxFetchFailures is how often the origin may fail, with all its own retries, while the swarm brings nothing, before the download does.
const maxFetchFailures = 3

// sink cuts what the origin sends into pieces.
type sink struct{ d *download }

// Start implements origin.Sink.
func (s *sink) Start(info origin.Info) error {
	_, anonymous := api.Anonymous(s.d.spec.Header)
	meta := api.Meta{
		Length: info.Length, PieceSize: piece.Size(info.Length), Header: representation(info.Header),
		Public: anonymous && !info.Identified && !s.d.spec.Private,
	}
	return s.onLoop(func() error {
		if s.d.task != nil {
			l := s.d.task.Layout()
			if l.Known() && info.Length >= 0 && l.Length != info.Length {
				return fmt.Errorf("%w: the origin has %d bytes, the swarm %d", origin.ErrChanged, info.Length, l.Length)
			}
			meta.PieceSize = l.Size
		}
		return s.d.open(meta)
	})
}

// onLoop runs f on the loop and returns what it returned.
func (s *sink) onLoop(f func() error) error {
	done := make(chan error, 1)
	s.d.do(func() { done <- f() })
	select {
	case err := <-done:
		return err
	case <-s.d.ended:
		return context.Canceled
	}
}

// representation keeps the headers worth repeating, as the wire has them.
func representation(h http.Header) map[string]string {
	m := map[string]string{}
	for _, k := range []string{"Content-Type", "Etag", "Last-Modified", "Docker-Content-Digest"} {
		if v := h.Get(k); v != "" {
			m[k] = v
		}
	}
	return m
}

// Part implements origin.Sink.
func (s *sink) Part(off, _ int64) (origin.PartWriter, error) {
	l := s.d.task.Layout()
	if off%l.Size != 0 {
		return nil, fmt.Errorf("the origin's part starts at %d, which is no piece boundary", off)
	}
	return &part{sink: s, next: l.At(off)}, nil
}

// part writes one run of the origin's bytes piece by piece.
type part struct {
	sink *sink
	next int // piece that comes next
	cur  store.PieceWriter
	left int64 // of the current piece; meaningful while open
	size int64 // of the current piece
	open bool
}

// Write implements origin.PartWriter.
func (p *part) Write(b []byte) (total int, err error) {
	for len(b) > 0 {
		if !p.open {
			if err := p.begin(); err != nil {
				return total, err
			}
		}
		n := int(min(int64(len(b)), p.left))
		if p.cur != nil {
			if _, err := p.cur.Write(b[:n]); err != nil {
				return total, err
			}
		}
		b, total, p.left = b[n:], total+n, p.left-int64(n)
		if p.left == 0 {
			if err := p.end(); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

// begin starts the next piece; one that is held is skipped over.
func (p *part) begin() error {
	d := p.sink.d
	_, p.size = d.task.Layout().Range(p.next)
	p.left, p.open = p.size, true
	if d.task.Has(p.next) {
		return nil
	}
	var err error
	if p.cur, err = d.task.Writer(p.next, d.digests.get(p.next)); err != nil {
		return fmt.Errorf("keep piece %d: %w", p.next, err)
	}
	return nil
}

// end keeps the current piece.
func (p *part) end() error {
	d, i, n := p.sink.d, p.next, p.size-p.left
	w := p.cur
	p.cur, p.open, p.next = nil, false, p.next+1
	if w == nil {
		d.m.metrics.duplicates.Add(float64(n))
		return nil
	}
	sum, err := w.Commit()
	if err != nil {
		w.Abort()
		return fmt.Errorf("keep piece %d from the origin: %w", i, err)
	}
	d.do(func() {
		d.gained(fromOrigin, i, n)
		if d.source {
			d.report.piece(i, sum)
		}
	})
	return nil
}

// CloseWithError implements origin.PartWriter. Content of unknown length ends here.
func (p *part) CloseWithError(err error) error {
	d := p.sink.d
	if err == nil && !d.task.Layout().Known() {
		length := int64(p.next) * d.task.Layout().Size
		if p.open {
			length += p.size - p.left
		}
		meta := d.task.Meta()
		meta.Length = length
		err = p.sink.onLoop(func() error { return d.open(meta) })
	}
	if err == nil && p.open && p.cur != nil {
		return p.end()
	}
	if p.cur != nil {
		p.cur.Abort()
		p.cur = nil
	}
	return err
}

// statusOf is the origin's HTTP status behind err, 0 if there is none.
func statusOf(err error) int {
	if refused, ok := errors.AsType[*origin.StatusError](err); ok {
		return refused.Code
	}
	return 0
}
