package piece

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/bits-and-blooms/bitset"
)

// MaxCount bounds the pieces of a task, so that no message can ask for gigabytes of bitmap: 1<<24 pieces of the smallest size
// are 1 TiB, of the largest 256 TiB.
const MaxCount = 1 << 24

// FormatRanges writes a set of piece indices as "0-17,19". The empty set is "".
func FormatRanges(s *bitset.BitSet) string {
	var b strings.Builder
	for i, ok := s.NextSet(0); ok; {
		end, more := s.NextClear(i)
		if !more {
			end = s.Len()
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(uint64(i), 10))
		if end-1 > i {
			b.WriteByte('-')
			b.WriteString(strconv.FormatUint(uint64(end-1), 10))
		}
		i, ok = s.NextSet(end)
	}
	return b.String()
}

// ParseRanges reads what FormatRanges wrote of a set of pieces below count. Ranges have to ascend, as written, so that text from the
// network costs no more than its length and count.
func ParseRanges(text string, count int) (*bitset.BitSet, error) {
	s := &bitset.BitSet{}
	if text == "" {
		return s, nil
	}
	next := uint64(0)
	for part := range strings.SplitSeq(text, ",") {
		lo, hi, dash := strings.Cut(part, "-")
		first, err := strconv.ParseUint(lo, 10, 32)
		last := first
		if err == nil && dash {
			last, err = strconv.ParseUint(hi, 10, 32)
		}
		if err != nil || first < next || last < first || last >= uint64(min(count, MaxCount)) {
			return nil, fmt.Errorf("piece ranges %.64q: %.32q is no ascending range of %d pieces", text, part, count)
		}
		for i := first; i <= last; i++ {
			s.Set(uint(i))
		}
		next = last + 1
	}
	return s, nil
}
