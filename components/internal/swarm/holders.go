package swarm

import (
	"context"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

// maxAsked is how many hosts are asked for a manifest, one after the other, before the origin is.
const maxAsked = 3

// askHolders asks hosts that hold the whole for its digests, when some are not known.
func (t *task) askHolders() bool {
	if t.asked || t.told() || !t.s.trusts(t.id) {
		return false
	}
	t.asked = true
	list, length := t.s.hosts.holding(t.id, maxAsked)
	if len(list) == 0 {
		return false
	}
	t.busy = true
	var way *seed.Request
	if t.digest == "" && len(t.accesses) > 0 {
		way = &t.accesses[0].request
	}
	return t.s.run(func() {
		for _, h := range list {
			if t.ask(h, length, way) {
				return
			}
			t.s.hosts.forget(h.ID, t.id)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.busy = false
		t.provide()
	})
}

// ask takes the manifest of a host. way, if not nil, is how to ask the origin whether it is of the content that is there now.
func (t *task) ask(h api.Host, length int64, way *seed.Request) bool {
	ctx, cancel := context.WithTimeout(t.s.ctx, t.s.cfg.ManifestTimeout)
	defer cancel()
	ticket, _ := t.s.deps.Keys.Ticket(t.id, t.s.cfg.TicketLife)
	m, err := t.s.deps.Manifests.Manifest(ctx, h, t.id, ticket)
	if err == nil && way != nil {
		err = outdated(t.s.stillTrue(*way, m.Meta))
	}
	if err != nil {
		t.s.deps.Log.Info("host gives no manifest, or an old one", "host", h.ID, "task", t.id, "err", err)
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.Meta.Length != length || t.setMeta(m.Meta) != nil {
		return false
	}
	t.adopted = true
	for _, p := range m.Pieces {
		if err := t.learn(p); err != nil {
			t.s.deps.Log.Info("manifest contradicts what is known", "host", h.ID, "task", t.id, "err", err)
			return false
		}
	}
	if !t.told() {
		return false
	}
	t.busy = false
	t.addHolders()
	t.provide()
	return true
}

// maxResidents bounds the hosts that are parents of a task by their inventory alone.
const maxResidents = 256

// addHolder makes a host that holds the whole task a parent for others.
func (t *task) addHolder(h api.Host) {
	if t.residents[h.ID] != nil || len(t.residents) >= maxResidents || len(t.peers) >= t.s.cfg.MaxPeers {
		return
	}
	for _, p := range t.peers {
		if p.host.ID == h.ID {
			return
		}
	}
	t.add(&peer{id: residentName(h.ID), host: h, complete: true, resident: true})
}

func (t *task) addHolders() {
	list, _ := t.s.hosts.holding(t.id, maxHolders)
	for _, h := range list {
		t.addHolder(h)
	}
}
