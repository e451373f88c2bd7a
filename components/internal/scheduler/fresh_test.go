package scheduler

import (
	"math/rand/v2"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

func TestFreshGivesRunsInOrder(t *testing.T) {
	t.Parallel()
	l := piece.NewLayout(10*piece.MinSize + 5) // eleven pieces, the last of 5 bytes
	tests := []struct {
		name         string
		ready        []int
		spread       []int
		limit        int64
		first, count int
		ok           bool
	}{
		{name: "nothing is ready", limit: 1 << 20},
		{name: "one piece, though it is larger than the limit", ready: []int{3}, limit: 1, first: 3, count: 1, ok: true},
		{name: "the first run, not the longest", ready: []int{2, 5, 6, 7}, limit: 1 << 20, first: 2, count: 1, ok: true},
		{name: "a run up to the limit", ready: []int{0, 1, 2, 3}, limit: 3 * piece.MinSize, first: 0, count: 3, ok: true},
		{name: "the short last piece fits", ready: []int{9, 10}, limit: piece.MinSize + 5, first: 9, count: 2, ok: true},
		{name: "what peers have is not fresh", ready: []int{0, 1, 2}, spread: []int{0, 1}, limit: 1 << 20, first: 2, count: 1, ok: true},
		{name: "all is spread", ready: []int{0, 1}, spread: []int{0, 1}, limit: 1 << 20},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var f Fresh
			for _, i := range tc.spread {
				f.Spread(i)
			}
			for _, i := range tc.ready {
				f.Ready(i)
			}
			first, count, ok := f.Take(l, tc.limit)
			if first != tc.first || count != tc.count || ok != tc.ok {
				t.Fatalf("got %d pieces from %d, %v, want %d from %d, %v", count, first, ok, tc.count, tc.first, tc.ok)
			}
		})
	}
}

func TestEachPieceIsGivenOnceBeforeAnyTwice(t *testing.T) {
	t.Parallel()
	const pieces = 200
	l := piece.NewLayout(pieces * piece.MinSize)
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var f Fresh
		given := make([]int, pieces)
		for _, i := range rng.Perm(pieces) {
			f.Ready(i)
			if rng.IntN(3) == 0 {
				first, count, _ := f.Take(l, rng.Int64N(5*piece.MinSize))
				for k := first; k < first+count; k++ {
					given[k]++
				}
			}
		}
		for {
			first, count, ok := f.Take(l, 3*piece.MinSize)
			if !ok {
				break
			}
			for k := first; k < first+count; k++ {
				given[k]++
			}
		}
		for i, n := range given {
			if n != 1 {
				t.Fatalf("seed %d: piece %d was given %d times, want once", seed, i, n)
			}
		}
	}
}

func TestALostPieceIsFreshAgainOnlyAtASeedThatHasIt(t *testing.T) {
	t.Parallel()
	l := piece.NewLayout(4 * piece.MinSize)
	var f Fresh
	f.Ready(1)
	f.Take(l, 1)
	f.Lost(1)
	f.Lost(2)
	if first, count, ok := f.Take(l, 1<<20); first != 1 || count != 1 || !ok {
		t.Fatalf("got %d pieces from %d, %v, want piece 1 alone", count, first, ok)
	}
	f.Ready(2)
	if first, _, ok := f.Take(l, 1<<20); first != 2 || !ok {
		t.Fatalf("got piece %d, %v, want 2 once it is ready", first, ok)
	}
}
