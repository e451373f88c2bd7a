package swarm

import (
	"context"
	"errors"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/scheduler"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

// Content that a digest names never changes. Any other may, at its origin: what is kept of it is given out again only after the
// origin said that it is still the same. A transfer under way goes on with what it began.

// stale reports whether the task should be looked at anew: nobody is in the middle of it, and the origin was not asked for a while.
func (t *task) stale() bool {
	return t.digest == "" && t.told() && !t.busy && t.source == nil && t.streams == 0 &&
		time.Since(t.checked) > t.s.cfg.Recheck && !t.hungry()
}

// check asks the origin whether what the store has is still right. Until then nobody is told of it.
func (t *task) check(a *access) {
	t.busy, t.checking = true, true
	meta := t.meta
	t.s.run(func() {
		err := t.s.stillTrue(a.request, meta)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.busy, t.checking = false, false
		t.checked = time.Now()
		if t.gone {
			return
		}
		refused, isRefused := errors.AsType[*seed.Refused](err)
		switch {
		case errors.Is(err, seed.ErrInvalid):
			t.s.deps.Log.Info("content changed at the origin", "task", t.id, "err", err)
			t.forget()
		case isRefused:
			a.tried = true
			t.refuse(a, &api.Error{Code: api.CodeOrigin, Message: refused.Error(), Status: refused.Status})
		case err != nil:
			t.s.deps.Log.Warn("origin can't be asked; what is kept is given out", "task", t.id, "err", err)
		}
		if t.proven && !isRefused {
			t.accesses = nil // nobody needs the credentials any more
		}
		t.notify()
		t.provide()
	})
}

func (s *Swarm) stillTrue(req seed.Request, meta api.Meta) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.CheckTimeout)
	defer cancel()
	return s.deps.Seed.Check(ctx, req, meta)
}

// outdated drops errors that say nothing about the content: an origin that is down is no reason not to use what is there.
func outdated(err error) error {
	if _, refused := errors.AsType[*seed.Refused](err); refused || errors.Is(err, seed.ErrInvalid) {
		return err
	}
	return nil
}

// forget drops what is known of the content.
func (t *task) forget() {
	t.s.deps.Seed.Discard(t.id)
	for _, p := range t.residents {
		t.remove(p)
	}
	for _, p := range t.peers {
		t.forgetHave(p)
	}
	t.meta, t.log, t.position, t.copies = api.Meta{Length: -1}, nil, nil, nil
	t.atSeed, t.fresh = bitset.BitSet{}, scheduler.Fresh{}
	t.signer, t.signed, t.proofs = nil, bitset.BitSet{}, map[int]*proof.Proof{}
	t.proven, t.adopted = false, false
	t.asked = true // hosts have the old content
	t.metaVersion++
}
