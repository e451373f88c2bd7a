package proof

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// MaxList is the most proofs in one header, so that the head of an answer stays small (about 18 KB): a run that a child asks for has at
// most 64 pieces.
const MaxList = 128

// FormatList writes proofs of pieces in a row for api.HeaderProof: base64 (RFC 4648, section 5, without padding), separated by commas. A
// nil proof is an empty word. "" when there is none at all.
func FormatList(list []*Proof) string {
	last := 0
	for i, p := range list {
		if p != nil {
			last = i + 1
		}
	}
	enc := base64.RawURLEncoding
	text := make([]byte, 0, last*(1+enc.EncodedLen(wireSize)))
	for i, p := range list[:last] {
		if i > 0 {
			text = append(text, ',')
		}
		if p != nil {
			text = enc.AppendEncode(text, p.bytes())
		}
	}
	return string(text)
}

// ParseList reads what FormatList wrote of at most count pieces. It may be shorter: the rest has no proofs. An error says that the parent
// sent what no parent of ours would.
func ParseList(text string, count int) ([]*Proof, error) {
	if text == "" {
		return nil, nil
	}
	count = min(count, MaxList)
	if n := strings.Count(text, ",") + 1; n > count {
		return nil, fmt.Errorf("%w: proofs of %d pieces, want at most %d", ErrWrong, n, count)
	}
	var list []*Proof
	for word := range strings.SplitSeq(text, ",") {
		if word == "" {
			list = append(list, nil)
			continue
		}
		b, err := base64.RawURLEncoding.Strict().DecodeString(word)
		if err != nil || len(b) != wireSize {
			return nil, fmt.Errorf("%w: %.16q is no proof", ErrWrong, word)
		}
		list = append(list, fromBytes(b))
	}
	return list, nil
}

func (p *Proof) bytes() []byte {
	b := make([]byte, 0, wireSize)
	b = append(b, p.Digest[:]...)
	b = append(b, p.keyID[:]...)
	return append(b, p.signature[:]...)
}

// fromBytes reads wireSize bytes.
func fromBytes(b []byte) *Proof {
	p := &Proof{}
	n := copy(p.Digest[:], b)
	n += copy(p.keyID[:], b[n:])
	copy(p.signature[:], b[n:])
	return p
}
