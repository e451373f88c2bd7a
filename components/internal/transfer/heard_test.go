package transfer

import (
	"slices"
	"testing"

	"github.com/bits-and-blooms/bitset"
)

func TestNewsIsWhatAPeerDidNotTellItself(t *testing.T) {
	t.Parallel()
	var h heard
	h.add("a", bitset.New(8).Set(1).Set(2))
	h.add("a", bitset.New(200).Set(150))
	h.add("gone", bitset.New(8).Set(1))
	h.forget("gone")
	h.forget("never heard of")
	pieces := []int{150, 1, 7, 3}
	for name, tc := range map[string]struct {
		peer string
		want []int
	}{
		"a parent that told of some":               {"a", []int{7, 3}},
		"one that told of nothing":                 {"b", pieces},
		"one that is not listened to any more":     {"gone", pieces},
		"no name, as from who does not say its id": {"", pieces},
	} {
		if got := h.lacks(tc.peer, pieces); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v are news to it, want %v", name, got, tc.want)
		}
	}
	if !slices.Equal(pieces, []int{150, 1, 7, 3}) {
		t.Errorf("the caller's pieces became %v", pieces)
	}
}
