package piece

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Digest is a piece's SHA-256. docs/decisions/piece-digest.md has the measurement behind the choice.
type Digest [sha256.Size]byte

// String is the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Sum returns the digest of b.
func Sum(b []byte) Digest { return sha256.Sum256(b) }

// ParseDigest takes the 32 raw bytes of the wire.
func ParseDigest(b []byte) (Digest, error) {
	if len(b) != sha256.Size {
		return Digest{}, fmt.Errorf("piece digest: got %d bytes, want %d", len(b), sha256.Size)
	}
	return Digest(b), nil
}
