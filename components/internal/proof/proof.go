// Package proof lets piece digests travel with the pieces: the supernode signs each digest once, whoever holds the piece passes the
// signature on, and a child believes the supernode instead of its parent. It is the scheme "Sign All" of RFC 7574
// (https://www.rfc-editor.org/rfc/rfc7574, section 6.1), with Ed25519 (RFC 8032).
package proof

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

const (
	// KeySize is the length of a public key, in bytes.
	KeySize = ed25519.PublicKeySize
	// idSize is how much of a public key goes with each proof, so that the proof of another supernode is told from a forged one.
	idSize = 8
	// wireSize is a proof on the wire, in bytes.
	wireSize = len(piece.Digest{}) + idSize + ed25519.SignatureSize
	// domain keeps what is signed here apart from whatever else may be signed with a key.
	domain = "dragonfly piece 1\x00"
)

// ErrWrong says that a proof is forged or damaged: it names the right key and does not match.
var ErrWrong = errors.New("proof: wrong proof")

// Proof says which digest a piece of a task has. Of which piece and task is not part of it: whoever checks it knows.
type Proof struct {
	Digest    piece.Digest
	keyID     [idSize]byte
	signature [ed25519.SignatureSize]byte
}

// Key is the public key of a Signer; the zero value is none.
type Key struct{ key ed25519.PublicKey }

// ParseKey takes the bytes of the wire. What is not KeySize long is no key: a peer without one is told all digests.
func ParseKey(b []byte) Key {
	if len(b) != KeySize {
		return Key{}
	}
	return Key{bytes.Clone(b)}
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.key == nil }

// Signed reports whether p claims to be signed with k.
func (k Key) Signed(p *Proof) bool { return !k.IsZero() && bytes.Equal(k.key[:idSize], p.keyID[:]) }

// Verify returns nil when the holder of k's private part signed that piece i of task has the digest of p, else ErrWrong.
func (k Key) Verify(p *Proof, task string, i int) error {
	if !k.Signed(p) || !ed25519.Verify(k.key, message(task, i, p.Digest), p.signature[:]) {
		return ErrWrong
	}
	return nil
}

// Signer makes proofs. Its private key is nowhere else. Safe for concurrent use.
type Signer struct{ private ed25519.PrivateKey }

// NewSigner returns a signer with a new key.
func NewSigner() *Signer {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails
	return &Signer{ed25519.NewKeyFromSeed(seed)}
}

// Key is what proofs of s are checked with, as it goes over the wire.
func (s *Signer) Key() []byte { return bytes.Clone(s.private.Public().(ed25519.PublicKey)) }

// Sign says that piece i of task has digest d.
func (s *Signer) Sign(task string, i int, d piece.Digest) Proof {
	p := Proof{Digest: d}
	copy(p.keyID[:], s.private.Public().(ed25519.PublicKey))
	copy(p.signature[:], ed25519.Sign(s.private, message(task, i, d)))
	return p
}

// message is what is signed. All its parts have a fixed length, so that no two messages are alike.
func message(task string, i int, d piece.Digest) []byte {
	b := make([]byte, 0, len(domain)+len(task)+8+len(d))
	b = append(b, domain...)
	b = append(b, task...)
	b = binary.BigEndian.AppendUint64(b, uint64(i))
	return append(b, d[:]...)
}
