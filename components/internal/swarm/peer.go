package swarm

import (
	"net/netip"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/scheduler"
)

// seedName names the seed among a peer's parents. Neither it nor residentName can be a registered peer's: those hold no "@".
const seedName = "@seed"

func residentName(host string) string { return "@" + host }

// peer is one member of a swarm. Its fields are guarded by task.mu.
type peer struct {
	id       string
	host     api.Host
	seedAddr string // of the seed, as this peer reaches it
	since    time.Time
	order    int // of registration

	seedOnly, private bool
	proofs            bool // it checks proofs
	access            accessKey
	failed            *api.Error

	have     *bitset.BitSet // nil when none or all
	complete bool
	// resident peers left the task, but their host still holds the whole and is alive.
	resident bool

	source       bool
	sourceFailed bool

	complaints int               // this peer made
	accusers   map[string]string // hosts, with what they complained of

	parentsVersion int
	wake           chan struct{} // capacity 1: news for this peer alone
	stream         *Stream
	answered       *cursor     // how far the answer to the registration told; nil once a stream goes on from there
	timer          *time.Timer // removes the peer when no stream comes
}

func (p *peer) stop() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

func (p *peer) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// place is what the scheduler takes for near: the zone, or the subnet where the zone is unknown.
func place(h api.Host) string {
	if h.Zone != "" || len(h.Addrs) == 0 {
		return h.Zone
	}
	a, err := netip.ParseAddrPort(h.Addrs[0])
	if err != nil {
		return ""
	}
	bits := 24
	if a.Addr().Is6() && !a.Addr().Is4In6() {
		bits = 64
	}
	net, err := a.Addr().Unmap().Prefix(bits)
	if err != nil {
		return ""
	}
	return net.String()
}

// add puts a new peer into the swarm.
func (t *task) add(p *peer) {
	p.wake = make(chan struct{}, 1)
	p.since = time.Now()
	p.order = t.joined
	t.joined++
	t.peers[p.id] = p
	t.s.metrics.peers.Inc()
	if p.resident {
		t.residents[p.host.ID] = p
	}
	if p.complete {
		t.countWhole()
	}
	if !p.seedOnly {
		t.mesh.Join(scheduler.Peer{
			ID: p.id, Place: place(p.host), Complete: p.complete, Strikes: t.s.hosts.strikes(p.host.ID),
		})
	}
	t.spreadParents()
}

// remove takes a peer out, with what it held.
func (t *task) remove(p *peer) {
	if t.peers[p.id] != p {
		return
	}
	p.stop()
	delete(t.peers, p.id)
	t.s.metrics.peers.Dec()
	if t.residents[p.host.ID] == p {
		delete(t.residents, p.host.ID)
	}
	if t.source == p {
		t.source = nil
	}
	t.forgetHave(p)
	t.mesh.Leave(p.id)
	t.spreadParents()
	p.notify()
}

// spreadParents tells those whose parents changed.
func (t *task) spreadParents() {
	t.mesh.Changed(func(id string) {
		if p := t.peers[id]; p != nil {
			p.parentsVersion++
			p.notify()
		}
	})
}

// setHave replaces what a peer holds.
func (t *task) setHave(p *peer, have *bitset.BitSet) {
	if p.complete {
		return
	}
	old := p.have
	if old == nil {
		old = &bitset.BitSet{}
	}
	for i := range have.Difference(old).EachSet() {
		t.copies[i]++
		t.fresh.Spread(int(i))
	}
	for i := range old.Difference(have).EachSet() {
		t.dropCopy(i)
	}
	p.have = have
}

func (t *task) dropCopy(i uint) {
	if t.copies[i]--; t.copies[i] == 0 && t.whole == 0 {
		t.fresh.Lost(int(i))
	}
}

// setComplete records that a peer holds everything.
func (t *task) setComplete(p *peer) {
	if p.complete {
		return
	}
	p.complete = true
	have := p.have
	p.have = nil
	t.countWhole()
	if have != nil {
		for i := range have.EachSet() {
			t.dropCopy(i)
		}
	}
	t.mesh.Complete(p.id)
	t.spreadParents()
}

func (t *task) countWhole() {
	if t.whole++; t.whole == 1 {
		for i := range t.position {
			t.fresh.Spread(i)
		}
	}
}

func (t *task) forgetHave(p *peer) {
	if p.complete {
		if t.whole--; t.whole == 0 {
			for i, n := range t.copies {
				if n == 0 {
					t.fresh.Lost(i)
				}
			}
		}
	}
	if p.have != nil {
		for i := range p.have.EachSet() {
			t.dropCopy(i)
		}
	}
	p.have, p.complete = nil, false
}

// wait gives a peer the time StreamGrace to open an event stream.
func (t *task) wait(p *peer) {
	p.stop()
	p.timer = time.AfterFunc(t.s.cfg.StreamGrace, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.gone || t.peers[p.id] != p || p.stream != nil || p.resident {
			return
		}
		t.leave(p)
	})
}

// leave ends a peer's part in the task. What it holds completely stays with its host, while that lives.
func (t *task) leave(p *peer) {
	if p.complete && p.failed == nil && t.s.hosts.alive(p.host.ID) && t.residents[p.host.ID] == nil {
		p.resident = true
		t.residents[p.host.ID] = p
		p.stop()
		return
	}
	t.remove(p)
	t.provide()
}

func (t *task) hostGone(host string) {
	if p := t.residents[host]; p != nil {
		t.remove(p)
		t.provide()
	}
}

// parents is the list to send to a peer: its neighbours in the mesh, the seed last.
func (t *task) parents(p *peer) []api.Parent {
	names := t.mesh.Parents(make([]string, 0, scheduler.MaxDegree), p.id)
	list := make([]api.Parent, 0, len(names)+1)
	for _, name := range names {
		if v := t.peers[name]; v != nil && v.failed == nil {
			list = append(list, api.Parent{Peer: v.id, Addrs: v.host.Addrs})
		}
	}
	return append(list, api.Parent{Peer: seedName, Addrs: []string{p.seedAddr}, Seed: true})
}
