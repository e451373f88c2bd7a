// Package scheduler decides, for one swarm, who is whose parent and which piece the seed sends next. It is pure: state in, decision
// out, randomness injected, no clock, no I/O, no locks.
package scheduler

import (
	"math/rand/v2"
	"slices"
)

// Degrees of the neighbour graph. Ten neighbours are enough at any size, and each one more has to be told of every piece;
// the measurements are in docs/architecture.md.
const (
	// MaxDegree bounds a peer's neighbours, and is what it is given: one that has a few less than the others falls behind them. Up to
	// MaxDegree+1 peers everybody knows everybody.
	MaxDegree = 10
	// MinDegree is the number of parents below which a peer is given new ones.
	MinDegree = 8
	// farDegree of them are in other places, so that the graph stays connected across zones. Those who join later add as many.
	farDegree = 2
)

// Peer describes a peer to the scheduler.
type Peer struct {
	ID string
	// Place is where it stands: the topology zone, or the subnet when the zone is unknown. Neighbours of one place are preferred.
	Place string
	// Strikes lower its rank among equals: complaints against its host.
	Strikes int
	// Complete peers need no parents.
	Complete bool
}

// Mesh is the neighbour graph of one swarm. Edges are symmetric: whoever is your neighbour has you as neighbour too. Deciding
// costs O(MaxDegree), whatever the number of peers. Not safe for concurrent use.
type Mesh struct {
	rng     *rand.Rand
	nodes   map[string]*node
	all     pool
	room    pool // of all, those with room for a neighbour
	places  map[string]*neighbourhood
	changed map[*node]struct{}
}

// neighbourhood is who stands in one place.
type neighbourhood struct{ all, room pool }

type node struct {
	Peer
	edges  []*node
	banned map[string]struct{} // peers never to be linked to again
	// barred peers are nobody's parent; they still have parents.
	barred bool
	slot   [4]int32 // position in each pool, counted from one; 0 when not in
}

// NewMesh returns an empty mesh that draws from rng.
func NewMesh(rng *rand.Rand) *Mesh {
	return &Mesh{
		rng:     rng,
		nodes:   map[string]*node{},
		all:     pool{slot: inAll},
		room:    pool{slot: inRoom},
		places:  map[string]*neighbourhood{},
		changed: map[*node]struct{}{},
	}
}

// Len is the number of peers.
func (m *Mesh) Len() int { return len(m.nodes) }

// Has reports whether the peer is in the mesh.
func (m *Mesh) Has(id string) bool { return m.nodes[id] != nil }

// Join adds a peer and links it. A peer that is in already stays as it is.
func (m *Mesh) Join(p Peer) {
	if m.nodes[p.ID] != nil {
		return
	}
	n := &node{Peer: p}
	m.nodes[p.ID] = n
	m.all.add(n)
	here := m.places[n.Place]
	if here == nil {
		here = &neighbourhood{all: pool{slot: inPlace}, room: pool{slot: inPlaceRoom}}
		m.places[n.Place] = here
	}
	here.all.add(n)
	m.track(n)
	m.changed[n] = struct{}{}
	m.fill(n)
}

// Leave removes a peer, and gives new neighbours to those who had it and now have too few.
func (m *Mesh) Leave(id string) {
	n := m.nodes[id]
	if n == nil {
		return
	}
	left := n.edges
	n.edges = nil
	for _, v := range left {
		v.drop(n)
		m.track(v)
		m.changed[v] = struct{}{}
	}
	m.untrack(n)
	m.all.remove(n)
	here := m.places[n.Place]
	if here.all.remove(n); len(here.all.nodes) == 0 {
		delete(m.places, n.Place)
	}
	delete(m.nodes, id)
	delete(m.changed, n)
	for _, v := range left {
		m.refill(v)
	}
}

// Complete marks a peer as one that needs no parents any more. Its edges to those who can't use it go, so that there is room for
// those in need.
func (m *Mesh) Complete(id string) {
	n := m.nodes[id]
	if n == nil || n.Complete {
		return
	}
	n.Complete = true
	for _, v := range append([]*node(nil), n.edges...) {
		if !useful(n, v) {
			m.unlink(n, v)
		}
	}
}

// Ban cuts child and parent apart for good.
func (m *Mesh) Ban(child, parent string) {
	c, p := m.nodes[child], m.nodes[parent]
	if c == nil || p == nil {
		return
	}
	if c.banned == nil {
		c.banned = map[string]struct{}{}
	}
	c.banned[parent] = struct{}{}
	if c.linked(p) {
		m.unlink(c, p)
		m.refill(p)
	}
	m.refill(c)
}

// Bar takes a peer away as parent from everybody. It keeps its own parents.
func (m *Mesh) Bar(id string) {
	n := m.nodes[id]
	if n == nil || n.barred {
		return
	}
	n.barred = true
	for _, v := range append([]*node(nil), n.edges...) {
		m.changed[v] = struct{}{}
		if !useful(n, v) {
			m.unlink(n, v)
		}
		m.refill(v)
	}
}

// Linked reports whether the two are neighbours.
func (m *Mesh) Linked(a, b string) bool {
	x, y := m.nodes[a], m.nodes[b]
	return x != nil && y != nil && x.linked(y)
}

// Parents appends the parents of a peer to buf, in no particular order.
func (m *Mesh) Parents(buf []string, id string) []string {
	n := m.nodes[id]
	if n == nil {
		return buf
	}
	for _, v := range n.edges {
		if !v.barred {
			buf = append(buf, v.ID)
		}
	}
	return buf
}

// Changed calls f with every peer whose parents may have changed since the last call.
func (m *Mesh) Changed(f func(id string)) {
	for n := range m.changed {
		f(n.ID)
	}
	clear(m.changed)
}

func (m *Mesh) link(a, b *node) {
	a.edges = append(a.edges, b)
	b.edges = append(b.edges, a)
	m.touch(a, b)
}

func (m *Mesh) unlink(a, b *node) {
	a.drop(b)
	b.drop(a)
	m.touch(a, b)
}

func (m *Mesh) touch(a, b *node) {
	m.track(a)
	m.track(b)
	m.changed[a] = struct{}{}
	m.changed[b] = struct{}{}
}

// track puts n in or out of the pools of those who have room.
func (m *Mesh) track(n *node) {
	if len(n.edges) >= MaxDegree {
		m.untrack(n)
		return
	}
	if n.slot[inRoom] == 0 {
		m.room.add(n)
		m.places[n.Place].room.add(n)
	}
}

func (m *Mesh) untrack(n *node) {
	if n.slot[inRoom] != 0 {
		m.room.remove(n)
		m.places[n.Place].room.remove(n)
	}
}

func (n *node) linked(v *node) bool { return slices.Contains(n.edges, v) }

func (n *node) drop(v *node) {
	for i, e := range n.edges {
		if e == v {
			last := len(n.edges) - 1
			n.edges[i] = n.edges[last]
			n.edges[last] = nil
			n.edges = n.edges[:last]
			return
		}
	}
}

// parents is the number of neighbours that n may fetch from.
func (n *node) parents() int {
	count := 0
	for _, v := range n.edges {
		if !v.barred {
			count++
		}
	}
	return count
}

func (n *node) bans(v *node) bool {
	_, a := n.banned[v.ID]
	_, b := v.banned[n.ID]
	return a || b
}

// useful reports whether an edge between the two could carry a piece in either direction.
func useful(a, b *node) bool {
	return !a.Complete && !b.barred || !b.Complete && !a.barred
}

// Pools that a node may be in.
const (
	inAll = iota
	inRoom
	inPlace
	inPlaceRoom
)

// pool is a set of nodes with O(1) add, remove and random choice.
type pool struct {
	slot  int // which of node.slot this pool uses
	nodes []*node
}

func (p *pool) add(n *node) {
	p.nodes = append(p.nodes, n)
	n.slot[p.slot] = int32(len(p.nodes))
}

func (p *pool) remove(n *node) {
	i, last := n.slot[p.slot]-1, len(p.nodes)-1
	moved := p.nodes[last]
	p.nodes[i] = moved
	moved.slot[p.slot] = i + 1
	p.nodes[last] = nil
	p.nodes = p.nodes[:last]
	n.slot[p.slot] = 0
}
