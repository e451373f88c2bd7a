package swarm

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

const (
	// missed is how many heartbeats in a row a host may miss and still count as alive.
	missed = 3
	// maxHolders bounds the hosts remembered for a task that is not in memory: enough to get it again, and to be its first parents.
	maxHolders = 64
	// maxInventory bounds the tasks remembered of a host.
	maxInventory = 50_000
	// strikeLife is how long a complaint against a host counts.
	strikeLife = 10 * time.Minute
)

// hosts knows who is alive and which tasks they hold completely.
type hosts struct {
	max     int
	mu      sync.Mutex // guards everything below
	byID    map[string]*hostState
	holders map[string]*holding // by task
}

type hostState struct {
	host     api.Host
	version  string
	revision uint64
	told     bool // the inventory of revision is known
	asked    bool // for the inventory
	seen     time.Time
	life     time.Duration // how long it counts as alive from then on
	tasks    []*holding
	struck   int
	strucks  time.Time // last strike
}

// holding is who holds a task.
type holding struct {
	task   string
	length int64
	hosts  []*hostState
}

func newHosts(limit int) *hosts {
	return &hosts{max: limit, byID: map[string]*hostState{}, holders: map[string]*holding{}}
}

// beat takes a heartbeat. lost are tasks the host held and holds no more, won those it holds now and did not before. need asks for the
// inventory.
func (h *hosts) beat(b *api.Heartbeat, now time.Time) (need bool, lost, won []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.byID[b.Host.ID]
	if st == nil {
		if len(h.byID) >= h.max {
			return false, nil, nil, ErrFull
		}
		st = &hostState{}
		h.byID[b.Host.ID] = st
	}
	if !slices.Equal(st.host.Addrs, b.Host.Addrs) {
		lost, _ = h.replace(st, nil) // whoever was told the old address can't use it
		st.told = false
	}
	st.host, st.version, st.seen = b.Host, b.Version, now
	st.life = missed * cmp.Or(time.Duration(b.Every)*time.Second, api.HeartbeatInterval)
	if b.Inventory != nil || st.asked { // an empty one is left out on the wire
		var more []string
		more, won = h.replace(st, b.Inventory)
		lost = append(lost, more...)
		st.revision, st.told = b.Revision, true
	}
	st.asked = !st.told || st.revision != b.Revision
	return st.asked, lost, won, nil
}

func (h *hosts) replace(st *hostState, inventory []api.HeldTask) (lost, won []string) {
	if len(inventory) > maxInventory {
		inventory = inventory[:maxInventory]
	}
	now := make(map[string]int64, len(inventory))
	for _, t := range inventory {
		now[t.ID] = t.Length
	}
	kept := st.tasks[:0]
	for _, hd := range st.tasks {
		if _, ok := now[hd.task]; ok {
			kept = append(kept, hd)
			delete(now, hd.task)
			continue
		}
		h.release(hd, st)
		lost = append(lost, hd.task)
	}
	clear(st.tasks[len(kept):])
	st.tasks = kept
	for id, length := range now {
		won = append(won, id)
		h.take(st, id, length)
	}
	return lost, won
}

func (h *hosts) take(st *hostState, id string, length int64) {
	hd := h.holders[id]
	if hd == nil {
		hd = &holding{task: id, length: length}
		h.holders[id] = hd
	}
	if len(hd.hosts) < maxHolders && hd.length == length {
		hd.hosts = append(hd.hosts, st)
		st.tasks = append(st.tasks, hd)
	}
}

func (h *hosts) release(hd *holding, st *hostState) {
	if i := slices.Index(hd.hosts, st); i >= 0 {
		hd.hosts = slices.Delete(hd.hosts, i, i+1)
	}
	if len(hd.hosts) == 0 {
		delete(h.holders, hd.task)
	}
}

// expire forgets hosts unheard of and returns their ids.
func (h *hosts) expire(now time.Time) (gone []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, st := range h.byID {
		if now.Sub(st.seen) <= st.life {
			continue
		}
		for _, hd := range st.tasks {
			h.release(hd, st)
		}
		delete(h.byID, id)
		gone = append(gone, id)
	}
	return gone
}

// forget takes a task from a host that turned out not to have it.
func (h *hosts) forget(host, task string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	st, hd := h.byID[host], h.holders[task]
	if st == nil || hd == nil {
		return
	}
	h.release(hd, st)
	if i := slices.Index(st.tasks, hd); i >= 0 {
		st.tasks = slices.Delete(st.tasks, i, i+1)
	}
}

// holding lists up to limit hosts that hold the task completely, and its length.
func (h *hosts) holding(task string, limit int) (list []api.Host, length int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hd := h.holders[task]
	if hd == nil {
		return nil, -1
	}
	for _, st := range hd.hosts[:min(limit, len(hd.hosts))] {
		list = append(list, st.host)
	}
	return list, hd.length
}

func (h *hosts) alive(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byID[id] != nil
}

func (h *hosts) strike(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if st := h.byID[id]; st != nil {
		if time.Since(st.strucks) > strikeLife {
			st.struck = 0
		}
		st.struck, st.strucks = st.struck+1, time.Now()
	}
}

// strikes counts the recent complaints against a host.
func (h *hosts) strikes(id string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.byID[id]
	if st == nil || time.Since(st.strucks) > strikeLife {
		return 0
	}
	return st.struck
}

func (h *hosts) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.byID)
}

// Heartbeat takes a host's sign of life, and its inventory if it comes with one.
func (s *Swarm) Heartbeat(b *api.Heartbeat) (api.HeartbeatAnswer, error) {
	need, lost, won, err := s.hosts.beat(b, time.Now())
	if err != nil {
		return api.HeartbeatAnswer{}, err
	}
	for _, id := range lost {
		s.touch(id, func(t *task) { t.hostGone(b.Host.ID) })
	}
	for _, id := range won {
		s.touch(id, func(t *task) {
			if t.told() {
				t.addHolder(b.Host)
			}
		})
	}
	return api.HeartbeatAnswer{NeedInventory: need}, nil
}

// touch calls f with the task, locked, if it is in memory.
func (s *Swarm) touch(id string, f func(*task)) {
	t := s.find(id)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gone && t.failed == nil {
		f(t)
	}
}
