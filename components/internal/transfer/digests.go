package transfer

import (
	"context"
	"sync"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// digests are the piece digests that the task's source told. Safe for concurrent use.
type digests struct {
	mu      sync.Mutex // guards the fields below
	byPiece map[int]piece.Digest
	changed chan struct{} // closed and replaced when a digest comes
}

func (g *digests) init() {
	g.byPiece, g.changed = map[int]piece.Digest{}, make(chan struct{})
}

// set notes digests. The first one told of a piece stays.
func (g *digests) set(news map[int]piece.Digest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, d := range news {
		if _, ok := g.byPiece[i]; !ok {
			g.byPiece[i] = d
		}
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// get returns the digest of piece i, nil while it is not known.
func (g *digests) get(i int) *piece.Digest {
	g.mu.Lock()
	defer g.mu.Unlock()
	if d, ok := g.byPiece[i]; ok {
		return &d
	}
	return nil
}

// wait returns the digest of piece i once it is known.
func (g *digests) wait(ctx context.Context, i int) (piece.Digest, error) {
	for {
		g.mu.Lock()
		d, ok := g.byPiece[i]
		changed := g.changed
		g.mu.Unlock()
		if ok {
			return d, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return piece.Digest{}, ctx.Err()
		}
	}
}
