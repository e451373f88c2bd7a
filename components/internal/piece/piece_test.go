package piece_test

import (
	"math"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

func TestSize(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, row := range []struct {
		name         string
		length, want int64
	}{
		{"unknown", -1, piece.UnknownSize},
		{"empty", 0, piece.MinSize},
		{"one byte", 1, piece.MinSize},
		{"2,048 of the smallest", 128 * mib, piece.MinSize},
		{"a byte more", 128*mib + 1, 2 * piece.MinSize},
		{"200 MiB", 200 * mib, 128 << 10},
		{"2 GiB", 2048 * mib, mib},
		{"2,048 of the largest", 32768 * mib, piece.MaxSize},
		{"a byte more than that", 32768*mib + 1, piece.MaxSize},
		{"the longest length there is", math.MaxInt64 - 2047, piece.MaxSize},
	} {
		if got := piece.Size(row.length); got != row.want {
			t.Errorf("%s: Size(%d) = %d, want %d", row.name, row.length, got, row.want)
		}
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	type span struct{ off, n int64 }
	for _, row := range []struct {
		name  string
		l     piece.Layout
		count int
		spans map[int]span
	}{
		{"empty content has no piece", piece.NewLayout(0), 0, map[int]span{0: {0, 0}}},
		{"one byte is one piece", piece.NewLayout(1), 1, map[int]span{0: {0, 1}, 1: {piece.MinSize, 0}}},
		{"whole pieces", piece.Layout{Length: 20, Size: 10}, 2, map[int]span{0: {0, 10}, 1: {10, 10}, 2: {20, 0}}},
		{"a short last piece", piece.Layout{Length: 21, Size: 10}, 3, map[int]span{1: {10, 10}, 2: {20, 1}, 3: {30, 0}, 9: {90, 0}}},
		{"of unknown length all are full", piece.NewLayout(-1), -1, map[int]span{7: {7 * piece.UnknownSize, piece.UnknownSize}}},
	} {
		if got := row.l.Count(); got != row.count || row.l.Known() != (row.count >= 0) {
			t.Errorf("%s: Count = %d, Known = %v; want %d", row.name, got, row.l.Known(), row.count)
		}
		for i, want := range row.spans {
			off, n := row.l.Range(i)
			if (span{off, n}) != want {
				t.Errorf("%s: Range(%d) = %d, %d; want %v", row.name, i, off, n, want)
			}
			if n > 0 && (row.l.At(off) != i || row.l.At(off+n-1) != i) {
				t.Errorf("%s: At of the ends of piece %d = %d, %d", row.name, i, row.l.At(off), row.l.At(off+n-1))
			}
		}
	}
}

// Pieces cover the content without gap or overlap, and there are never more than 2,048 while they can grow.
func FuzzLayout(f *testing.F) {
	for _, n := range []int64{0, 1, piece.MinSize, 64<<20 + 1, 1 << 34, 1 << 40} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, length int64) {
		length &= 1<<42 - 1
		l := piece.NewLayout(length)
		if l.Size < piece.MinSize || l.Size > piece.MaxSize || l.Size&(l.Size-1) != 0 {
			t.Fatalf("Size(%d) = %d", length, l.Size)
		}
		if l.Size < piece.MaxSize && l.Count() > 2048 {
			t.Fatalf("%d bytes are %d pieces", length, l.Count())
		}
		if length == 0 {
			return
		}
		off, n := l.Range(l.Count() - 1)
		if n < 1 || off+n != length {
			t.Fatalf("the last of %d pieces of %d bytes is %d bytes from %d", l.Count(), length, n, off)
		}
	})
}

func TestParseDigest(t *testing.T) {
	t.Parallel()
	want := piece.Sum([]byte("abc"))
	if got, err := piece.ParseDigest(want[:]); got != want || err != nil {
		t.Errorf("ParseDigest = %v, %v; want %v", got, err, want)
	}
	// FIPS 180-2, appendix B.1
	if s := want.String(); s != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("SHA-256 of abc = %s", s)
	}
	for _, bad := range [][]byte{nil, want[:31], append(want[:], 0)} {
		if _, err := piece.ParseDigest(bad); err == nil {
			t.Errorf("ParseDigest of %d bytes: no error", len(bad))
		}
	}
}
