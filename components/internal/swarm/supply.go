package swarm

import (
	"context"
	"errors"
	"hash/maphash"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

const (
	// maxAccesses bounds the different ways to the origin that are remembered of a task, so that many wrong credentials cost
	// the origin a few requests, not many.
	maxAccesses = 8
	// maxIdleFetches is how many fetches in a row may bring nothing before the origin counts as broken.
	maxIdleFetches = 3
	// maxAsked is how many hosts are asked for a manifest, one after the other, before the origin is.
	maxAsked = 3
)

// accessKey tells ways to the origin apart without keeping the credentials: zero means none.
type accessKey uint64

// access is one way to the origin: a URL and the credentials of whoever registered with it.
type access struct {
	key     accessKey
	request seed.Request
	tried   bool
	refused *api.Error
	until   time.Time // how long refused is told without another try
}

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

var hashSeed = maphash.MakeSeed()

func keyOf(o *api.Origin) accessKey {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	add := func(s string) {
		maphash.WriteComparable(&h, len(s))
		_, _ = h.WriteString(s)
	}
	add(o.URL)
	for _, name := range slices.Sorted(maps.Keys(o.Header)) {
		add(name)
		for _, v := range o.Header[name] {
			add(v)
		}
	}
	return accessKey(h.Sum64() | 1)
}

// accessOf remembers a way to the origin. It returns nil when there are too many.
func (t *task) accessOf(o *api.Origin) *access {
	key := keyOf(o)
	for _, a := range t.accesses {
		if a.key == key {
			return a
		}
	}
	a := &access{key: key, request: seed.Request{URL: o.URL, Header: http.Header(o.Header).Clone(), Immutable: t.digest != ""}}
	if len(t.accesses) >= maxAccesses {
		// Make place of one that was refused and is no longer told.
		i := slices.IndexFunc(t.accesses, func(a *access) bool { return a.refused != nil && time.Now().After(a.until) })
		if i < 0 {
			return nil
		}
		t.accesses[i] = a
		return a
	}
	t.accesses = append(t.accesses, a)
	return a
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

// askHolders asks hosts that hold the whole for its digests, when some are not known.
func (t *task) askHolders() bool {
	if t.asked || t.told() || !t.s.trusts(t.id) {
		return false
	}
	t.asked = true
	list, length := t.s.hosts.holding(t.id, maxAsked)
	if len(list) == 0 {
		return false
	}
	t.busy = true
	var way *seed.Request
	if t.digest == "" && len(t.accesses) > 0 {
		way = &t.accesses[0].request
	}
	return t.s.run(func() {
		for _, h := range list {
			if t.ask(h, length, way) {
				return
			}
			t.s.hosts.forget(h.ID, t.id)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.busy = false
		t.provide()
	})
}

// ask takes the manifest of a host. way, if not nil, is how to ask the origin whether it is of the content that is there now.
func (t *task) ask(h api.Host, length int64, way *seed.Request) bool {
	ctx, cancel := context.WithTimeout(t.s.ctx, t.s.cfg.ManifestTimeout)
	defer cancel()
	ticket, _ := t.s.deps.Keys.Ticket(t.id, t.s.cfg.TicketLife)
	m, err := t.s.deps.Manifests.Manifest(ctx, h, t.id, ticket)
	if err == nil && way != nil {
		err = outdated(t.s.stillTrue(*way, m.Meta))
	}
	if err != nil {
		t.s.deps.Log.Info("host gives no manifest, or an old one", "host", h.ID, "task", t.id, "err", err)
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.Meta.Length != length || t.setMeta(m.Meta) != nil {
		return false
	}
	t.adopted = true
	for _, p := range m.Pieces {
		if err := t.learn(p); err != nil {
			t.s.deps.Log.Info("manifest contradicts what is known", "host", h.ID, "task", t.id, "err", err)
			return false
		}
	}
	if !t.told() {
		return false
	}
	t.busy = false
	t.addHolders()
	t.provide()
	return true
}
