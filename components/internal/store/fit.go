package store

import (
	"fmt"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

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
