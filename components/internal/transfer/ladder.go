package transfer

import (
	"time"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// climb looks whether the download moves, and takes the next step when it does not: another parent is the plan's to find, the next
// supernode the registration's; here it is the origin. It runs on the loop.
func (d *download) climb(now time.Time) {
	d.reckon()
	d.reconcile()
	d.report.flush(d, now)
	if d.plan == nil && d.asking {
		return // the registration has a bound of its own, and knows whether the supernode lives
	}
	d.idle += tick
	d.trickle()
	if d.fetching || d.over() {
		return
	}
	switch {
	case d.plan != nil && d.plan.Done():
	case d.session == nil && !d.asking && !d.hopeful():
		// Nobody is left to tell of pieces, and nobody near holds one that we lack.
		d.goToOrigin("no_supernode")
	case d.idle < d.m.cfg.Stall:
	case d.session != nil && d.isTiny() && d.idle < tinyPatience:
		// The supernode lives and sends it whole. Where many such are on their way at once, going to the origin would double the load.
	case d.session != nil && d.waitsForSupernode() && now.Sub(d.told) < d.m.cfg.Patience:
		// The supernode lives and reads the origin for all. A stampede of its peers would not make the origin faster.
	default:
		d.goToOrigin("stalled")
	}
}

// trickle notes bytes of pieces that are not complete yet. On a slow link that many parents send over at once all of them take long, and
// going to the origin would take of that link. A parent that sends less than a small piece in Config.Stall gets no such patience.
// It runs on the loop.
func (d *download) trickle() {
	if n := d.arrived.Load(); n-d.received >= piece.MinSize {
		d.idle, d.received = 0, n
	}
}

// reckon takes note of pieces that turned out to be corrupt on disk, whoever read them. It runs on the loop.
func (d *download) reckon() {
	if d.plan == nil || !d.plan.Keep(d.task.Have()) {
		return
	}
	d.idle = 0
	if d.verified {
		d.verified = false // what comes in their place has to be hashed with the rest
		d.wg.Go(d.verify)
	}
}

// tinyPatience is how long content of one piece is awaited from a swarm whose supernode lives.
const tinyPatience = 6 * time.Second

// hopeful reports whether some missing piece can still come from a parent.
func (d *download) hopeful() bool {
	if d.plan == nil {
		return false
	}
	missing := d.plan.Missing()
	for i, ok := missing.NextSet(0); ok; i, ok = missing.NextSet(i + 1) {
		if d.plan.Reachable(int(i)) {
			return true
		}
	}
	return false
}

// waitsForSupernode reports whether everything that the supernode told of is held: what is missing has not come from the origin yet,
// whatever parents announce.
func (d *download) waitsForSupernode() bool {
	return d.plan == nil || d.plan.Missing().IntersectionCardinality(&d.said) == 0
}
