package upload

import (
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// proofs is the value of api.HeaderProof for a run of held bytes, "" where no piece of it has a proof. A run that begins within a piece is
// none that a peer asks for.
func (s *Server) proofs(t store.Task, run span) string {
	l := t.Layout()
	if run.off%l.Size != 0 {
		return ""
	}
	first, last := l.At(run.off), l.At(run.off+run.n-1)
	list := make([]*proof.Proof, 0, min(last-first+1, proof.MaxList))
	for i := first; i <= last && len(list) < proof.MaxList; i++ {
		list = append(list, s.proof(t, i))
	}
	return proof.FormatList(list)
}

func (s *Server) proof(t store.Task, i int) *proof.Proof {
	if s.deps.Prover == nil {
		return t.Proof(i)
	}
	d, held := t.Digest(i)
	if !held {
		return nil
	}
	return s.deps.Prover.Prove(t.ID(), i, d)
}
