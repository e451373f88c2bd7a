package piece_test

import (
	"strings"
	"testing"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

func set(indices ...uint) *bitset.BitSet {
	s := &bitset.BitSet{}
	for _, i := range indices {
		s.Set(i)
	}
	return s
}

func TestRanges(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, text string
		set        *bitset.BitSet
	}{
		{"nothing", "", set()},
		{"one piece", "5", set(5)},
		{"a run from the start", "0-2", set(0, 1, 2)},
		{"a run to a word's end", "62-63", set(62, 63)},
		{"runs and single ones", "0,2-4,64,100-101", set(0, 2, 3, 4, 64, 100, 101)},
		{"the last index", "16777215", set(piece.MaxCount - 1)},
	} {
		if got := piece.FormatRanges(row.set); got != row.text {
			t.Errorf("%s: FormatRanges = %q, want %q", row.name, got, row.text)
		}
		got, err := piece.ParseRanges(row.text, piece.MaxCount)
		if err != nil || piece.FormatRanges(got) != row.text {
			t.Errorf("%s: ParseRanges(%q) = %v, %v", row.name, row.text, got, err)
		}
	}
	cleared := set(3, 90)
	cleared.Clear(90)
	if got := piece.FormatRanges(cleared); got != "3" {
		t.Errorf("FormatRanges of a set that was larger = %q, want 3", got)
	}
}

func TestParseRangesRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		",", "1,", ",1", "1,,2", "-", "1-", "-1", "2-1", "a", "1-b", " 1", "1 ", "1--2", "1-2-3", "+1", "0x1", "1.0", "\x00",
		"16777216", "0-16777216", "1,0", "0-3,3", "7-9,8-12", "4294967296", "0-18446744073709551616", strings.Repeat("9", 100),
	} {
		s, err := piece.ParseRanges(text, piece.MaxCount)
		if err == nil {
			t.Errorf("ParseRanges(%q) = %q, want an error", text, piece.FormatRanges(s))
		} else if len(err.Error()) > 300 {
			t.Errorf("ParseRanges(%.20q…): the error has %d bytes", text, len(err.Error()))
		}
	}
}

func FuzzParseRanges(f *testing.F) {
	for _, text := range []string{"", "0-17,19", "3,1-2", "16777215", "1-", "0-9999999", ","} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := piece.ParseRanges(text, piece.MaxCount)
		if err != nil {
			return
		}
		canonical := piece.FormatRanges(s)
		again, err := piece.ParseRanges(canonical, piece.MaxCount)
		if err != nil || piece.FormatRanges(again) != canonical || again.Count() != s.Count() {
			t.Fatalf("%q reads as %q, and that as %q, %v", text, canonical, piece.FormatRanges(again), err)
		}
	})
}
