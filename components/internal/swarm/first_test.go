package swarm

import (
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

func TestTheAnswerToARegistrationHoldsTheFirstPiecesAndTheStreamTheRest(t *testing.T) {
	t.Parallel()
	const count = firstPieces + maxPieces + 1
	tk := &task{meta: api.Meta{Length: count * piece.MinSize, PieceSize: piece.MinSize}}
	for i := range count {
		tk.log = append(tk.log, digestOf(i))
	}
	told := 0
	for _, want := range []struct {
		most     int
		pieces   int
		complete bool
	}{{firstPieces, firstPieces, false}, {0, maxPieces, false}, {0, 1, true}} {
		var u api.Update
		tk.contentNews(&peer{}, &cursor{most: want.most, seq: told}, &u, true)
		told += len(u.Pieces)
		if len(u.Pieces) != want.pieces || u.Seq != told || u.Complete != want.complete {
			t.Errorf("got %d pieces, seq %d, complete %v; want %+v", len(u.Pieces), u.Seq, u.Complete, want)
		}
	}
}
