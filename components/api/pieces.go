package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// sumSize is the length of a piece's digest, in bytes.
const sumSize = 32

// Pieces are digests of pieces. In JSON, those of pieces in a row are one object, {"i": the first, "d": all digests, one behind the other}:
// a supernode tells every peer the digests of all pieces, and they are most of what it says.
type Pieces []Piece

// AppendJSON appends the JSON form to buf.
func (p Pieces) AppendJSON(buf []byte) []byte {
	buf = append(slices.Grow(buf, base64.StdEncoding.EncodedLen(len(p)*sumSize)), '[')
	sums := make([]byte, 0, len(p)*sumSize)
	for i := 0; i < len(p); {
		first := i
		for sums = sums[:0]; i < len(p) && p[i].Index == p[first].Index+i-first && (i == first || len(sums)%sumSize == 0 && len(p[i].SHA256) == sumSize); i++ {
			sums = append(sums, p[i].SHA256...)
		}
		if first > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, `{"i":`...)
		buf = strconv.AppendInt(buf, int64(p[first].Index), 10)
		buf = append(buf, `,"d":"`...)
		buf = base64.StdEncoding.AppendEncode(buf, sums)
		buf = append(buf, `"}`...)
	}
	return append(buf, ']')
}

// MarshalJSON implements json.Marshaler.
func (p Pieces) MarshalJSON() ([]byte, error) { return p.AppendJSON(nil), nil }

// UnmarshalJSON implements json.Unmarshaler. It fails where digests are not whole.
func (p *Pieces) UnmarshalJSON(b []byte) error {
	var runs []Piece
	if err := json.Unmarshal(b, &runs); err != nil {
		return err
	}
	*p = nil
	for _, r := range runs {
		n := len(r.SHA256) / sumSize
		if n == 0 || len(r.SHA256)%sumSize != 0 || r.Index < 0 || r.Index+n < 0 {
			return fmt.Errorf("pieces from %d on: %d bytes are no digests", r.Index, len(r.SHA256))
		}
		for k := range n {
			*p = append(*p, Piece{Index: r.Index + k, SHA256: r.SHA256[k*sumSize : (k+1)*sumSize : (k+1)*sumSize]})
		}
	}
	return nil
}
