// Package piece cuts a task's content into pieces, the unit of exchange, and names them: sizes, ranges, digests, task ids.
// It does no I/O.
package piece

import "math/bits"

const (
	// MinSize is the least size of a piece, in bytes, but for the last one of a task.
	MinSize = 64 << 10
	// MaxSize is the largest, in bytes.
	MaxSize = 16 << 20
	// target is how many pieces a task should have: fewer cost speed (the last pieces find links idle), more cost overhead.
	target = 2048
	// UnknownSize is the piece size of content whose length the origin does not tell.
	UnknownSize = 1 << 20
)

// Size returns the piece size for content of length bytes: the power of two from MinSize to MaxSize that gives at most 2,048
// pieces. A negative length means unknown.
func Size(length int64) int64 {
	if length < 0 {
		return UnknownSize
	}
	want := (length + target - 1) / target
	if want <= MinSize {
		return MinSize
	}
	return min(MaxSize, int64(1)<<bits.Len64(uint64(want-1)))
}

// Layout is how content is cut. Length is -1 while unknown; Size is fixed from the start.
type Layout struct {
	Length int64 // bytes
	Size   int64 // bytes a piece, except the last
}

// NewLayout returns the layout of content of length bytes, -1 for unknown.
func NewLayout(length int64) Layout { return Layout{Length: length, Size: Size(length)} }

// Known reports whether the length is known.
func (l Layout) Known() bool { return l.Length >= 0 }

// Count is the number of pieces, -1 while the length is unknown. Empty content has none.
func (l Layout) Count() int {
	if !l.Known() {
		return -1
	}
	return int((l.Length + l.Size - 1) / l.Size)
}

// Range returns the offset and length in bytes of piece i. While the length is unknown every piece counts as full.
func (l Layout) Range(i int) (off, n int64) {
	off = int64(i) * l.Size
	if l.Known() {
		return off, max(0, min(l.Size, l.Length-off))
	}
	return off, l.Size
}

// At returns the piece that holds the byte at off.
func (l Layout) At(off int64) int { return int(off / l.Size) }
