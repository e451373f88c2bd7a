package mesh

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// The simulation runs real plans over modelled links: every uplink serves one request at a time at its rate from a bounded queue, and
// calls a waiting child when a place frees. Time is virtual.

type simEvent struct {
	at  time.Duration
	seq int
	f   func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any     { o := *q; e := o[len(o)-1]; *q = o[:len(o)-1]; return e }

type simulation struct {
	t       *testing.T
	layout  piece.Layout
	now     time.Duration
	seq     int
	queue   simQueue
	latency time.Duration
	nodes   []*simNode // the last is the seed
	fresh   int        // next piece that the seed sent nobody
	sent    int        // by the seed, pieces
	twice   int        // pieces that came to a peer that held them
	places  int        // requests an uplink admits
	rand    *rand.Rand
}

type simNode struct {
	id       int
	plan     *Plan // nil for the seed
	have     *bitset.BitSet
	near     []int
	rate     float64 // bytes a second
	line     []simRequest
	serving  bool
	down     time.Duration // when the downlink is free
	waiting  []int
	done     time.Duration
	finished bool
	timer    time.Time // the pending one, which may be early
}

type simRequest struct {
	from  *simNode
	order Order
}

var simEpoch = time.Unix(1_000_000, 0)

func (s *simulation) clock() time.Time { return simEpoch.Add(s.now) }

func (s *simulation) after(d time.Duration, f func()) {
	s.seq++
	heap.Push(&s.queue, simEvent{s.now + d, s.seq, f})
}

func newSimulation(t *testing.T, peers, degree int, size int64, rate func(i int) float64) *simulation {
	s := &simulation{t: t, layout: piece.NewLayout(size), latency: 500 * time.Microsecond, places: 6, rand: rand.New(rand.NewPCG(7, 7))}
	for i := range peers + 1 {
		n := &simNode{id: i, have: &bitset.BitSet{}, rate: rate(i)}
		if i < peers {
			n.plan = New(Config{}, s.layout, rand.New(rand.NewPCG(1, uint64(i))))
			for k := range s.layout.Count() {
				n.plan.Know(k)
			}
		}
		s.nodes = append(s.nodes, n)
	}
	link := func(a, b int) {
		if slices.Contains(s.nodes[a].near, b) {
			return
		}
		s.nodes[a].near, s.nodes[b].near = append(s.nodes[a].near, b), append(s.nodes[b].near, a)
	}
	for a := range peers {
		if degree >= peers-1 {
			for b := range a {
				link(a, b)
			}
			continue
		}
		for len(s.nodes[a].near) < degree {
			if b := s.rand.IntN(peers); b != a {
				link(a, b)
			}
		}
	}
	for _, n := range s.nodes[:peers] {
		for _, p := range n.near {
			n.plan.AddParent(name(p), false)
		}
		n.plan.AddParent(name(peers), true)
	}
	return s
}

func name(i int) string { return string(rune('A'+i%26)) + string(rune('0'+i/26)) }

func (s *simulation) byName(id string) *simNode {
	for _, n := range s.nodes {
		if name(n.id) == id {
			return n
		}
	}
	return nil
}

// pump sends what a peer's plan asks for.
func (s *simulation) pump(n *simNode) {
	if n.finished {
		return
	}
	orders, wake := n.plan.Next(s.clock())
	for _, o := range orders {
		p := s.byName(o.Parent)
		s.after(s.latency, func() { s.arrive(p, simRequest{n, o}) })
	}
	if !wake.IsZero() && (n.timer.IsZero() || wake.Before(n.timer)) {
		n.timer = wake
		s.after(wake.Sub(s.clock()), func() {
			if n.timer.Equal(wake) {
				n.timer = time.Time{}
				s.pump(n)
			}
		})
	}
}

// arrive admits a request or turns it away.
func (s *simulation) arrive(p *simNode, r simRequest) {
	if !r.order.Pick && len(p.line) >= s.places {
		p.waiting = append(p.waiting, r.from.id)
		s.after(s.latency, func() {
			r.from.plan.End(r.order.ID, Busy, 0, s.clock())
			s.pump(r.from)
		})
		return
	}
	p.line = append(p.line, r)
	s.serve(p)
}

func (s *simulation) serve(p *simNode) {
	if p.serving || len(p.line) == 0 {
		return
	}
	r := p.line[0]
	if r.order.Pick {
		if s.fresh >= s.layout.Count() {
			p.line = p.line[1:]
			s.after(s.latency, func() {
				r.from.plan.End(r.order.ID, PickOver, 0, s.clock())
				s.pump(r.from)
			})
			s.serve(p)
			return
		}
		r.order.First, r.order.Count = s.fresh, int(max(1, r.order.Limit/s.layout.Size))
		r.order.Count = min(r.order.Count, s.layout.Count()-s.fresh)
		s.fresh += r.order.Count
	}
	if p.plan == nil {
		s.sent += r.order.Count
	}
	p.serving = true
	var bytes int64
	for i := range r.order.Count {
		_, n := s.layout.Range(r.order.First + i)
		bytes += n
	}
	took := time.Duration(float64(bytes) / p.rate * 1e9)
	arrive := max(s.now+took, r.from.down+time.Duration(float64(bytes)/r.from.rate*1e9))
	r.from.down = arrive
	s.after(took, func() {
		p.serving = false
		p.line = p.line[1:]
		s.call(p)
		s.serve(p)
	})
	s.after(arrive-s.now+s.latency, func() { s.deliver(r, bytes) })
}

// call tells a waiting child of a free place.
func (s *simulation) call(p *simNode) {
	for range 2 {
		if len(p.waiting) == 0 {
			return
		}
		c := s.nodes[p.waiting[0]]
		p.waiting = p.waiting[1:]
		s.after(s.latency, func() {
			c.plan.Room(name(p.id), len(p.line))
			s.pump(c)
		})
	}
}

func (s *simulation) deliver(r simRequest, bytes int64) {
	n := r.from
	gained := &bitset.BitSet{}
	for i := r.order.First; i < r.order.First+r.order.Count; i++ {
		if n.have.Test(uint(i)) {
			s.twice++
			continue
		}
		n.have.Set(uint(i))
		gained.Set(uint(i))
		n.plan.Hold(i)
	}
	n.plan.End(r.order.ID, Served, bytes, s.clock())
	for _, c := range n.near {
		child := s.nodes[c]
		s.after(s.latency, func() {
			if !child.finished {
				child.plan.Gained(name(n.id), gained, len(n.line))
				s.pump(child)
			}
		})
	}
	if n.plan.Done() && !n.finished {
		n.finished, n.done = true, s.now
	}
	s.pump(n)
}

// run returns the time of the last peer over that of one link for the whole content, and the copies the seed sent.
func (s *simulation) run(peers int, base float64) (ratio, copies float64) {
	for _, i := range s.rand.Perm(peers) {
		s.pump(s.nodes[i])
	}
	for len(s.queue) > 0 {
		e := heap.Pop(&s.queue).(simEvent)
		s.now = e.at
		if s.now > time.Hour {
			s.t.Fatal("the simulated swarm does not finish")
		}
		e.f()
		last, all := time.Duration(0), true
		for _, n := range s.nodes[:peers] {
			all = all && n.finished
			last = max(last, n.done)
		}
		if all {
			limit := float64(s.layout.Length) / base
			return last.Seconds() / limit, float64(s.sent) / float64(s.layout.Count())
		}
	}
	s.t.Fatal("the simulated swarm stands still")
	return 0, 0
}

func TestSwarmsOfEqualLinksFinishNearTheLimit(t *testing.T) {
	t.Parallel()
	const link = 5e6 // bytes a second: 40 Mbit/s
	for _, peers := range []int{1, 4, 16, 32} {
		s := newSimulation(t, peers, 16, 64<<20, func(int) float64 { return link })
		ratio, copies := s.run(peers, link)
		t.Logf("%d peers: last at %.3f of the limit, the seed sent %.2f copies, %d pieces came twice", peers, ratio, copies, s.twice)
		if ratio > 1.06 {
			t.Errorf("%d peers: the last one finished at %.3f of the limit, want at most 1.06", peers, ratio)
		}
		if copies > 1.3 {
			t.Errorf("%d peers: the seed sent %.2f copies, want at most 1.3", peers, copies)
		}
		if limit := s.layout.Count() * peers / 100; s.twice > limit {
			t.Errorf("%d peers: %d pieces came twice, want at most %d", peers, s.twice, limit)
		}
	}
}

func TestSlowPeersDoNotHoldUpFastOnes(t *testing.T) {
	t.Parallel()
	const link, peers = 5e6, 32
	s := newSimulation(t, peers, 16, 64<<20, func(i int) float64 {
		if i < peers/8 {
			return link / 4
		}
		return link
	})
	s.run(peers, link)
	last := time.Duration(0)
	for _, n := range s.nodes[peers/8 : peers] {
		last = max(last, n.done)
	}
	ratio := last.Seconds() / (float64(s.layout.Length) / link)
	t.Logf("fast peers: last at %.3f of the limit", ratio)
	if ratio > 1.2 {
		t.Errorf("the last fast peer finished at %.3f of the limit, want at most 1.2", ratio)
	}
}
