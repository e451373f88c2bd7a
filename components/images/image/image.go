// Package image makes images from recipes without a container engine: the same recipe and context, the same digest.
package image

import (
	"fmt"
	"io/fs"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/dragonfly-kube/dragonfly/components/images/recipe"
)

// Build makes the image of one platform. context is the folder that the recipe copies from; owners and times of its files don't count,
// modes do. created is the time of everything in the image.
func Build(r *recipe.Recipe, context string, platform v1.Platform, created time.Time) (v1.Image, error) {
	t := &tree{context: context, time: created.UTC().Truncate(time.Second), kinds: map[string]fs.FileMode{}}
	var adds []mutate.Addendum
	for _, step := range r.Steps {
		add, err := t.addendum(step)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", step.Text, err)
		}
		adds = append(adds, add)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(img, adds...)
	if err != nil {
		return nil, fmt.Errorf("put the layers together: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	file = file.DeepCopy()
	file.Created = v1.Time{Time: t.time}
	file.OS, file.Architecture, file.Variant = platform.OS, platform.Architecture, platform.Variant
	file.Config = r.Config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return nil, fmt.Errorf("write the image's configuration: %w", err)
	}
	return img, nil
}

// addendum makes what one step adds to the image: a layer, or a line of its history only.
func (t *tree) addendum(step recipe.Step) (mutate.Addendum, error) {
	add := mutate.Addendum{History: v1.History{CreatedBy: step.Text, Created: v1.Time{Time: t.time}, EmptyLayer: true}}
	var entries []entry
	var err error
	switch {
	case step.Copy != nil:
		entries, err = t.copied(step.Copy)
	case step.Dir != "":
		entries, err = t.dirs(step.Dir[1:])
	}
	if err != nil || len(entries) == 0 {
		return add, err
	}
	add.History.EmptyLayer = false
	add.MediaType = types.OCILayer
	add.Layer, err = t.layer(entries)
	return add, err
}

// Index puts images of several platforms together. The order does not matter.
func Index(images map[string]v1.Image) (v1.ImageIndex, error) {
	platforms := make([]string, 0, len(images))
	for p := range images {
		platforms = append(platforms, p)
	}
	slices.Sort(platforms)
	idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, text := range platforms {
		p, err := v1.ParsePlatform(text)
		if err != nil {
			return nil, fmt.Errorf("platform %q: %w", text, err)
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: images[text], Descriptor: v1.Descriptor{Platform: p}})
	}
	return idx, nil
}
