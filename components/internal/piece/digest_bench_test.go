package piece_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"lukechampine.com/blake3"
)

// docs/decisions/piece-digest.md has the figures and the choice they led to.
func BenchmarkDigest(b *testing.B) {
	for _, digest := range []struct {
		name string
		sum  func([]byte) [32]byte
	}{{"sha256", sha256.Sum256}, {"blake3", blake3.Sum256}} {
		for _, size := range []int{64 << 10, 256 << 10, 4 << 20} {
			b.Run(fmt.Sprintf("%s/%dKiB", digest.name, size>>10), func(b *testing.B) {
				data := make([]byte, size)
				b.SetBytes(int64(size))
				for b.Loop() {
					digest.sum(data)
				}
			})
		}
	}
}
