package swarm

import (
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
)

// Prove returns the proof that piece i of a task has the digest d, for whoever gets the piece from the seed. It is nil where the seed did
// not read the piece in this life of the task, or knows it with another digest, and where no peer was told a key.
func (s *Swarm) Prove(id string, i int, d piece.Digest) *proof.Proof {
	t := s.find(id)
	if t == nil {
		return nil
	}
	t.mu.Lock()
	made, signer := t.proofs[i], t.signer
	known := t.proves(i, d)
	t.mu.Unlock()
	switch {
	case !known:
		return nil
	case made != nil:
		return made
	}
	p := signer.Sign(id, i, d) // takes too long for the lock
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.signer == signer {
		t.proofs[i] = &p
	}
	return &p
}

// proves reports whether the seed has piece i with digest d.
func (t *task) proves(i int, d piece.Digest) bool {
	return t.signer != nil && !t.gone && !t.checking && i >= 0 && i < len(t.position) && t.atSeed.Test(uint(i)) &&
		piece.Digest(t.log[t.position[i]-1].SHA256) == d
}
