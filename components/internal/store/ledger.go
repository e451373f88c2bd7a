package store

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
)

// ledger is what is known of a task in memory: its metadata, the pieces held, and the log of their arrival. It knows nothing of
// where bytes lie.
type ledger struct {
	mu      sync.Mutex // guards the fields below
	meta    api.Meta
	held    bitset.BitSet
	count   int
	digests map[int]piece.Digest
	proofs  map[int]*proof.Proof // also of pieces that are on their way; at most one for each piece that there can be
	// suspect pieces are held but were not verified since an unclean stop.
	suspect bitset.BitSet
	// end is where the content ends, told by a short piece while the length is unknown; else -1.
	end      int64
	log      []int
	changed  chan struct{} // nil while nobody waits
	complete bool
}

func newLedger(m api.Meta) *ledger {
	m.Header = maps.Clone(m.Header)
	return &ledger{meta: m, digests: make(map[int]piece.Digest), proofs: make(map[int]*proof.Proof), end: -1}
}

func (l *ledger) Meta() api.Meta {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.meta
	m.Header = maps.Clone(m.Header)
	return m
}

func (l *ledger) Layout() piece.Layout {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.layout()
}

func (l *ledger) layout() piece.Layout {
	return piece.Layout{Length: l.meta.Length, Size: l.meta.PieceSize}
}

func (l *ledger) Has(i int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return i >= 0 && l.held.Test(uint(i))
}

func (l *ledger) Have() *bitset.BitSet {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.Clone()
}

func (l *ledger) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *ledger) Digest(i int) (piece.Digest, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.digests[i]
	return d, ok
}

func (l *ledger) Prove(i int, p *proof.Proof) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.layout().Count(); i < 0 || i >= piece.MaxCount || n >= 0 && i >= n {
		return
	}
	l.proofs[i] = p
}

func (l *ledger) Proof(i int) *proof.Proof {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.proofs[i]
	if d, held := l.digests[i]; !held || p == nil || p.Digest != d {
		return nil
	}
	return p
}

func (l *ledger) IsComplete() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.complete
}

func (l *ledger) News(since int) ([]int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return slices.Clone(l.log[min(max(since, 0), len(l.log)):]), l.changed
}

// tell wakes everyone who waits for news. The caller holds mu.
func (l *ledger) tell() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// gain holds piece i. Where it is held already it stays as it is and gain returns its digest.
func (l *ledger) gain(i int, n int64, d piece.Digest) (held piece.Digest, gained bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.digests[i]; ok {
		return old, false, nil
	}
	if err := l.fits(i, n); err != nil {
		return piece.Digest{}, false, err
	}
	l.put(i, n, d)
	l.tell()
	return d, true, nil
}

// put holds a piece that fits and is not held. The caller holds mu.
func (l *ledger) put(i int, n int64, d piece.Digest) {
	if l.meta.Length < 0 && n < l.meta.PieceSize {
		l.end = int64(i)*l.meta.PieceSize + n
	}
	l.held.Set(uint(i))
	l.digests[i] = d
	l.log = append(l.log, i)
	l.count++
}

// lose forgets piece i and tells its length, 0 where it was not held, and whether the task was complete before.
func (l *ledger) lose(i int) (n int64, wasComplete bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.digests[i]; !ok {
		return 0, false
	}
	n = l.size(i)
	l.unput(i)
	wasComplete, l.complete = l.complete, false
	l.tell()
	return n, wasComplete
}

// unput undoes put, but for the log. The caller holds mu.
func (l *ledger) unput(i int) {
	l.held.Clear(uint(i))
	l.suspect.Clear(uint(i))
	delete(l.digests, i)
	l.count--
	if off := int64(i) * l.meta.PieceSize; l.end > off && l.end <= off+l.meta.PieceSize {
		l.end = -1
	}
}

// setMeta replaces the metadata and reports whether that changed anything.
func (l *ledger) setMeta(m api.Meta) (bool, error) {
	if err := checkMeta(m); err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch old := l.meta; {
	case m.PieceSize != old.PieceSize:
		return false, fmt.Errorf("store: piece size is %d, can't change to %d", old.PieceSize, m.PieceSize)
	case old.Length >= 0 && m.Length != old.Length:
		return false, fmt.Errorf("store: length is %d, can't change to %d", old.Length, m.Length)
	case m.Length == old.Length && m.Public == old.Public && maps.Equal(m.Header, old.Header):
		return false, nil
	case m.Length != old.Length:
		if err := l.admits(m.Length); err != nil {
			return false, err
		}
	}
	m.Header = maps.Clone(m.Header)
	l.meta = m
	l.tell()
	return true, nil
}

// finish marks the task complete.
func (l *ledger) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.complete = true
	l.tell()
}
