package mesh

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/bits-and-blooms/bitset"
)

// Next returns the requests to send now, and when to ask again even if nothing happens (zero: no need).
func (p *Plan) Next(now time.Time) (orders []Order, wake time.Time) {
	if p.Done() {
		return nil, time.Time{}
	}
	orders = p.fromSeed(orders, now)
	for p.ranges < p.cfg.Window {
		o, ok := p.fromPeers(now)
		if !ok {
			o, ok = p.rest(now)
		}
		if !ok {
			break
		}
		orders = append(orders, p.send(o, now))
	}
	orders = p.hedge(orders, now)
	p.noteIdle(now)
	return orders, p.wake(now)
}

// send books an order as outstanding.
func (p *Plan) send(o Order, now time.Time) Order {
	p.lastID++
	o.ID = p.lastID
	p.requests = append(p.requests, &request{Order: o, started: now})
	p.parents[o.Parent].out++
	if !o.Pick {
		p.ranges++
		for i := o.First; i < o.First+o.Count; i++ {
			p.flying.Set(uint(i))
		}
	}
	return o
}

// fromSeed keeps picks outstanding while the seed has fresh pieces.
func (p *Plan) fromSeed(orders []Order, now time.Time) []Order {
	s := p.seed
	for s != nil && !p.pickOver && s.out < p.perParent() && !now.Before(s.busyUntil) {
		orders = append(orders, p.send(Order{Parent: s.id, Pick: true, Limit: p.runBytes(s)}, now))
	}
	return orders
}

// Queued reports whether a seed is there that may have pieces to send that no peer has.
func (p *Plan) Queued() bool { return p.seed != nil && !p.pickOver }

// perParent is how many requests one parent has outstanding. A few parents share the window: with two at each, what is under way would be
// gone from their links before the next request is there, most of all where requests queue behind other traffic.
func (p *Plan) perParent() int {
	parents := len(p.order)
	if p.seed != nil {
		parents++
	}
	return max(p.cfg.PerParent, p.cfg.Window/max(parents, 1))
}

// fromPeers chooses the least loaded parent that holds something wanted, and there the rarest run.
func (p *Plan) fromPeers(now time.Time) (Order, bool) {
	p.rand.Shuffle(len(p.order), func(i, j int) { p.order[i], p.order[j] = p.order[j], p.order[i] })
	slices.SortStableFunc(p.order, func(a, b *parent) int { return cmp.Compare(a.burden(), b.burden()) })
	for _, n := range p.order {
		if n.out >= p.perParent() || now.Before(n.busyUntil) {
			continue
		}
		if first := p.best(n.have.Words()); first >= 0 {
			return Order{Parent: n.id, First: first, Count: p.run(n, first)}, true
		}
	}
	return Order{}, false
}

// best returns the piece to ask for among those in held: one that a reader waits for, else the rarest, random among equals; -1 if
// none is wanted.
func (p *Plan) best(held []uint64) int {
	have, known, flying := p.have.Words(), p.known.Words(), p.flying.Words()
	best, least, ties := -1, math.MaxInt, 0
	for w := range min(len(held), len(known)) {
		for u := held[w] & known[w] &^ word(have, w) &^ word(flying, w); u != 0; u &= u - 1 {
			i := w*64 + bits.TrailingZeros64(u)
			if i == p.want {
				return i
			}
			switch c := int(p.holders(i)); {
			case c < least:
				best, least, ties = i, c, 1
			case c == least:
				if ties++; p.rand.IntN(ties) == 0 {
					best = i
				}
			}
		}
	}
	return best
}

func word(w []uint64, i int) uint64 {
	if i < len(w) {
		return w[i]
	}
	return 0
}

// run returns how many pieces from first on a request to n should cover.
func (p *Plan) run(n *parent, first int) int {
	most := int(p.runBytes(n) / p.layout.Size)
	count := 1
	for count < most && p.wanted(first+count) && p.offers(n, first+count) {
		count++
	}
	return count
}

// offers reports whether n can give piece i, as far as is known.
func (p *Plan) offers(n *parent, i int) bool { return n.have.Test(uint(i)) != n.seed }

// wanted reports whether piece i could be asked for.
func (p *Plan) wanted(i int) bool {
	u := uint(i)
	return p.known.Test(u) && !p.have.Test(u) && !p.flying.Test(u)
}

// runBytes is how much one request to n should ask for.
func (p *Plan) runBytes(n *parent) int64 {
	if n.secPerB == 0 {
		return p.layout.Size
	}
	return max(p.layout.Size, min(p.cfg.MaxRun, int64(p.cfg.RunTime.Seconds()/n.secPerB)))
}

// rest asks the seed for a range: what no peer holds once its picks are over, and anything when nothing else moves.
func (p *Plan) rest(now time.Time) (Order, bool) {
	s := p.seed
	if s == nil || s.out >= p.perParent() || now.Before(s.busyUntil) {
		return Order{}, false
	}
	first := -1
	p.eachWanted(func(i int) bool {
		if !s.lacks(i) && p.mayAskSeed(i, now) {
			first = i
		}
		return first < 0
	})
	if first < 0 {
		return Order{}, false
	}
	return Order{Parent: s.id, First: first, Count: p.run(s, first)}, true
}

// mayAskSeed keeps the seed from sending a piece twice while peers can be expected to spread it.
func (p *Plan) mayAskSeed(i int, now time.Time) bool {
	waited := time.Duration(0)
	if i == p.want {
		waited = now.Sub(p.wantSince)
	}
	if waited >= 4*p.patience() || waited >= p.patience() && p.holders(i) == 0 {
		return true
	}
	if !p.idleSince.IsZero() && now.Sub(p.idleSince) >= p.patience() {
		return true
	}
	if p.holders(i) > 0 || !p.pickOver {
		return false
	}
	return !p.growing() || now.Sub(p.seedSince) >= p.patience()
}

// maxPatience stays below the time after which a transfer that stalls goes to the origin.
const maxPatience = 1500 * time.Millisecond

// patience is how long a piece is awaited from peers.
func (p *Plan) patience() time.Duration {
	return max(p.cfg.Grace, min(4*p.perRequest, maxPatience))
}

// growing reports whether some parent does not hold everything yet.
func (p *Plan) growing() bool {
	for _, n := range p.order {
		if !p.layout.Known() || int(n.have.Count()) < p.layout.Count() {
			return true
		}
	}
	return false
}

// eachWanted calls f for each piece that could be asked for, in order, until it returns false.
func (p *Plan) eachWanted(f func(i int) bool) {
	have, flying := p.have.Words(), p.flying.Words()
	for w, k := range p.known.Words() {
		for u := k &^ word(have, w) &^ word(flying, w); u != 0; u &= u - 1 {
			if !f(w*64 + bits.TrailingZeros64(u)) {
				return
			}
		}
	}
}

// anyWanted reports whether there is a piece that could be asked for.
func (p *Plan) anyWanted() bool {
	found := false
	p.eachWanted(func(int) bool { found = true; return false })
	return found
}

// noteIdle tracks since when nothing moves though something is wanted.
func (p *Plan) noteIdle(now time.Time) {
	switch {
	case p.ranges > 0 || !p.anyWanted():
		p.idleSince = time.Time{}
	case p.idleSince.IsZero():
		p.idleSince = now
	}
}

// Missing returns the pieces that are known of and not held.
func (p *Plan) Missing() *bitset.BitSet { return p.known.Difference(p.have) }
