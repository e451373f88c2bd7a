package mesh

import "time"

// hedge asks elsewhere for what a slow parent owes, once: a slow parent costs a piece, not the task. It uses the window's room only, so
// that it never displaces a piece that nobody was asked for.
func (p *Plan) hedge(orders []Order, now time.Time) []Order {
	if p.ranges >= p.cfg.Window {
		return orders
	}
	late := p.hedgeAfter()
	for _, r := range p.requests {
		if p.ranges >= p.cfg.Window {
			break
		}
		if r.Pick || r.Hedge || r.hedged || now.Sub(r.started) < late {
			continue
		}
		if o, ok := p.elsewhere(r, now); ok {
			r.hedged = true
			orders = append(orders, p.send(o, now))
		}
	}
	return orders
}

// elsewhere finds the least loaded other parent for what is still missing of r; the seed is the last resort.
func (p *Plan) elsewhere(r *request, now time.Time) (Order, bool) {
	first, count := r.First, r.Count
	for count > 0 && p.have.Test(uint(first)) {
		first, count = first+1, count-1
	}
	if count == 0 {
		return Order{}, false
	}
	var best *parent
	for _, n := range append(p.order, p.seed) {
		if n == nil || n.id == r.Parent || n.out >= p.cfg.PerParent || now.Before(n.busyUntil) || !p.offers(n, first) {
			continue
		}
		if best == nil || n.burden() < best.burden() && !n.seed {
			best = n
		}
	}
	if best == nil {
		return Order{}, false
	}
	n := 1
	for n < count && p.offers(best, first+n) {
		n++
	}
	return Order{Parent: best.id, First: first, Count: n, Hedge: true}, true
}

// hedgeAfter is the age at which a request is late. At the end, when all that is missing is on its way, whatever comes last is what everybody
// waits for, and the window has room for a second way.
func (p *Plan) hedgeAfter() time.Duration {
	if p.ending() {
		return max(p.cfg.HedgeMin, p.perRequest*3/2)
	}
	return max(p.cfg.HedgeMin, 4*p.perRequest)
}

// ending reports whether all pieces are held or asked for.
func (p *Plan) ending() bool {
	return p.layout.Known() && int(p.known.Count()) >= p.layout.Count() && !p.anyWanted()
}

// wake returns the next moment at which time alone changes what Next answers.
func (p *Plan) wake(now time.Time) time.Time {
	var at time.Time
	earliest := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	late := p.hedgeAfter()
	for _, r := range p.requests {
		if !r.Pick && !r.hedged && !r.Hedge {
			earliest(r.started.Add(late))
		}
	}
	for _, n := range p.order {
		earliest(n.busyUntil)
	}
	if p.seed != nil {
		earliest(p.seed.busyUntil)
	}
	if !p.idleSince.IsZero() {
		earliest(p.idleSince.Add(p.patience()))
	}
	if p.want >= 0 {
		earliest(p.wantSince.Add(p.patience()))
		earliest(p.wantSince.Add(4 * p.patience()))
	}
	if p.pickOver {
		earliest(p.seedSince.Add(p.patience()))
	}
	return at
}
