// Package access remembers who was seen to be allowed to read what: the proofs that open a cached blob. It decides nothing itself
// and keeps no credential, only keyed hashes of them under a key that dies with the process.
package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"
)

// Credential is a keyed hash of what a request authenticates with. The zero value means: with nothing.
type Credential [sha256.Size]byte

// Anonymous reports whether the request brought no credential.
func (c Credential) Anonymous() bool { return c == Credential{} }

// Kind is what a digest was proven to name. A registry checks what a manifest lists when it takes the manifest; the same bytes as a blob
// it takes unseen. So a proof for the one is none for the other.
type Kind string

// Kinds of content.
const (
	Manifest Kind = "manifest"
	Blob     Kind = "blob"
)

// Proof says that the origin lets a credential read content in a repository.
type Proof struct {
	Credential Credential
	Upstream   string
	Repo       string
	Kind       Kind
	Digest     digest.Digest
}

// Book of proofs. Safe for concurrent use.
type Book struct {
	secret [32]byte
	ttl    time.Duration
	now    func() time.Time
	proofs *lru.Cache[[sha256.Size]byte, time.Time] // to when each holds
}

// NewBook remembers up to size proofs, each for ttl. Memory is about 200 bytes a proof.
func NewBook(size int, ttl time.Duration, now func() time.Time) (*Book, error) {
	proofs, err := lru.New[[sha256.Size]byte, time.Time](size)
	if err != nil {
		return nil, err
	}
	b := &Book{ttl: ttl, now: now, proofs: proofs}
	rand.Read(b.secret[:]) // never fails: see crypto/rand
	return b, nil
}

// Credential of a request with these headers.
func (b *Book) Credential(h http.Header) Credential {
	if len(h.Values("Authorization")) == 0 {
		return Credential{}
	}
	return b.hash(h.Values("Authorization")...)
}

// Grant enters a proof.
func (b *Book) Grant(p Proof) { b.proofs.Add(b.key(p), b.now().Add(b.ttl)) }

// Granted reports whether just this proof was entered within the time to live.
func (b *Book) Granted(p Proof) bool {
	until, ok := b.proofs.Get(b.key(p))
	return ok && b.now().Before(until)
}

// Revoke strikes a proof out: the origin refused.
func (b *Book) Revoke(p Proof) { b.proofs.Remove(b.key(p)) }

func (b *Book) key(p Proof) [sha256.Size]byte {
	return b.hash(string(p.Credential[:]), p.Upstream, p.Repo, string(p.Kind), string(p.Digest))
}

// hash takes each part with its length before it, so that no two lists of parts look alike.
func (b *Book) hash(parts ...string) (sum [sha256.Size]byte) {
	m := hmac.New(sha256.New, b.secret[:])
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		m.Write(n[:])
		m.Write([]byte(p))
	}
	m.Sum(sum[:0])
	return sum
}
