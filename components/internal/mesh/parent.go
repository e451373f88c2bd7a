package mesh

import (
	"time"

	"github.com/bits-and-blooms/bitset"
)

// parent is what a child knows of one peer that it may ask.
type parent struct {
	id   string
	seed bool
	// have is what the parent told it holds; of a seed it is what the seed turned out to lack.
	have      *bitset.BitSet
	load      int // requests admitted there, as last told
	out       int // our requests there
	busyUntil time.Time
	secPerB   float64 // smoothed seconds a byte from order to end; 0 unknown
}

// lacks reports whether a seed said that it does not hold piece i.
func (p *parent) lacks(i int) bool { return p.have.Test(uint(i)) }

// burden orders parents: what was told, or our own part of it where that is newer.
func (p *parent) burden() int { return max(p.load, p.out) }

// AddParent makes a peer askable. Adding one that is known changes nothing.
func (p *Plan) AddParent(id string, seed bool) {
	if p.parents[id] != nil {
		return
	}
	n := &parent{id: id, seed: seed, have: &bitset.BitSet{}}
	p.parents[id] = n
	if seed {
		p.seed = n
		return
	}
	p.order = append(p.order, n)
}

// RemoveParent forgets a peer. Its outstanding requests have to be ended by End.
func (p *Plan) RemoveParent(id string) {
	n := p.parents[id]
	if n == nil {
		return
	}
	delete(p.parents, id)
	if n.seed {
		p.seed = nil
		return
	}
	for i, o := range p.order {
		if o == n {
			p.order = append(p.order[:i], p.order[i+1:]...)
			break
		}
	}
	for i, ok := n.have.NextSet(0); ok; i, ok = n.have.NextSet(i + 1) {
		p.count[i]--
	}
}

// Gained says that a parent holds more pieces, and its load.
func (p *Plan) Gained(id string, pieces *bitset.BitSet, load int) {
	n := p.parents[id]
	if n == nil || n.seed {
		return
	}
	n.load = load
	for i, ok := pieces.NextSet(0); ok; i, ok = pieces.NextSet(i + 1) {
		if n.have.Test(i) {
			continue
		}
		n.have.Set(i)
		for len(p.count) <= int(i) {
			p.count = append(p.count, 0)
		}
		p.count[i]++
	}
}

// Load says how many requests a parent has admitted.
func (p *Plan) Load(id string, load int) {
	if n := p.parents[id]; n != nil {
		n.load = load
	}
}

// Room says that a parent which turned us away has a place for us.
func (p *Plan) Room(id string, load int) {
	if n := p.parents[id]; n != nil {
		n.load, n.busyUntil = load, time.Time{}
	}
}

// forget takes a piece off what a parent is thought to hold.
func (p *Plan) forget(n *parent, i int) {
	if n.seed {
		n.have.Set(uint(i))
		return
	}
	if n.have.Test(uint(i)) {
		n.have.Clear(uint(i))
		p.count[i]--
	}
}
