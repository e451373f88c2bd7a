package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/dragonfly-kube/dragonfly/components/images/image"
	"github.com/dragonfly-kube/dragonfly/components/images/recipe"
)

// image makes one image of all platforms, and writes it and its digest.
func (o *options) image(ctx context.Context, s spec, out io.Writer) error {
	ref, err := name.NewTag(o.registry + "/" + s.name + ":" + o.tag)
	if err != nil {
		return fmt.Errorf("name the image: %w", err)
	}
	r, err := o.recipe(s)
	if err != nil {
		return err
	}
	images := map[string]v1.Image{}
	for _, text := range o.platforms {
		platform, err := v1.ParsePlatform(text)
		if err != nil {
			return fmt.Errorf("platform %q: %w", text, err)
		}
		img, err := image.Build(r, o.context(s, text), *platform, o.created)
		if err != nil {
			return fmt.Errorf("%s: %w", s.dockerfile(), err)
		}
		archive := filepath.Join(o.out, s.name+"-"+strings.ReplaceAll(text, "/", "-")+".tar")
		if err := tarball.WriteToFile(archive, ref, img); err != nil {
			return fmt.Errorf("write %s: %w", archive, err)
		}
		images[text] = img
	}
	idx, err := image.Index(images)
	if err != nil {
		return err
	}
	if err := o.layout(filepath.Join(o.out, "oci", s.name), idx); err != nil {
		return err
	}
	digest, err := idx.Digest()
	if err != nil {
		return fmt.Errorf("take the digest: %w", err)
	}
	if o.push {
		if err := remote.WriteIndex(ref, idx, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return fmt.Errorf("push %s: %w", ref, err)
		}
	}
	_, err = fmt.Fprintf(out, "%s@%s\n", ref, digest)
	return err
}

func (o *options) recipe(s spec) (*recipe.Recipe, error) {
	f, err := os.Open(s.dockerfile())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return recipe.Parse(s.dockerfile(), f, map[string]string{"VERSION": o.version, "REVISION": o.revision})
}

// layout writes an OCI layout anew: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
func (o *options) layout(dir string, idx v1.ImageIndex) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("write the layout: %w", err)
	}
	l, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = l.AppendIndex(idx, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": o.tag}))
	}
	if err != nil {
		return fmt.Errorf("write the layout %s: %w", dir, err)
	}
	return nil
}
