package transfer

import (
	"context"
	"slices"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

const (
	// reportEvery is the least pause between reports of gained pieces, maxReportEvery the most. Between them it is half of the session's
	// age. Children learn of pieces from us directly, so the supernode needs reports only to choose parents for those who come later; its
	// answers take of the link that all pieces have to go through first.
	reportEvery    = 2 * time.Second
	maxReportEvery = 15 * time.Second
	// sourceEvery is the pause between reports of a source peer: the swarm waits for its digests.
	sourceEvery = 20 * time.Millisecond
	// reportTimeout bounds one report.
	reportTimeout = 5 * time.Second
)

// reporter collects what the supernode has to know. It belongs to the loop; sending goes on beside it, one report at a time.
type reporter struct {
	next    api.Report
	dirty   bool // next holds news
	urgent  bool // worth sending at once
	sending bool
	sent    time.Time
	began   time.Time // the session
	// flying is what the report under way tells as source. The end of the download may keep it from arriving.
	flying []api.Piece
}

// renew makes the next report follow at once, because a session begins.
func (r *reporter) renew(now time.Time) { r.urgent, r.began = true, now }

// pause is how long after a report the next may follow.
func (r *reporter) pause(source bool) time.Duration {
	if source {
		return sourceEvery
	}
	return min(max(reportEvery, r.sent.Sub(r.began)/2), maxReportEvery)
}

func (r *reporter) gained(from string, n int64) {
	switch from {
	case fromSeed:
		r.next.FromSeed += n
	case fromPeers:
		r.next.FromPeers += n
	case fromOrigin:
		r.next.FromOrig += n
	}
	r.dirty = true
}

// maxBad bounds the complaints of one report.
const maxBad = 64

func (r *reporter) bad(peer string, i int, reason string) {
	if len(r.next.Bad) < maxBad {
		r.next.Bad = append(r.next.Bad, api.BadParent{Peer: peer, Piece: i, Reason: reason})
	}
	r.dirty, r.urgent = true, true
}

// piece tells what a source peer got from the origin.
func (r *reporter) piece(i int, sum piece.Digest) {
	r.next.Pieces = append(r.next.Pieces, api.Piece{Index: i, SHA256: sum[:]})
	r.dirty = true
}

func (r *reporter) sourceFailed(err error) {
	r.next.SourceFailed = &api.Error{Code: api.CodeOrigin, Message: err.Error(), Status: statusOf(err)}
	r.dirty, r.urgent = true, true
}

// due reports whether the next report should go now.
func (r *reporter) due(now time.Time, source bool) bool {
	return r.dirty && !r.sending && (r.urgent || now.Sub(r.sent) >= r.pause(source))
}

// flush sends the next report if it is due.
func (r *reporter) flush(d *download, now time.Time) {
	if d.session == nil || d.task == nil && r.next.SourceFailed == nil || !r.due(now, d.source) {
		return
	}
	report, s := r.take(d), d.session
	r.sending, r.sent, r.flying = true, now, report.Pieces
	d.wg.Go(func() {
		ctx, cancel := context.WithTimeout(d.ctx, reportTimeout)
		defer cancel()
		err := s.Report(ctx, report)
		d.do(func() {
			r.sending, r.flying = false, nil
			if err != nil {
				d.log.Debug("report failed", "err", err)
				r.restore(report)
			}
		})
	})
}

// take empties the reporter into a report.
func (r *reporter) take(d *download) api.Report {
	report := r.next
	if d.task != nil {
		report.Have = piece.FormatRanges(d.task.Have())
	}
	if d.source && d.task != nil {
		meta := d.task.Meta()
		report.Meta = &meta
	}
	r.next, r.dirty, r.urgent = api.Report{}, false, false
	return report
}

// restore keeps what a source found for the next report; the rest is not worth a repetition.
func (r *reporter) restore(lost api.Report) {
	if len(lost.Pieces) > 0 {
		r.next.Pieces = append(lost.Pieces, r.next.Pieces...)
		r.dirty = true
	}
}

// last tells the supernode how the download ended.
func (r *reporter) last(d *download, complete bool) {
	if d.session == nil || d.task == nil && r.next.SourceFailed == nil {
		return
	}
	report := r.take(d)
	report.Complete, report.Left = complete, !complete
	report.Pieces = append(slices.Clone(r.flying), report.Pieces...)
	s := d.session
	d.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
		defer cancel()
		if err := s.Report(ctx, report); err != nil {
			d.log.Debug("last report failed", "err", err)
		}
	})
}
