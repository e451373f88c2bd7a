package scheduler

import "slices"

// oversample is how many candidates are looked at for each neighbour wanted: enough to find the less busy ones, few enough to keep
// the cost of a decision constant.
const oversample = 3

// fill gives n neighbours, near ones first.
func (m *Mesh) fill(n *node) {
	if len(m.nodes) <= MaxDegree+1 {
		for _, v := range m.all.nodes {
			m.tryLink(n, v)
		}
		return
	}
	const want = MaxDegree
	here := m.places[n.Place]
	elsewhere := func(v *node) bool { return v.Place != n.Place }
	m.draw(n, &here.room, want-farDegree, nil)
	far := min(want, len(n.edges)+max(0, farDegree-n.far()))
	if len(m.places) > 1 {
		m.draw(n, &m.room, far, elsewhere)
		m.split(n, &m.all, far, func(u, _ *node) bool { return elsewhere(u) })
	}
	m.draw(n, &here.room, want, nil)
	// A far edge stays with the near node that has it, unless n lacks one: it may be that node's only one.
	m.split(n, &here.all, want, func(_, v *node) bool { return !elsewhere(v) || n.far() < farDegree })
	m.draw(n, &m.room, want, nil)
	m.split(n, &m.all, want, nil)
}

// far is the number of neighbours in other places.
func (n *node) far() int {
	count := 0
	for _, v := range n.edges {
		if v.Place != n.Place {
			count++
		}
	}
	return count
}

// refill gives n new neighbours when it has too few parents left.
func (m *Mesh) refill(n *node) {
	if n.Complete || n.parents() >= MinDegree {
		return
	}
	m.fill(n)
}

// draw links n to nodes of p that pass ok, until n has want neighbours or the samples are used up: the less busy first.
func (m *Mesh) draw(n *node, p *pool, want int, ok func(*node) bool) {
	need := want - len(n.edges)
	if need <= 0 || len(p.nodes) == 0 {
		return
	}
	picks := make([]*node, 0, oversample*MaxDegree)
	if tries := oversample * need; tries >= len(p.nodes) {
		picks = append(picks, p.nodes...)
		m.rng.Shuffle(len(picks), func(i, j int) { picks[i], picks[j] = picks[j], picks[i] })
	} else {
		for range tries {
			picks = append(picks, p.nodes[m.rng.IntN(len(p.nodes))])
		}
	}
	slices.SortStableFunc(picks, func(a, b *node) int { return a.rank() - b.rank() })
	for _, v := range picks {
		if len(n.edges) >= want {
			return
		}
		if ok == nil || ok(v) {
			m.tryLink(n, v)
		}
	}
}

// rank orders candidates: lower is better. Few neighbours stand for spare upload, and a complete peer gives without taking.
func (n *node) rank() int {
	r := len(n.edges) + 2*n.Strikes
	if n.Complete {
		r -= 4
	}
	if n.barred {
		r += MaxDegree
	}
	return r
}

func (m *Mesh) tryLink(n, v *node) {
	if m.fits(n, v) && len(v.edges) < MaxDegree && len(n.edges) < MaxDegree {
		m.link(n, v)
	}
}

func (m *Mesh) fits(n, v *node) bool {
	return n != v && useful(n, v) && !n.bans(v) && !n.linked(v)
}

// split makes room where all are full: it puts n into the middle of edges u–v with u in p that pass ok, until n has want neighbours or no
// place for two more. Degrees of the others stay as they are, and so does connectedness. Next to a near node, the graph has one
// near edge more afterwards and as many far ones as before.
func (m *Mesh) split(n *node, p *pool, want int, ok func(u, v *node) bool) {
	if n.Complete || len(p.nodes) == 0 {
		return
	}
	for range oversample * want {
		if len(n.edges)+2 > want {
			return
		}
		u := p.nodes[m.rng.IntN(len(p.nodes))]
		if len(u.edges) == 0 || !m.fits(n, u) {
			continue
		}
		v := u.edges[m.rng.IntN(len(u.edges))]
		if !m.fits(n, v) || ok != nil && !ok(u, v) {
			continue
		}
		m.unlink(u, v)
		m.link(u, n)
		m.link(v, n)
	}
}
