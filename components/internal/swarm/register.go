package swarm

import (
	"context"
	"fmt"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// Register makes a peer a member of the task's swarm, and answers with what is known. seedAddr is where this peer reaches the seed.
// It waits a moment for something worth telling. Errors: ErrFull, ErrConflict, ctx's. A failure of the origin is no error: the
// answer says Failed.
func (s *Swarm) Register(ctx context.Context, id string, req *api.RegisterRequest, seedAddr string) (api.Update, error) {
	t, err := s.enter(id)
	if err != nil {
		return api.Update{}, err
	}
	s.metrics.registrations.Inc()
	if t.failed == nil && t.stale() {
		t.retire()
		t.mu.Unlock()
		if t, err = s.enter(id); err != nil {
			return api.Update{}, err
		}
	}
	if t.failed != nil {
		defer t.mu.Unlock()
		return api.Update{Failed: t.failed}, nil
	}
	p, err := t.admit(req, seedAddr)
	t.mu.Unlock()
	if err != nil {
		return api.Update{}, err
	}
	return t.firstAnswer(ctx, p)
}

// admit takes the registration.
func (t *task) admit(req *api.RegisterRequest, seedAddr string) (*peer, error) {
	if t.digest != "" && req.Origin.Digest != "" && t.digest != req.Origin.Digest {
		return nil, fmt.Errorf("%w: the task's digest is %.80s", ErrConflict, t.digest)
	}
	if t.digest == "" {
		t.digest = req.Origin.Digest
	}
	if t.url == "" {
		t.url = req.Origin.URL
	}
	t.active = time.Now()
	first := t.joined == 0
	kept := first && t.meta.PieceSize > 0
	p, err := t.member(req, seedAddr)
	if err != nil {
		return nil, err
	}
	look := kept && t.digest == ""
	if !p.private && (!t.proven || t.checking || look) {
		if a := t.join(p, &req.Origin); look && a != nil {
			t.check(a)
		}
	}
	if req.Meta != nil && !t.checking && t.s.trusts(t.id) {
		t.adopt(p, req)
	}
	t.wait(p)
	if first && p.have != nil && t.lacks() {
		t.grace()
	}
	if p.failed == nil {
		t.provide()
	}
	return p, nil
}

// member returns the peer of a registration, in the state of one that has just come.
func (t *task) member(req *api.RegisterRequest, seedAddr string) (*peer, error) {
	if r := t.residents[req.Host.ID]; r != nil {
		t.remove(r) // it speaks for itself now
	}
	if old := t.peers[req.Peer]; old != nil {
		if old.host.ID == req.Host.ID && old.failed == nil && !old.complete && old.seedOnly == req.SeedOnly && place(old.host) == place(req.Host) {
			t.forgetHave(old)
			old.host, old.private, old.proofs, old.sourceFailed, old.access = req.Host, req.Private, req.Proofs, false, 0
			old.seedAddr = seedAddr
			old.parentsVersion++
			return old, nil
		}
		t.remove(old)
	}
	if len(t.peers) >= t.s.cfg.MaxPeers {
		return nil, fmt.Errorf("%w: the task has %d peers", ErrFull, len(t.peers))
	}
	p := &peer{id: req.Peer, host: req.Host, seedAddr: seedAddr, private: req.Private, seedOnly: req.SeedOnly, proofs: req.Proofs}
	t.add(p)
	return p, nil
}

// join gives the peer its way to the origin, or the failure that this way had a moment ago. It returns the way, nil when there are too
// many.
func (t *task) join(p *peer, o *api.Origin) *access {
	a := t.accessOf(o)
	if a == nil {
		return nil
	}
	p.access = a.key
	switch {
	case a.refused == nil:
	case time.Now().Before(a.until) && !t.served():
		t.dismiss(p, a.refused)
	default:
		a.refused, a.tried = nil, false
	}
	return a
}

// served reports whether somebody brings what is missing, or nothing is.
func (t *task) served() bool { return t.busy || t.source != nil || !t.lacks() }

// adopt takes what a peer holds, where nothing contradicts it.
func (t *task) adopt(p *peer, req *api.RegisterRequest) {
	if err := t.setMeta(*req.Meta); err != nil {
		t.s.deps.Log.Info("what a peer holds is not taken", "task", t.id, "peer", p.id, "err", err)
		return
	}
	have := &bitset.BitSet{}
	for _, h := range req.Held {
		known := len(t.log)
		if err := t.learn(h); err != nil {
			t.s.deps.Log.Info("a piece that a peer holds is not taken", "task", t.id, "peer", p.id, "err", err)
			continue
		}
		t.adopted = t.adopted || len(t.log) > known
		have.Set(uint(h.Index))
	}
	if have.None() {
		return
	}
	if t.told() && int(have.Count()) == len(t.log) {
		t.setComplete(p)
		return
	}
	t.setHave(p, have)
}

// grace waits for others that hold pieces, before the origin is asked for what seems to be missing.
func (t *task) grace() {
	t.busy = true
	time.AfterFunc(t.s.cfg.Grace, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.busy = false
		t.provide()
	})
}

// firstAnswer waits, for FirstAnswer at most, for the length, the content of a tiny task, or the end of hope.
func (t *task) firstAnswer(ctx context.Context, p *peer) (api.Update, error) {
	timer := time.NewTimer(t.s.cfg.FirstAnswer)
	defer timer.Stop()
	c := cursor{most: firstPieces, silent: p.proofs, brief: p.proofs}
	for wait := true; ; {
		t.mu.Lock()
		ready := t.failed != nil || p.failed != nil || p.source || t.gone ||
			t.meta.PieceSize > 0 && !t.checking && (!t.tiny() || t.proven || !t.fetching)
		changed := t.changed
		if ready || !wait {
			u := t.news(p, &c, true)
			answered := c
			p.answered = &answered
			t.mu.Unlock()
			return t.complete(u, &c), nil
		}
		t.mu.Unlock()
		select {
		case <-changed:
		case <-p.wake:
		case <-timer.C:
			wait = false
		case <-ctx.Done():
			return api.Update{}, ctx.Err()
		case <-t.s.ctx.Done():
			return api.Update{}, t.s.ctx.Err()
		}
	}
}
