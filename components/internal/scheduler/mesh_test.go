package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func newTestMesh(seed uint64) *Mesh { return NewMesh(rand.New(rand.NewPCG(seed, 1))) }

func name(i int) string { return fmt.Sprintf("p%d", i) }

// check fails where a rule that holds at any time is broken.
func check(t *testing.T, m *Mesh) {
	t.Helper()
	for id, n := range m.nodes {
		if len(n.edges) > MaxDegree {
			t.Fatalf("%s has %d neighbours, want at most %d", id, len(n.edges), MaxDegree)
		}
		for i, v := range n.edges {
			switch {
			case v == n:
				t.Fatalf("%s is its own neighbour", id)
			case m.nodes[v.ID] != v:
				t.Fatalf("%s has %s as neighbour, who left", id, v.ID)
			case !v.linked(n):
				t.Fatalf("%s has %s as neighbour, but not the other way round", id, v.ID)
			case slices.Contains(n.edges[i+1:], v):
				t.Fatalf("%s has %s as neighbour twice", id, v.ID)
			case n.bans(v):
				t.Fatalf("%s and %s are neighbours and banned", id, v.ID)
			case !useful(n, v):
				t.Fatalf("%s and %s are neighbours and neither can use it", id, v.ID)
			}
		}
		if in := n.slot[inRoom] != 0; in != (len(n.edges) < MaxDegree) {
			t.Fatalf("%s with %d neighbours: counted as having room is %v", id, len(n.edges), in)
		}
	}
}

// components counts the connected parts of the graph.
func components(m *Mesh) int {
	seen := map[*node]bool{}
	parts := 0
	for _, start := range m.nodes {
		if seen[start] {
			continue
		}
		parts++
		seen[start] = true
		for todo := []*node{start}; len(todo) > 0; {
			n := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			for _, v := range n.edges {
				if !seen[v] {
					seen[v] = true
					todo = append(todo, v)
				}
			}
		}
	}
	return parts
}

func TestUpToSeventeenPeersEverybodyKnowsEverybody(t *testing.T) {
	t.Parallel()
	m := newTestMesh(1)
	for i := range MaxDegree + 1 {
		m.Join(Peer{ID: name(i)})
		check(t, m)
		for j := range i + 1 {
			if got := len(m.Parents(nil, name(j))); got != i {
				t.Fatalf("with %d peers, %s has %d parents, want %d", i+1, name(j), got, i)
			}
		}
	}
}

func TestAnyNumberOfJoinsGivesOneGraphWithEnoughParentsForAll(t *testing.T) {
	t.Parallel()
	for _, size := range []int{18, 19, 33, 100, 1000} {
		for seed := range uint64(2) {
			m := newTestMesh(seed)
			for i := range size {
				m.Join(Peer{ID: name(i), Place: name(i % 3)})
			}
			check(t, m)
			if parts := components(m); parts != 1 {
				t.Fatalf("%d peers, seed %d: the graph has %d parts, want 1", size, seed, parts)
			}
			for id, n := range m.nodes {
				if got := n.parents(); got < MinDegree {
					t.Fatalf("%d peers, seed %d: %s has %d parents, want %d or more", size, seed, id, got, MinDegree)
				}
			}
		}
	}
}

func TestRulesHoldThroughRandomLives(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 2))
		m := newTestMesh(seed)
		next := 0
		someone := func() string { return m.all.nodes[rng.IntN(len(m.all.nodes))].ID }
		for range 1000 {
			switch what := rng.IntN(20); {
			case what < 9 || m.Len() < 2:
				m.Join(Peer{ID: name(next), Place: name(rng.IntN(4)), Strikes: rng.IntN(3), Complete: rng.IntN(10) == 0})
				next++
			case what < 15:
				m.Leave(someone())
			case what < 17:
				m.Complete(someone())
			case what < 19:
				m.Ban(someone(), someone())
			default:
				m.Bar(someone())
			}
			m.Changed(func(id string) {
				if !m.Has(id) {
					t.Fatalf("news for %s, who left", id)
				}
			})
		}
		check(t, m)
	}
}

func TestLeaversAreReplaced(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		m := newTestMesh(seed)
		for i := range 300 {
			m.Join(Peer{ID: name(i), Place: name(i % 2)})
		}
		for i := range 250 {
			m.Leave(name(i))
			if i%25 > 0 {
				continue
			}
			check(t, m)
			if parts := components(m); parts != 1 {
				t.Fatalf("seed %d: after %d leavers the graph has %d parts, want 1", seed, i+1, parts)
			}
			for id, n := range m.nodes {
				if got := n.parents(); got < MinDegree {
					t.Fatalf("seed %d: after %d leavers %s has %d parents, want %d or more", seed, i+1, id, got, MinDegree)
				}
			}
		}
	}
}

func TestMostNeighboursAreNearAndSomeAreFar(t *testing.T) {
	t.Parallel()
	m := newTestMesh(7)
	for i := range 1000 {
		m.Join(Peer{ID: name(i), Place: name(i % 5)})
	}
	near, far, withoutFar := 0, 0, 0
	for _, n := range m.nodes {
		farHere := 0
		for _, v := range n.edges {
			if v.Place == n.Place {
				near++
			} else {
				farHere++
			}
		}
		far += farHere
		if farHere == 0 {
			withoutFar++
		}
	}
	if near <= far {
		t.Errorf("%d near edges and %d far ones in five places, want more near ones", near, far)
	}
	if withoutFar > 10 {
		t.Errorf("%d of 1,000 peers know nobody in another place, want 10 at most", withoutFar)
	}
}

func TestOnePlaceBehindAnotherIsStillConnected(t *testing.T) {
	t.Parallel()
	m := newTestMesh(3)
	for i := range 400 {
		m.Join(Peer{ID: name(i), Place: name(i / 200)}) // the second place joins when the first is full
	}
	if parts := components(m); parts != 1 {
		t.Fatalf("the graph has %d parts, want 1", parts)
	}
}

func TestCompletePeersServeThoseInNeed(t *testing.T) {
	t.Parallel()
	m := newTestMesh(4)
	for i := range 500 {
		m.Join(Peer{ID: name(i)})
	}
	for i := range 500 {
		m.Complete(name(i))
	}
	check(t, m)
	for i := range 500 {
		if got := len(m.Parents(nil, name(i))); got != 0 {
			t.Fatalf("complete %s still has %d parents among complete ones", name(i), got)
		}
	}
	m.Join(Peer{ID: "new"})
	if got := len(m.Parents(nil, "new")); got < MinDegree {
		t.Fatalf("a newcomer among complete peers has %d parents, want %d or more", got, MinDegree)
	}
}

func TestABannedPairIsNeverLinkedAgain(t *testing.T) {
	t.Parallel()
	m := newTestMesh(5)
	for i := range 10 {
		m.Join(Peer{ID: name(i)})
	}
	m.Ban("p1", "p2")
	if m.Linked("p1", "p2") {
		t.Fatal("p1 and p2 are neighbours after the ban")
	}
	for i := 3; i < 10; i++ {
		m.Leave(name(i))
		m.Join(Peer{ID: name(i)})
	}
	check(t, m)
	if m.Linked("p1", "p2") {
		t.Fatal("p1 and p2 became neighbours again")
	}
}

func TestABarredPeerIsNobodysParentAndHasParents(t *testing.T) {
	t.Parallel()
	for _, size := range []int{5, 200} {
		m := newTestMesh(6)
		for i := range size {
			m.Join(Peer{ID: name(i)})
		}
		m.Changed(func(string) {})
		m.Bar("p3")
		told := map[string]bool{}
		m.Changed(func(id string) { told[id] = true })
		for i := range size {
			if slices.Contains(m.Parents(nil, name(i)), "p3") {
				t.Errorf("%d peers: %s still has p3 as parent", size, name(i))
			}
		}
		if len(m.Parents(nil, "p3")) == 0 {
			t.Errorf("%d peers: p3 has no parents", size)
		}
		for _, v := range m.nodes["p3"].edges {
			if !told[v.ID] {
				t.Errorf("%d peers: %s lost p3 as parent and is not told", size, v.ID)
			}
		}
	}
}

func TestJoiningTellsBothEnds(t *testing.T) {
	t.Parallel()
	m := newTestMesh(8)
	m.Join(Peer{ID: "a"})
	m.Changed(func(string) {})
	m.Join(Peer{ID: "b"})
	var told []string
	m.Changed(func(id string) { told = append(told, id) })
	slices.Sort(told)
	if !slices.Equal(told, []string{"a", "b"}) {
		t.Fatalf("told %v, want a and b", told)
	}
	m.Changed(func(id string) { t.Errorf("told %s a second time", id) })
}

func TestUnknownPeersAreNoTrouble(t *testing.T) {
	t.Parallel()
	m := newTestMesh(9)
	m.Join(Peer{ID: "a"})
	m.Join(Peer{ID: "a", Place: "elsewhere"})
	m.Leave("x")
	m.Complete("x")
	m.Ban("x", "a")
	m.Ban("a", "a")
	m.Bar("x")
	if got := m.Parents(nil, "x"); got != nil {
		t.Errorf("an unknown peer has parents %v", got)
	}
	if m.Len() != 1 {
		t.Errorf("the mesh has %d peers, want 1", m.Len())
	}
	check(t, m)
}

// BenchmarkJoin is the cost of one registration's decision in a swarm of 10,000.
func BenchmarkJoin(b *testing.B) {
	const size = 10_000
	m := newTestMesh(1)
	for i := range size {
		m.Join(Peer{ID: name(i), Place: name(i % 3)})
	}
	buf := make([]string, 0, MaxDegree)
	b.ReportAllocs()
	i := size
	for b.Loop() {
		id := name(i)
		m.Join(Peer{ID: id, Place: name(i % 3)})
		buf = m.Parents(buf[:0], id)
		m.Leave(name(i - size))
		m.Changed(func(string) {})
		i++
	}
}
