package upload

import (
	"encoding/json"
	"net/http"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// serveManifest tells which pieces are held and their digests, for a supernode that lost its memory.
func (s *Server) serveManifest(w http.ResponseWriter, _ *http.Request, t store.Task) {
	m := api.TaskManifest{Meta: t.Meta()}
	have := t.Have()
	for i, ok := have.NextSet(0); ok; i, ok = have.NextSet(i + 1) {
		// A piece may be dropped between the two calls.
		if d, held := t.Digest(int(i)); held {
			m.Pieces = append(m.Pieces, api.Piece{Index: int(i), SHA256: d[:]})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(m); err != nil {
		s.deps.Log.Debug("sending a manifest ended early", "task", t.ID(), "err", err)
	}
}
