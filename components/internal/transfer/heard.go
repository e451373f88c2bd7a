package transfer

import (
	"slices"
	"sync"

	"github.com/bits-and-blooms/bitset"
)

// heard is what parents said that they hold, for the news that this host gives them in turn. The plan has its own account, which only the
// loop may read.
type heard struct {
	mu sync.Mutex // guards of
	of map[string]*bitset.BitSet
}

// add notes pieces that a parent holds.
func (h *heard) add(parent string, pieces *bitset.BitSet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of == nil {
		h.of = map[string]*bitset.BitSet{}
	}
	if h.of[parent] == nil {
		h.of[parent] = &bitset.BitSet{}
	}
	h.of[parent].InPlaceUnion(pieces)
}

// forget is called when a parent is not listened to any more.
func (h *heard) forget(parent string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.of, parent)
}

// lacks returns those of pieces that the peer did not say it holds.
func (h *heard) lacks(peer string, pieces []int) []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := h.of[peer]
	if held == nil {
		return pieces
	}
	return slices.DeleteFunc(slices.Clone(pieces), func(i int) bool { return held.Test(uint(i)) })
}
