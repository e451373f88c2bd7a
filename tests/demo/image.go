package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layerSizes are the content bytes of the demo image's layers: like a real image, one layer has most of the bytes.
var layerSizes = []int64{96 << 20, 32 << 20, 8 << 20, 90 << 10, 24 << 10, 3 << 10}

// fileLayer is an uncompressed layer in a file named after its digest.
type fileLayer struct {
	path string
	hash v1.Hash
	size int64
}

func (l fileLayer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l fileLayer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l fileLayer) Size() (int64, error)                 { return l.size, nil }
func (l fileLayer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }
func (l fileLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l fileLayer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.path) }

// makeImage writes one layer of each size into dir and returns an image of them. The same sizes give the same image every time.
func makeImage(ctx context.Context, dir string, sizes []int64) (v1.Image, error) {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	for i, size := range sizes {
		l, err := makeLayer(ctx, dir, i, size)
		if err != nil {
			return nil, fmt.Errorf("make layer %d: %w", i, err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			return nil, fmt.Errorf("append layer %d: %w", i, err)
		}
	}
	return img, nil
}

// makeLayer writes a tar archive with one file of the size.
func makeLayer(ctx context.Context, dir string, i int, size int64) (fileLayer, error) {
	tmp, err := os.CreateTemp(dir, "layer")
	if err != nil {
		return fileLayer{}, err
	}
	defer tmp.Close()
	sum := sha256.New()
	tw := tar.NewWriter(io.MultiWriter(tmp, sum))
	name := fmt.Sprintf("usr/share/demo/layer-%d", i)
	if err := tw.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, Format: tar.FormatUSTAR}); err != nil {
		return fileLayer{}, err
	}
	if _, err := io.CopyN(tw, &content{ctx: ctx, rnd: rand.New(rand.NewPCG(1, uint64(i)))}, size); err != nil {
		return fileLayer{}, err
	}
	if err := tw.Close(); err != nil {
		return fileLayer{}, err
	}
	info, err := tmp.Stat()
	if err != nil {
		return fileLayer{}, err
	}
	hash := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	path := filepath.Join(dir, hash.Hex)
	return fileLayer{path: path, hash: hash, size: info.Size()}, os.Rename(tmp.Name(), path)
}

// content is an endless mixture of random bytes and repetition, as programs and their data are: about a third can be compressed away.
type content struct {
	ctx   context.Context //nolint:containedctx // ends the generation of a large layer between two blocks
	rnd   *rand.Rand
	block [16 << 10]byte
	rest  []byte
}

func (c *content) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		if err := c.ctx.Err(); err != nil {
			return 0, err
		}
		c.fill()
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *content) fill() {
	repeated := c.block[:len(c.block)/3]
	word := [8]byte{}
	for i := range word {
		word[i] = byte('a' + c.rnd.IntN(26))
	}
	copy(repeated, bytes.Repeat(word[:], len(repeated)/len(word)+1))
	random := c.block[len(repeated):]
	for i := 0; i+8 <= len(random); i += 8 {
		v := c.rnd.Uint64()
		for j := range 8 {
			random[i+j] = byte(v >> (8 * j))
		}
	}
	c.rest = c.block[:]
}
