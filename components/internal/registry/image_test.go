package registry

import (
	"io"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
)

// image is one in the origin, and what a test needs to know of it.
type image struct {
	v1.Image
	digest   digest.Digest
	manifest []byte
	layer    digest.Digest // the first layer
	bytes    []byte        // of that layer
}

// push makes an image of random layers in the origin, by its back door.
func (r *rig) push(repo, tag string, size int64, layers int64) image {
	r.t.Helper()
	img, err := random.Image(size, layers)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.pushImage(repo, tag, img)
}

func (r *rig) pushImage(repo, tag string, img v1.Image) image {
	r.t.Helper()
	ref, err := name.ParseReference(r.origin.host()+"/"+repo+":"+tag, name.Insecure)
	if err != nil {
		r.t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	var allow func(string, string) bool
	r.origin.set(func() { allow, r.origin.allow = r.origin.allow, nil })
	if err := remote.Write(ref, img, remote.WithTransport(transport)); err != nil {
		r.t.Fatal(err)
	}
	r.origin.set(func() { r.origin.allow = allow })
	r.origin.reset()
	return describe(r.t, img)
}

func describe(t *testing.T, img v1.Image) image {
	t.Helper()
	out := image{Image: img}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	out.digest = digest.Digest(d.String())
	if out.manifest, err = img.RawManifest(); err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	l, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	out.layer = digest.Digest(l.String())
	body, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if out.bytes, err = io.ReadAll(body); err != nil {
		t.Fatal(err)
	}
	return out
}
