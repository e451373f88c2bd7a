package dfget

import (
	"crypto/md5" //nolint:gosec // what old scripts have; SHA-256 is offered beside it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// wanted is a digest that the content has to have.
type wanted struct {
	algorithm string
	sum       []byte
}

// String is "algorithm:hex".
func (w wanted) String() string { return w.algorithm + ":" + hex.EncodeToString(w.sum) }

// errDigest says that content does not have its digest.
var errDigest = errors.New("digest mismatch")

func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha256":
		return sha256.New()
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	case "md5":
		return md5.New() //nolint:gosec // see the import
	}
	return nil
}

// wanted lists the digests asked for, the strongest first.
func (c *Config) wanted() ([]wanted, error) {
	texts := c.Digests
	if c.MD5 != "" {
		texts = append(slices.Clip(texts), "md5:"+strings.TrimPrefix(c.MD5, "md5:"))
	}
	var all []wanted
	for _, text := range texts {
		algorithm, digits, _ := strings.Cut(text, ":")
		sum, err := hex.DecodeString(digits)
		if h := newHash(algorithm); h == nil || err != nil || len(sum) != h.Size() {
			return nil, fmt.Errorf("option %q: %.150q is no digest, want sha256:, sha384:, sha512: or md5: and its hexadecimal digits", "digest", text)
		}
		all = append(all, wanted{algorithm, sum})
	}
	slices.SortStableFunc(all, func(a, b wanted) int { return len(b.sum) - len(a.sum) })
	return all, nil
}

// checker hashes content on its way and compares in the end.
type checker struct {
	want   []wanted
	hashes []hash.Hash
}

func newChecker(want []wanted) *checker {
	c := &checker{want: want}
	c.reset()
	return c
}

func (c *checker) reset() {
	c.hashes = nil
	for _, w := range c.want {
		c.hashes = append(c.hashes, newHash(w.algorithm))
	}
}

// Write implements io.Writer.
func (c *checker) Write(b []byte) (int, error) {
	for _, h := range c.hashes {
		_, _ = h.Write(b) // hashes don't fail
	}
	return len(b), nil
}

// readAll hashes what is there already.
func (c *checker) readAll(r io.Reader) error {
	if len(c.hashes) == 0 {
		return nil
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{c}, r, make([]byte, 1<<20))
	return err
}

func (c *checker) check() error {
	for i, w := range c.want {
		if got := c.hashes[i].Sum(nil); !slices.Equal(got, w.sum) {
			return fmt.Errorf("%w: the content has %s, want %s", errDigest, wanted{w.algorithm, got}, w)
		}
	}
	return nil
}
