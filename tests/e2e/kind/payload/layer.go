package payload

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is a gzip-compressed tar archive in a file.
type layer struct {
	path         string
	digest, diff v1.Hash
	size         int64
}

// Digest of the compressed layer.
func (l layer) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID is the digest of what is in it.
func (l layer) DiffID() (v1.Hash, error) { return l.diff, nil }

// Size in compressed bytes.
func (l layer) Size() (int64, error) { return l.size, nil }

// MediaType is Docker's.
func (l layer) MediaType() (types.MediaType, error) { return types.DockerLayer, nil }

// Compressed opens the file.
func (l layer) Compressed() (io.ReadCloser, error) { return os.Open(l.path) }

// Uncompressed is not needed for a push.
func (l layer) Uncompressed() (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

// writer takes the files of a layer.
type writer struct {
	tar *tar.Writer
	// size is how many compressed bytes there are so far.
	size int64
}

// makeLayer writes a layer to a file. It is gzip's format without its work: on a machine that is many nodes, unpacking would take longer
// than anything that is tested.
func makeLayer(path string, content func(*writer) error) (l layer, err error) {
	f, err := os.Create(path)
	if err != nil {
		return layer{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	digest, diff := sha256.New(), sha256.New()
	w := &writer{}
	zip, err := gzip.NewWriterLevel(io.MultiWriter(f, digest, counter{&w.size}), gzip.NoCompression)
	if err != nil {
		return layer{}, err
	}
	w.tar = tar.NewWriter(io.MultiWriter(zip, diff))
	if err := errors.Join(content(w), w.tar.Close(), zip.Close()); err != nil {
		return layer{}, err
	}
	return layer{path: path, digest: sum(digest), diff: sum(diff), size: w.size}, nil
}

func sum(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// counter counts what is written to it.
type counter struct{ n *int64 }

// Write never fails.
func (c counter) Write(b []byte) (int, error) {
	*c.n += int64(len(b))
	return len(b), nil
}

// file adds a file of this machine.
func (w *writer) file(name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.add(name, f, info.Size())
}

func (w *writer) add(name string, content io.Reader, size int64) error {
	header := &tar.Header{Name: name, Mode: 0o755, Size: size, Typeflag: tar.TypeReg}
	if err := w.tar.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.CopyN(w.tar, content, size)
	return err
}
