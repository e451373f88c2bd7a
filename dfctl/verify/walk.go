package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// Bounds of what an image may be made of. An image of ten platforms has some 20 manifests and 200 blobs.
const (
	maxDepth     = 4 // indexes within indexes
	maxManifests = 512
	maxBlobs     = 8192
	atOnce       = 3 // blobs, as containerd pulls them
)

// walk pulls an image.
type walk struct {
	repository name.Repository
	platform   *v1.Platform // nil for all
	options    []remote.Option

	manifests map[v1.Hash]bool
	blobs     map[v1.Hash]v1.Descriptor
	order     []v1.Hash // of blobs
	pulled    atomic.Int64
}

// manifest reads one manifest, and those that it lists if it is an index. Its digest has been verified by remote.
func (w *walk) manifest(ref name.Reference, want *v1.Descriptor, depth int) (v1.Hash, error) {
	if depth > maxDepth || len(w.manifests) >= maxManifests {
		return v1.Hash{}, fmt.Errorf("%s: more than %d indexes within each other, or %d manifests", ref, maxDepth, maxManifests)
	}
	got, err := remote.Get(ref, w.options...)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("pull the manifest %s: %w", ref.Identifier(), err)
	}
	w.pulled.Add(got.Size)
	if want != nil && got.Size != want.Size {
		return v1.Hash{}, fmt.Errorf("the manifest %s has %d bytes, but its index says %d", ref.Identifier(), got.Size, want.Size)
	}
	w.manifests[got.Digest] = true
	switch {
	case got.MediaType.IsIndex():
		err = w.index(got.Manifest, depth)
	case got.MediaType.IsImage():
		err = w.image(got.Manifest)
	default:
		err = fmt.Errorf("the type %q is neither an image's nor an index's", got.MediaType)
	}
	if err != nil {
		return v1.Hash{}, fmt.Errorf("manifest %s: %w", got.Digest, err)
	}
	return got.Digest, nil
}

func (w *walk) index(text []byte, depth int) error {
	idx, err := v1.ParseIndexManifest(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	matched := 0
	for _, d := range idx.Manifests {
		if w.platform != nil && (d.Platform == nil || !d.Platform.Satisfies(*w.platform)) {
			continue
		}
		matched++
		if w.manifests[d.Digest] {
			continue
		}
		if _, err := w.manifest(w.repository.Digest(d.Digest.String()), &d, depth+1); err != nil {
			return err
		}
	}
	if matched == 0 {
		return fmt.Errorf("the index has nothing for %s; --platform chooses another", w.platformName())
	}
	return nil
}

func (w *walk) platformName() string {
	if w.platform == nil {
		return "any platform"
	}
	return w.platform.String()
}

func (w *walk) image(text []byte) error {
	var m v1.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if d.Digest == (v1.Hash{}) || d.Size < 0 {
			return fmt.Errorf("a blob with the digest %q and %d bytes makes no sense", d.Digest, d.Size)
		}
		if !d.MediaType.IsDistributable() && d.MediaType.IsLayer() || d.MediaType == types.DockerForeignLayer {
			continue // it is not in registries
		}
		if _, ok := w.blobs[d.Digest]; ok {
			continue
		}
		if len(w.order) >= maxBlobs {
			return fmt.Errorf("more than %d blobs", maxBlobs)
		}
		w.blobs[d.Digest] = d
		w.order = append(w.order, d.Digest)
	}
	return nil
}

// pull reads every blob and throws it away. remote verifies the digests.
func (w *walk) pull(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	options := append(append([]remote.Option(nil), w.options...), remote.WithContext(ctx))
	for _, hash := range w.order {
		group.Go(func() error {
			if err := w.blob(w.blobs[hash], options); err != nil {
				return fmt.Errorf("pull the blob %s: %w", hash, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (w *walk) blob(d v1.Descriptor, options []remote.Option) error {
	layer, err := remote.Layer(w.repository.Digest(d.Digest.String()), options...)
	if err != nil {
		return err
	}
	body, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(body, d.Size+1))
	w.pulled.Add(n)
	switch {
	case err != nil && errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the answer ended after %d of %d bytes: %w", n, d.Size, err)
	case err != nil:
		return err
	case n > d.Size:
		return fmt.Errorf("more than the %d bytes that the manifest says", d.Size)
	case n < d.Size:
		return fmt.Errorf("got %d bytes, but the manifest says %d", n, d.Size)
	}
	return nil
}
