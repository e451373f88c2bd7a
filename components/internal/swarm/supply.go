package swarm

import (
	"errors"
	"slices"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

// maxIdleFetches is how many fetches in a row may bring nothing before the origin counts as broken.
const maxIdleFetches = 3

// supply is the part of a task that says who brings what nobody has. Guarded by task.mu.
type supply struct {
	// busy while a fetch, a question for a manifest or the grace is under way: whoever ends it calls provide.
	busy     bool
	fetching bool
	asked    bool // hosts were asked for a manifest
	accesses []*access
	down     *api.Error // why the seed can't read the origin, nil while it can
	last     *api.Error // what the last source failed of
	idle     int        // fetches in a row that brought nothing
	source   *peer      // elected to read the origin
	stall    *time.Timer
}

func (u *supply) stop() {
	if u.stall != nil {
		u.stall.Stop()
	}
}

// provide sees to it that somebody brings what nobody has. It is called after every change that may leave a gap.
func (t *task) provide() {
	if t.gone || t.failed != nil || t.busy || t.source != nil || !t.lacks() || !t.hungry() {
		return
	}
	switch {
	case t.askHolders():
	case t.fetch():
	case t.elect():
	default:
		t.fail(t.reason())
	}
}

// hungry reports whether anybody waits for pieces.
func (t *task) hungry() bool {
	for _, p := range t.peers {
		if !p.complete && p.failed == nil {
			return true
		}
	}
	return false
}

func (t *task) reason() *api.Error {
	for _, e := range []*api.Error{t.down, t.last} {
		if e != nil {
			return e
		}
	}
	for _, a := range t.accesses {
		if a.refused != nil {
			return a.refused
		}
	}
	return &api.Error{Code: api.CodeOrigin, Message: "nobody in the swarm can read the origin"}
}

// fetch starts the seed with the first credentials that were not tried.
func (t *task) fetch() bool {
	if t.down != nil {
		return false
	}
	i := slices.IndexFunc(t.accesses, func(a *access) bool { return !a.tried })
	if i < 0 {
		return false
	}
	a := t.accesses[i]
	a.tried = true
	job := seed.Job{Task: t.id, Request: a.request, Digest: t.digest}
	if t.meta.PieceSize > 0 {
		meta := t.meta
		job.Meta, job.Known, job.Skip = &meta, t.known(), t.atPeers()
	}
	t.busy, t.fetching = true, true
	before := t.atSeed.Count()
	return t.s.run(func() {
		err := t.s.deps.Seed.Fetch(t.s.ctx, job, (*progress)(t))
		t.mu.Lock()
		defer t.mu.Unlock()
		t.busy, t.fetching = false, false
		t.active = time.Now()
		t.checked = t.active
		t.fetched(a, err, t.atSeed.Count() > before)
		t.notify()
	})
}

func (t *task) known() map[int]piece.Digest {
	known := make(map[int]piece.Digest, len(t.log))
	for _, p := range t.log {
		known[p.Index] = piece.Digest(p.SHA256)
	}
	return known
}

func (t *task) atPeers() *bitset.BitSet {
	held := &bitset.BitSet{}
	for i := range t.position {
		if t.position[i] > 0 && (t.whole > 0 || t.copies[i] > 0) {
			held.Set(uint(i))
		}
	}
	return held
}

func (t *task) fetched(a *access, err error, gained bool) {
	var refused *seed.Refused
	switch {
	case t.gone, t.s.ctx.Err() != nil:
		return
	case err == nil:
		t.idle++
		if gained {
			t.idle = 0
		}
		a.tried = t.idle >= maxIdleFetches
		l := t.layout()
		if t.told() && int(t.atSeed.Count()) == l.Count() {
			t.proven, t.adopted = true, false
			t.accesses = nil // nobody needs the credentials any more
		}
	case errors.As(err, &refused):
		t.refuse(a, &api.Error{Code: api.CodeOrigin, Message: refused.Error(), Status: refused.Status})
	case errors.Is(err, seed.ErrInvalid):
		t.invalidate("the content at the origin is not valid")
		return
	default:
		t.down = &api.Error{Code: api.CodeOrigin, Message: "the supernode can't read the origin"}
	}
	t.provide()
}

// refuse tells those who came with credentials that the origin does not take, and only those.
func (t *task) refuse(a *access, e *api.Error) {
	a.refused, a.until = e, time.Now().Add(t.s.cfg.FailureMemory)
	for _, p := range t.peers {
		if p.access == a.key && !p.complete {
			t.dismiss(p, e)
		}
	}
}

// dismiss fails one peer. Its stream tells it and ends.
func (t *task) dismiss(p *peer, e *api.Error) {
	p.failed = e
	t.mesh.Leave(p.id)
	t.spreadParents()
	p.notify()
	if p.stream == nil {
		t.wait(p)
	}
}

// elect asks a peer to read the origin: one whose credentials stay with it, or any when the seed can't reach the origin.
func (t *task) elect() bool {
	var best *peer
	for _, p := range t.peers {
		if p.complete || p.failed != nil || p.sourceFailed || p.resident || t.down == nil && !p.private {
			continue
		}
		if best == nil || p.order < best.order {
			best = p
		}
	}
	if best == nil {
		return false
	}
	best.source = true
	t.source = best
	t.s.metrics.elections.Inc()
	t.watchSource()
	best.notify()
	return true
}

// watchSource gives the source time until its next sign of progress.
func (t *task) watchSource() {
	t.supply.stop()
	p := t.source
	t.stall = time.AfterFunc(t.s.cfg.SourceStall, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.gone && t.source == p && p != nil {
			t.sourceFailed(p)
		}
	})
}

func (t *task) sourceFailed(p *peer) {
	p.source, p.sourceFailed = false, true
	if t.source == p {
		t.source = nil
		t.supply.stop()
	}
	t.provide()
}

// fail ends the swarm: every peer is told and goes to the origin itself. For FailureMemory newcomers, and peers that open their stream
// only now, are told the same.
func (t *task) fail(e *api.Error) {
	t.failed = e
	t.notify()
	time.AfterFunc(t.s.cfg.FailureMemory, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.retire()
	})
}

// invalidate fails a task whose content or digests are wrong. What peers tell of it is not taken again for a while.
func (t *task) invalidate(why string) {
	if t.adopted {
		t.s.setDistrust(t.id)
	}
	t.fail(&api.Error{Code: api.CodeInvalid, Message: why})
}

// progress is the task as the seed sees it.
type progress task

func (p *progress) Meta(m api.Meta) {
	t := (*task)(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gone {
		t.setSeedMeta(m)
	}
}

func (p *progress) Gained(g api.Piece) {
	t := (*task)(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gone {
		t.gained(g)
	}
}
