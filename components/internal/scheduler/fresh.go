package scheduler

import (
	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// Fresh says which pieces of a task the seed has that nobody was sent yet: each is given once before any is given twice. Not safe
// for concurrent use. The zero value is empty.
type Fresh struct {
	fresh  bitset.BitSet // at the seed, and nobody has it or was sent it
	ready  bitset.BitSet // at the seed
	spread bitset.BitSet // sent once, or held by a peer
}

// Ready says that the seed has piece i, verified.
func (f *Fresh) Ready(i int) {
	f.ready.Set(uint(i))
	if !f.spread.Test(uint(i)) {
		f.fresh.Set(uint(i))
	}
}

// Spread says that a peer has piece i, or was sent it.
func (f *Fresh) Spread(i int) {
	f.spread.Set(uint(i))
	f.fresh.Clear(uint(i))
}

// Lost takes Spread back: whoever had or was sent piece i is gone.
func (f *Fresh) Lost(i int) {
	f.spread.Clear(uint(i))
	if f.ready.Test(uint(i)) {
		f.fresh.Set(uint(i))
	}
}

// Take chooses the first run of fresh pieces, at most limit bytes long but at least one piece, and marks it as spread. ok is false
// when nothing is fresh.
func (f *Fresh) Take(l piece.Layout, limit int64) (first, count int, ok bool) {
	start, found := f.fresh.NextSet(0)
	if !found {
		return 0, 0, false
	}
	var sum int64
	for i := start; f.fresh.Test(i); i++ {
		_, n := l.Range(int(i))
		if sum += n; count > 0 && sum > limit {
			break
		}
		f.Spread(int(i))
		count++
	}
	return int(start), count, true
}
