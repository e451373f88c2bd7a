package store

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// ledger is what is known of a task in memory: its metadata, the pieces held, and the log of their arrival. It knows nothing of
// where bytes lie.
type ledger struct {
	mu      sync.Mutex // guards the fields below
	meta    api.Meta
	held    bitset.BitSet
	count   int
	digests map[int]piece.Digest
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
	return &ledger{meta: m, digests: make(map[int]piece.Digest), end: -1}
}

// checkMeta refuses metadata that no task can have.
func checkMeta(m api.Meta) error {
	switch {
	case m.PieceSize < 1 || m.PieceSize > piece.MaxSize:
		return fmt.Errorf("store: piece size %d is not between 1 and %d", m.PieceSize, piece.MaxSize)
	case m.Length < -1:
		return fmt.Errorf("store: length %d is negative", m.Length)
	case m.Length/m.PieceSize >= piece.MaxCount:
		return fmt.Errorf("store: %d bytes in pieces of %d are more than %d pieces", m.Length, m.PieceSize, piece.MaxCount)
	}
	return nil
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

// room returns the offset of piece i and how many bytes it may have, or an error where the content has no such piece.
func (l *ledger) room(i int) (off, n int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i < 0 || i >= piece.MaxCount {
		return 0, 0, fmt.Errorf("store: no piece %d", i)
	}
	if off, n = l.layout().Range(i); n == 0 || l.end >= 0 && off >= l.end {
		return 0, 0, fmt.Errorf("store: piece %d lies behind the end of the content", i)
	}
	return off, n, nil
}

// fits says whether piece i can have n bytes. The caller holds mu.
func (l *ledger) fits(i int, n int64) error {
	off, full := l.layout().Range(i)
	want := full
	switch {
	case l.meta.Length >= 0:
	case l.end >= 0:
		want = min(full, l.end-off)
	case n > 0 && n < full: // the last piece, where nothing is held behind it
		if next, behind := l.held.NextSet(uint(i) + 1); behind {
			return fmt.Errorf("store: piece %d ends after %d bytes, but piece %d behind it is held", i, n, next)
		}
		return nil
	}
	if want < 1 {
		return fmt.Errorf("store: piece %d lies behind the end of the content", i)
	}
	if n != want {
		return fmt.Errorf("store: piece %d has %d bytes, want %d", i, n, want)
	}
	return nil
}

// size is the length of held piece i. The caller holds mu.
func (l *ledger) size(i int) int64 {
	off, n := l.layout().Range(i)
	if l.end > off {
		return min(n, l.end-off)
	}
	return n
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

// admits says whether the pieces held fit content of the given length. Only the last of them needs a look: the others are full and
// lie before it. The caller holds mu.
func (l *ledger) admits(length int64) error {
	if l.count == 0 {
		return nil
	}
	last, _ := l.held.PreviousSet(l.held.Len() - 1)
	lay := piece.Layout{Length: length, Size: l.meta.PieceSize}
	if _, want := lay.Range(int(last)); want != l.size(int(last)) {
		return fmt.Errorf("store: length %d does not fit held piece %d of %d bytes", length, last, l.size(int(last)))
	}
	return nil
}

// whole is an error while the length is unknown or a piece is missing.
func (l *ledger) whole() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch count := l.layout().Count(); {
	case count < 0:
		return fmt.Errorf("store: the length is unknown")
	case l.count < count:
		missing, ok := l.held.NextClear(0)
		if !ok {
			missing = l.held.Len()
		}
		return fmt.Errorf("store: %d of %d pieces are held, piece %d is not", l.count, count, missing)
	}
	return nil
}

// finish marks the task complete.
func (l *ledger) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.complete = true
	l.tell()
}

// span tells how many of the n bytes from off can be read now. Where that is none, doubtful is the suspect piece at off, or -1.
// Behind the end of the content it is none, too, and end is true.
func (l *ledger) span(off, n int64) (ready int64, doubtful int, end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	stop := max(l.meta.Length, l.end)
	if stop >= 0 && off >= stop {
		return 0, -1, true
	}
	for ready < n {
		i := l.layout().At(off + ready)
		if !l.held.Test(uint(i)) {
			return min(ready, n), -1, false
		}
		if l.suspect.Test(uint(i)) {
			if ready > 0 {
				i = -1
			}
			return min(ready, n), i, false
		}
		ready = int64(i)*l.meta.PieceSize + l.size(i) - off
		if ready < n && stop >= 0 && off+ready >= stop {
			break
		}
	}
	return min(ready, n), -1, false
}
