package transfer

import (
	"context"
	"sync"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
)

// digests are the piece digests that the task's source told or signed. Safe for concurrent use.
type digests struct {
	task   string
	verify func(key proof.Key, p *proof.Proof, task string, i int) error

	mu      sync.Mutex // guards the fields below
	byPiece map[int]piece.Digest
	changed chan struct{} // closed and replaced when a digest comes
	key     proof.Key     // of the session's supernode; none while it tells all digests
	needed  bool          // all digests are to be told
	// anew makes the session tell all digests. nil once it does.
	anew func()
}

func (g *digests) init(task string, verify func(key proof.Key, p *proof.Proof, task string, i int) error) {
	g.task, g.verify, g.byPiece, g.changed = task, verify, map[int]piece.Digest{}, make(chan struct{})
}

// renew forgets the key: a session begins. anew makes it tell the digests that it signs as well. Those who wait for a digest ask again.
func (g *digests) renew(anew func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.key, g.needed, g.anew = proof.Key{}, false, anew
	g.news()
}

// news wakes those who wait. Callers hold mu.
func (g *digests) news() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// trust takes the key of the session's supernode, which leaves out from now on what it signs.
func (g *digests) trust(key proof.Key) {
	g.mu.Lock()
	g.key = key
	anew := g.take()
	g.mu.Unlock()
	anew()
}

// travel reports whether digests come with the pieces, so that a piece may be asked for whose digest nobody told.
func (g *digests) travel() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.key.IsZero() && g.anew != nil
}

// all asks the supernode to tell all digests, once a session.
func (g *digests) all() {
	g.mu.Lock()
	g.needed = true
	anew := g.take()
	g.mu.Unlock()
	anew()
}

// take returns what makes the session tell all digests, where that is needed and it does not. Callers hold mu.
func (g *digests) take() func() {
	anew := g.anew
	if !g.needed || anew == nil || g.key.IsZero() {
		return func() {}
	}
	g.anew = nil
	return anew
}

// prove returns the digest of piece i that p proves, and whether it does. The proof of another supernode, or of an earlier life of this
// one, is none. proof.ErrWrong when it is forged or damaged.
func (g *digests) prove(i int, p *proof.Proof) (d piece.Digest, ok bool, err error) {
	g.mu.Lock()
	key := g.key
	g.mu.Unlock()
	if p == nil || !key.Signed(p) {
		return piece.Digest{}, false, nil
	}
	if err := g.verify(key, p, g.task, i); err != nil {
		return piece.Digest{}, false, err
	}
	g.set(map[int]piece.Digest{i: p.Digest})
	return *g.get(i), true, nil
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
	g.news()
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

// wait returns the digest of piece i once it is known. Where the supernode does not tell it, it is asked to.
func (g *digests) wait(ctx context.Context, i int) (piece.Digest, error) {
	for {
		g.mu.Lock()
		d, ok := g.byPiece[i]
		changed := g.changed
		g.mu.Unlock()
		if ok {
			return d, nil
		}
		g.all()
		select {
		case <-changed:
		case <-ctx.Done():
			return piece.Digest{}, ctx.Err()
		}
	}
}
