package transfer

import (
	"maps"
	"sync"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/mesh"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// readers are the open readers and where they stand, in bytes.
type readers struct {
	mu sync.Mutex // guards at
	at map[*reader]int64
}

func (r *readers) set(who *reader, pos int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[*reader]int64{}
	}
	r.at[who] = pos
}

func (r *readers) remove(who *reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.at, who)
}

// want returns the first piece that is missing in front of some reader, the lowest of all; -1 for none.
func (r *readers) want(p *mesh.Plan, l piece.Layout) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := -1
	for _, pos := range r.at {
		if i := p.NextMissing(l.At(pos)); want < 0 || i < want {
			want = i
		}
	}
	return want
}

func equalMeta(a, b api.Meta) bool {
	return a.Length == b.Length && a.PieceSize == b.PieceSize && a.Public == b.Public && maps.Equal(a.Header, b.Header)
}
