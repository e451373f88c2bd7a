package transfer

import (
	"context"
	"slices"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/mesh"
	"github.com/dragonfly-kube/dragonfly/components/internal/peer"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// uplink is a link in use.
type uplink struct {
	link   *peer.Link
	parent api.Parent
	orders map[uint64]bool // outstanding
}

// reconcile opens links to the parents that the supernode gave and closes the others. A parent that failed rests for a while.
func (d *download) reconcile() {
	now := time.Now()
	if d.plan == nil || d.comesWhole(now) {
		return
	}
	for id, l := range d.links {
		if !slices.ContainsFunc(d.wanted, func(p api.Parent) bool { return sameParent(p, l.parent) }) {
			d.closeLink(id)
		}
	}
	for _, p := range d.wanted {
		if p.Peer == d.m.cfg.Host.ID || d.links[p.Peer] != nil || now.Before(d.dropped[p.Peer]) {
			continue
		}
		cfg := peer.Config{Self: d.m.cfg.Host.ID, Dial: d.m.cfg.Dial, Limiter: d.m.cfg.Limiter, Log: d.log}
		d.links[p.Peer] = &uplink{link: peer.Open(cfg, p, d, d), parent: p, orders: map[uint64]bool{}}
		d.plan.AddParent(p.Peer, p.Seed)
	}
}

const (
	// wholeWait is how long content of one piece is awaited from the supernode itself. It is well below Config.Stall, so that the seed
	// and peers are asked before the origin is.
	wholeWait = time.Second
	// wholeSoon is how long after its digest. The seed has the content then, and only checks it; else another peer read the origin, and
	// the supernode will not send it.
	wholeSoon = 500 * time.Millisecond
)

// comesWhole reports whether the content is one piece or less, which the supernode sends inside an update: a mesh for it would cost more
// than it brings. It does not send what peers read with credentials that stay with them.
func (d *download) comesWhole(now time.Time) bool {
	if !d.isTiny() || d.session == nil || d.spec.Private || d.idle.time >= wholeWait {
		return false
	}
	return d.digests.get(0) == nil || now.Sub(d.told) < wholeSoon
}

// isTiny reports whether the content is known to be one piece or less.
func (d *download) isTiny() bool {
	if d.task == nil {
		return false
	}
	l := d.task.Layout()
	return l.Known() && l.Length <= piece.MinSize
}

func sameParent(a, b api.Parent) bool {
	return a.Peer == b.Peer && a.Seed == b.Seed && slices.Equal(a.Addrs, b.Addrs)
}

// closeLink stops using a parent. Its outstanding requests end as broken.
func (d *download) closeLink(id string) {
	l := d.links[id]
	if l == nil {
		return
	}
	delete(d.links, id)
	d.plan.RemoveParent(id)
	d.wg.Go(func() {
		l.link.Close()
		d.heard.forget(id)
	})
	for order := range l.orders {
		d.plan.End(order, mesh.Broken, 0, time.Now())
	}
}

const (
	// banTime is how long a parent that sent wrong bytes is not used: for any task that is as good as for ever.
	banTime = time.Hour
	// restTime is how long a parent that could not be reached rests, doubled with each failure in a row up to maxRest.
	restTime = 100 * time.Millisecond
	maxRest  = 5 * time.Second
)

// send passes an order of the plan on.
func (d *download) send(o mesh.Order) {
	l := d.links[o.Parent]
	l.orders[o.ID] = true
	l.link.Send(peer.Request{ID: o.ID, Pick: o.Pick, Limit: o.Limit, First: o.First, Count: o.Count})
}

// cut ends a request whose pieces came from elsewhere.
func (d *download) cut(id uint64) {
	for _, l := range d.links {
		if l.orders[id] {
			l.link.Cancel(id)
		}
	}
}

// The methods below implement peer.Task and peer.Events for links; they are called from the links' goroutines.

// ID implements peer.Task.
func (d *download) ID() string { return d.spec.ID }

// Ticket implements peer.Task.
func (d *download) Ticket() string {
	if t := d.ticket.Load(); t != nil {
		return *t
	}
	if d.m.deps.Ticket != nil {
		return d.m.deps.Ticket(d.spec.ID)
	}
	return ""
}

// Digest implements peer.Task. A good proof is kept before the piece is: its own children may ask for it at once.
func (d *download) Digest(ctx context.Context, i int, p *proof.Proof) (piece.Digest, error) {
	sum, ok, err := d.digests.prove(i, p)
	switch {
	case err != nil:
		return piece.Digest{}, err
	case !ok:
		return d.digests.wait(ctx, i)
	}
	d.task.Prove(i, p)
	return sum, nil
}

// Writer implements peer.Task.
func (d *download) Writer(i int, want piece.Digest) (store.PieceWriter, error) {
	if d.task.Has(i) {
		return nil, nil
	}
	return d.task.Writer(i, &want)
}

// Gained implements peer.Events.
func (d *download) Gained(parent string, pieces *bitset.BitSet, load int) {
	d.heard.add(parent, pieces)
	d.do(func() {
		d.tries[parent] = 0
		if d.digests.travel() {
			d.know(pieces)
		}
		d.plan.Gained(parent, pieces, load)
	})
}

// know says that pieces may be asked for.
func (d *download) know(pieces *bitset.BitSet) {
	for i := range pieces.EachSet() {
		d.plan.Know(int(i))
	}
}

// Load implements peer.Events.
func (d *download) Load(parent string, load int) { d.do(func() { d.plan.Load(parent, load) }) }

// Room implements peer.Events.
func (d *download) Room(parent string, load int) { d.do(func() { d.plan.Room(parent, load) }) }

// Received implements peer.Events.
func (d *download) Received(n int) {
	d.arrived.Add(int64(n))
	d.m.arrived.Add(int64(n))
}

// Piece implements peer.Events.
func (d *download) Piece(parent string, i int, n int64, kept bool) {
	if !kept {
		d.m.metrics.duplicates.Add(float64(n))
		return
	}
	d.do(func() {
		d.tries[parent] = 0
		if l := d.links[parent]; l != nil && l.parent.Seed {
			d.gained(fromSeed, i, n)
			return
		}
		d.gained(fromPeers, i, n)
	})
}

// gained books a verified piece. It runs on the loop.
func (d *download) gained(from string, i int, n int64) {
	d.idle.time = 0
	if from != fromOrigin {
		d.fetchFailures = 0
	}
	d.plan.Hold(i)
	k := slices.Index([]string{fromSeed, fromPeers, fromOrigin}, from)
	d.stats[k].Add(n)
	d.m.totals[k].Add(n)
	d.m.metrics.bytes.WithLabelValues(from).Add(float64(n))
	d.report.gained(from, n)
}

// Wrong implements peer.Events.
func (d *download) Wrong(parent string, i int) {
	d.m.metrics.wrong.Inc()
	d.log.Warn("a parent sent bytes that do not match their digest, or a wrong proof of one; it is not used any more", "parent", parent, "piece", i)
	d.do(func() {
		d.dropped[parent] = time.Now().Add(banTime)
		d.report.bad(parent, i, api.ReasonDigest)
		d.closeLink(parent)
	})
}

// Full implements peer.Events.
func (d *download) Full(err error) {
	d.do(func() { d.fail(err) })
}

// Ended implements peer.Events.
func (d *download) Ended(parent string, id uint64, how peer.Result, bytes int64) {
	outcome := [...]mesh.Outcome{
		peer.Served: mesh.Served, peer.Busy: mesh.Busy, peer.Lacking: mesh.Lacking, peer.Broken: mesh.Broken,
		peer.PickAgain: mesh.PickAgain, peer.PickOver: mesh.PickOver,
	}[how]
	d.do(func() {
		if l := d.links[parent]; l != nil {
			delete(l.orders, id)
		}
		d.plan.End(id, outcome, bytes, time.Now())
	})
}

// Down implements peer.Events.
func (d *download) Down(parent string, err error) {
	d.log.Debug("parent is down", "parent", parent, "err", err)
	d.do(func() {
		if d.links[parent] == nil {
			return
		}
		rest := min(maxRest, restTime<<min(d.tries[parent], 10))
		d.tries[parent]++
		d.dropped[parent] = time.Now().Add(rest)
		if d.tries[parent] > 1 { // once is an accident of the network, and costs both of them a neighbour
			d.report.bad(parent, -1, api.ReasonUnreachable)
		}
		d.closeLink(parent)
	})
}
