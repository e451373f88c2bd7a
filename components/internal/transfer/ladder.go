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
	d.idle.pass(d.arrived.Load())
	d.host.pass(d.m.arrived.Load())
	if d.fetching || d.over() {
		return
	}
	switch {
	case d.plan != nil && d.plan.Done():
	case d.session == nil && !d.asking && !d.hopeful():
		// Nobody is left to tell of pieces, and nobody near holds one that we lack.
		d.goToOrigin("no_supernode")
	case d.idle.time < d.m.cfg.Stall:
	case d.session != nil && d.isTiny() && d.idle.time < tinyPatience:
		// The supernode lives and sends it whole. Where many such are on their way at once, going to the origin would double the load.
	case d.session != nil && d.waitsForSupernode() && now.Sub(d.told) < d.m.cfg.Patience:
		// The supernode lives and reads the origin for all. A stampede of its peers would not make the origin faster.
	case d.session != nil && d.plan != nil && d.plan.Queued() && now.Sub(d.told) < d.m.cfg.Patience && d.idle.time < 2*d.m.cfg.Patience:
		// The seed has pieces to send that nobody has, and it serves one after the other: on links of 4 Mbit/s with pieces of 128 KiB the last of 64
		// peers has its turn, and what others pass on, after more than Stall. If they went to the origin, the seed would get no more from it, either.
	case d.session != nil && d.host.time < d.m.cfg.Stall && d.idle.time < d.m.cfg.Patience && d.hopeful():
		// Parents that live hold what is missing, and this host's link is busy with its other downloads: twenty layers of an image come at
		// once. Going to the origin would take of the same link.
	default:
		d.goToOrigin("stalled")
	}
}

// lull is how long too little arrived, in ticks that this process was awake for: on a host that is starved of CPU nothing moves, and a
// stampede to the origin would not help.
type lull struct {
	time  time.Duration
	bytes int64 // that had arrived when it began
}

// pass ends the lull when as many bytes have arrived since as the smallest piece has, else it is longer by a tick. They count before
// their piece is complete: on a slow link that many parents send over at once all of them take long.
func (l *lull) pass(arrived int64) {
	l.time += tick
	if arrived-l.bytes >= piece.MinSize {
		*l = lull{bytes: arrived}
	}
}

// reckon takes note of pieces that turned out to be corrupt on disk, whoever read them. It runs on the loop.
func (d *download) reckon() {
	if d.plan == nil || !d.plan.Keep(d.task.Have()) {
		return
	}
	d.idle.time = 0
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
