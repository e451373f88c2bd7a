package swarm

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

const (
	// accusersToBar is how many different peers have to complain of a parent's bytes until nobody gets it any more: one liar is not enough.
	accusersToBar = 2
	// missersToBar is how many have to complain of anything: a link that everybody uses at once is late for some of them.
	missersToBar = 5
	// maxComplaints is how many complaints of one peer are heard. Whoever finds more parents bad has a problem of its own.
	maxComplaints = 32
)

// Report takes what a peer did since its previous report. Errors: ErrUnknownPeer, ErrBadReport.
func (s *Swarm) Report(id, name string, r *api.Report) error {
	return s.with(id, name, func(t *task, p *peer) error {
		if p.failed != nil && !r.Left {
			return ErrUnknownPeer
		}
		s.metrics.bytes.WithLabelValues("seed").Add(float64(max(0, r.FromSeed)))
		s.metrics.bytes.WithLabelValues("peers").Add(float64(max(0, r.FromPeers)))
		s.metrics.bytes.WithLabelValues("origin").Add(float64(max(0, r.FromOrig)))
		if err := t.sourced(p, r); err != nil {
			return err
		}
		if r.Have != "" && !p.complete {
			have, err := parseHave(r.Have, t.limit())
			if err != nil {
				return err
			}
			t.setHave(p, t.named(have))
		}
		if r.Complete && t.told() {
			t.setComplete(p)
		}
		for _, b := range r.Bad {
			t.complain(p, b)
		}
		if r.SourceFailed != nil {
			t.giveUp(p, r.SourceFailed)
		}
		if t.gone {
			return nil
		}
		if r.Left {
			t.leave(p)
			return nil
		}
		t.provide()
		return nil
	})
}

// sourced takes what an elected peer read from the origin.
func (t *task) sourced(p *peer, r *api.Report) error {
	if r.Meta == nil && len(r.Pieces) == 0 {
		return nil
	}
	if t.source != p {
		return nil // another was elected meanwhile
	}
	if r.Meta != nil {
		if err := t.setMeta(*r.Meta); err != nil {
			return errors.Join(ErrBadReport, err)
		}
	}
	for _, g := range r.Pieces {
		if err := t.learn(g); err != nil {
			return errors.Join(ErrBadReport, err)
		}
		t.adopted = true
	}
	if t.told() {
		p.source, t.source = false, nil
		t.supply.stop()
		return nil
	}
	t.watchSource()
	return nil
}

// giveUp takes a source's failure. INVALID, from anybody, says that the pieces' digests were right and the whole's was not: then the
// digests that peers told are wrong.
func (t *task) giveUp(p *peer, e *api.Error) {
	if e.Code == api.CodeInvalid && t.adopted && !t.busy {
		t.invalidate("the digests that peers told are wrong")
		return
	}
	if t.source == p {
		t.last = &api.Error{Code: api.CodeOrigin, Message: "no peer can read the origin", Status: e.Status}
		t.sourceFailed(p)
	}
}

// complain cuts a child from a bad parent, and the parent from all when others said the same.
func (t *task) complain(child *peer, b api.BadParent) {
	switch b.Reason {
	case api.ReasonDigest, api.ReasonSlow, api.ReasonUnreachable:
	default:
		return
	}
	t.s.metrics.complaints.WithLabelValues(b.Reason).Inc()
	parent := t.peers[b.Peer]
	if parent == nil || child.complaints >= maxComplaints || !t.mesh.Linked(child.id, parent.id) {
		return
	}
	child.complaints++
	t.mesh.Ban(child.id, parent.id)
	t.s.hosts.strike(parent.host.ID)
	if parent.accused(child.host.ID, b.Reason) {
		t.mesh.Bar(parent.id)
	}
	t.spreadParents()
}

// accused notes a host's complaint, and reports whether there are enough of them.
func (p *peer) accused(host, reason string) bool {
	if p.accusers == nil {
		p.accusers = map[string]string{}
	}
	if len(p.accusers) < missersToBar && p.accusers[host] != api.ReasonDigest {
		p.accusers[host] = reason
	}
	wrong := 0
	for _, r := range p.accusers {
		if r == api.ReasonDigest {
			wrong++
		}
	}
	return wrong >= accusersToBar || len(p.accusers) >= missersToBar
}

// named leaves out what no digest is known of: a peer that read the origin itself may be ahead of what the swarm learned.
func (t *task) named(have *bitset.BitSet) *bitset.BitSet {
	for i, ok := have.NextSet(uint(len(t.position))); ok; i, ok = have.NextSet(i + 1) {
		have.Clear(i)
	}
	return have
}

// parseHave reads a report's set of pieces below count, which is not empty.
func parseHave(text string, count int) (*bitset.BitSet, error) {
	have, err := piece.ParseRanges(text, count)
	if err != nil || have.None() {
		return nil, fmt.Errorf("%w: %w", ErrBadReport, cmp.Or(err, errNoPiece))
	}
	return have, nil
}

var errNoPiece = errors.New("no piece is named")
