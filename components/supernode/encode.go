package supernode

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// keptBuffer is the largest encoding buffer that is used again, in bytes: more than the digests of one task of usual size.
const keptBuffer = 256 << 10

var encodings = sync.Pool{New: func() any { return new([]byte) }}

// withUpdate calls write with u as one line of JSON.
func withUpdate(u *api.Update, write func([]byte) error) error {
	buf := encodings.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= keptBuffer {
			encodings.Put(buf)
		}
	}()
	var err error
	if *buf, err = appendUpdate((*buf)[:0], *u); err != nil {
		return err
	}
	*buf = append(*buf, '\n')
	return write(*buf)
}

// appendUpdate writes u as encoding/json does, in another order. The digests are by far the most of what a supernode says, to every peer the
// same ones again: written here, they cost a sixth of what reflection takes.
func appendUpdate(buf []byte, u api.Update) ([]byte, error) {
	pieces := u.Pieces
	u.Pieces = nil
	rest, err := json.Marshal(u)
	if err != nil {
		return buf, fmt.Errorf("encode update: %w", err)
	}
	if len(pieces) == 0 {
		return append(buf, rest...), nil
	}
	buf = append(buf, `{"pieces":`...)
	buf = pieces.AppendJSON(buf)
	if rest = rest[1:]; len(rest) > 1 {
		buf = append(buf, ',')
	}
	return append(buf, rest...), nil
}
