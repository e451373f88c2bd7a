package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
)

const (
	// registerAgain is the pause between registrations while no supernode answers. Asking costs nothing then: only live ones are
	// asked, and whether one lives is found out elsewhere.
	registerAgain = 250 * time.Millisecond
	// refusedAgain is the pause after a supernode refused.
	refusedAgain = 5 * time.Second
)

// register keeps the download registered at a supernode until it ends. It runs beside the loop.
func (d *download) register() {
	for d.ctx.Err() == nil {
		pause := d.attend()
		if pause == 0 {
			continue
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-d.ctx.Done():
		}
		t.Stop()
	}
}

// attend registers and follows the events until they end. It returns how long to wait before the next try.
func (d *download) attend() time.Duration {
	d.do(func() { d.asking = true })
	s, u, err := d.m.deps.Supernodes.Register(d.ctx, d.spec.ID, d.registration())
	if err != nil {
		pause := registerAgain
		if _, refused := errors.AsType[*api.Error](err); refused {
			pause = refusedAgain
		}
		d.do(func() { d.unregistered(err) })
		return pause
	}
	d.log.Debug("registered", "supernode", s.Supernode())
	brief, anew := context.WithCancel(d.ctx)
	defer anew()
	d.do(func() {
		d.registered(s)
		d.digests.renew(anew)
		d.hear(u)
	})
	if u.Failed != nil {
		return refusedAgain
	}
	if u.Content != nil && d.settles() {
		return 0
	}
	failed := false
	err = d.follow(brief, s, u.Seq, func(u *api.Update) {
		failed = failed || u.Failed != nil
		d.do(func() { d.hear(u) })
	})
	d.do(func() { d.unregistered(err) })
	if failed {
		return refusedAgain
	}
	// At once: the supernode forgot us, or died and the next in rank takes over.
	return 0
}

// follow hears the events of a session until they end. From the end of brief on, all digests are asked for.
func (d *download) follow(brief context.Context, s Session, since int, hear func(*api.Update)) error {
	if err := s.Events(brief, since, hear); brief.Err() == nil || d.ctx.Err() != nil {
		return err
	}
	return s.AllDigests(d.ctx, hear)
}

// settles reports whether the download ends with the content that the registration brought, so that no stream is needed.
func (d *download) settles() bool {
	t := time.NewTimer(registerAgain)
	defer t.Stop()
	select {
	case <-d.ended:
		return true
	case <-t.C:
		return false
	}
}

// registration tells the supernode who we are and what we hold.
func (d *download) registration() api.RegisterRequest {
	r := api.RegisterRequest{
		Peer: d.m.cfg.Host.ID,
		Host: d.m.cfg.Host,
		Origin: api.Origin{
			URL: d.spec.URL, Header: d.spec.Header, Digest: d.spec.Digest.String(),
		},
		SeedOnly: d.spec.Pattern == CDN,
	}
	if d.spec.Private {
		r.Private = true
		r.Origin.Header = http.Header{}
	}
	select {
	case <-d.opened:
	default:
		r.Proofs = true
		return r
	}
	meta := d.task.Meta()
	r.Meta = &meta
	have := d.task.Have()
	for i, ok := have.NextSet(0); ok; i, ok = have.NextSet(i + 1) {
		if sum, held := d.task.Digest(int(i)); held {
			r.Held = append(r.Held, api.Piece{Index: int(i), SHA256: sum[:]})
		}
	}
	r.Proofs = len(r.Held) == 0 // else what is held has to be compared, with all digests
	return r
}

// registered notes a new session.
func (d *download) registered(s Session) {
	d.session, d.asking, d.rejected = s, false, false
	d.told = time.Now()
	d.report.renew(d.told)
}

// unregistered notes that there is no session, and goes to the origin at once for what no parent holds: with nothing known of the
// content that is all of it.
func (d *download) unregistered(err error) {
	d.log.Debug("not registered", "err", err)
	d.session, d.asking = nil, false
	if d.plan == nil {
		d.goToOrigin("no_supernode")
	}
}

// hear takes in an update of the supernode.
func (d *download) hear(u *api.Update) {
	if u.Ticket != "" {
		d.ticket.Store(&u.Ticket)
	}
	if u.Key != nil {
		d.digests.trust(proof.ParseKey(u.Key))
	}
	if u.Failed != nil {
		d.log.Info("the supernode can't provide the content", "err", u.Failed)
		d.rejected = true
		d.goToOrigin("supernode_failed")
		return
	}
	if err := d.learn(u); err != nil {
		d.fail(err)
		return
	}
	d.wanted = parentsAfter(d.wanted, u)
	d.reconcile()
	if u.Source {
		d.source = true
		d.goToOrigin("elected")
	}
}

// parentsAfter is the list of parents after an update.
func parentsAfter(list []api.Parent, u *api.Update) []api.Parent {
	if u.Parents != nil {
		list = u.Parents
	}
	if u.More == nil && u.Less == nil {
		return list
	}
	list = slices.DeleteFunc(slices.Clone(list), func(p api.Parent) bool {
		return slices.Contains(u.Less, p.Peer) || slices.ContainsFunc(u.More, func(m api.Parent) bool { return m.Peer == p.Peer })
	})
	return append(list, u.More...)
}

// learn takes in what an update says of the content.
func (d *download) learn(u *api.Update) error {
	if u.Meta != nil {
		d.told = time.Now()
		if err := d.open(*u.Meta); err != nil {
			return err
		}
	}
	if d.task == nil {
		return nil
	}
	if err := d.learnSigned(u.Signed); err != nil {
		return err
	}
	if len(u.Pieces) > 0 {
		d.told = time.Now()
		if err := d.learnPieces(u.Pieces); err != nil {
			return err
		}
	}
	if u.Content != nil {
		return d.keepWhole(u.Content)
	}
	return nil
}

// learnPieces notes digests. A held piece with another digest is not the content that the swarm has.
func (d *download) learnPieces(pieces []api.Piece) error {
	news := make(map[int]piece.Digest, len(pieces))
	for _, p := range pieces {
		sum, err := piece.ParseDigest(p.SHA256)
		if err != nil || p.Index < 0 {
			return fmt.Errorf("the supernode told a piece that can't be: index %d, digest of %d bytes", p.Index, len(p.SHA256))
		}
		news[p.Index] = sum
	}
	d.digests.set(news)
	for i := range news {
		d.said.Set(uint(i))
		d.plan.Know(i)
		if held, ok := d.task.Digest(i); ok && held != *d.digests.get(i) {
			d.log.Warn("a kept piece is not the swarm's; it is fetched anew", "piece", i)
			d.task.Drop(i)
			d.plan.Lose(i)
		}
	}
	return nil
}

// learnSigned notes pieces whose digests come with them.
func (d *download) learnSigned(ranges string) error {
	if ranges == "" {
		return nil
	}
	count := piece.MaxCount
	if l := d.task.Layout(); l.Known() {
		count = l.Count()
	}
	signed, err := piece.ParseRanges(ranges, count)
	if err != nil {
		return fmt.Errorf("the supernode told pieces that can't be: %w", err)
	}
	d.told = time.Now()
	d.said.InPlaceUnion(signed)
	d.know(signed)
	return nil
}

// keepWhole stores content that came inside an update.
func (d *download) keepWhole(content []byte) error {
	l := d.task.Layout()
	if !l.Known() || l.Count() > 1 || int64(len(content)) != l.Length {
		return fmt.Errorf("the supernode sent %d bytes as the whole of %d", len(content), l.Length)
	}
	if l.Count() == 0 || d.task.Has(0) {
		return nil
	}
	w, err := d.task.Writer(0, d.digests.get(0))
	if err != nil {
		return fmt.Errorf("keep content: %w", err)
	}
	defer w.Abort()
	if _, err := bytes.NewReader(content).WriteTo(w); err != nil {
		return fmt.Errorf("keep content: %w", err)
	}
	if _, err := w.Commit(); err != nil {
		return fmt.Errorf("keep content: %w", err)
	}
	d.gained(fromSeed, 0, l.Length)
	return nil
}

// originRequest is how this host asks the origin.
func (d *download) originRequest() origin.Request {
	return origin.Request{URL: d.spec.URL, Header: d.spec.Header, Immutable: d.spec.Digest != ""}
}
