// Package kustomize builds overlays from files in memory, to what "kubectl kustomize" writes for them.
package kustomize

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// ErrOptions marks errors in what the caller asked for: an overlay that there is not, an image that is none.
var ErrOptions = errors.New("wrong option")

// Kind is a directory of kustomizations.
type Kind string

// The kinds that callers may name.
const (
	Overlays   Kind = "overlays"
	Components Kind = "components"
)

// root is where the files are in kustomize's file system. Not its root: messages then have names that look like paths.
const root = "/kustomize"

// Options change an overlay, as a kustomization on top of it would.
type Options struct {
	// Components are added in this order.
	Components []string
	// Namespace of all objects; empty leaves those of the overlay in its own, and those that components add without one.
	Namespace string
	// Images are replacements, as "kustomize edit set image" takes them: IMAGE=NEW[:TAG|@DIGEST].
	Images []string
}

// Names are the names of all kustomizations of a kind, sorted.
func Names(files fs.FS, kind Kind) ([]string, error) {
	names, err := fs.Glob(files, string(kind)+"/*/kustomization.yaml")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	for i, name := range names {
		names[i] = path.Base(path.Dir(name))
	}
	slices.Sort(names)
	return names, nil
}

// Overlay builds the overlay of that name. Nothing is taken from the disk or the network.
func Overlay(files fs.FS, name string, o Options) ([]byte, error) {
	if err := known(files, Overlays, name); err != nil {
		return nil, err
	}
	top := types.Kustomization{
		TypeMeta:  types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Resources: []string{path.Join("..", string(Overlays), name)},
		Namespace: o.Namespace,
	}
	for _, component := range o.Components {
		if err := known(files, Components, component); err != nil {
			return nil, err
		}
		top.Components = append(top.Components, path.Join("..", string(Components), component))
	}
	for _, text := range o.Images {
		replacement, err := parseImage(text)
		if err != nil {
			return nil, err
		}
		top.Images = append(top.Images, replacement)
	}
	data, err := yaml.Marshal(top)
	if err != nil {
		return nil, fmt.Errorf("write a kustomization: %w", err)
	}
	out, err := build(files, map[string][]byte{"top/kustomization.yaml": data}, "top")
	if err != nil && len(o.Components) > 0 {
		return nil, fmt.Errorf("build the overlay %s with %s (does it have that already, or nothing for it to change?): %w", name,
			strings.Join(o.Components, ", "), err)
	}
	if err != nil {
		return nil, fmt.Errorf("build the overlay %s: %w", name, err)
	}
	return out, nil
}

func known(files fs.FS, kind Kind, name string) error {
	names, err := Names(files, kind)
	if err != nil {
		return err
	}
	if !slices.Contains(names, name) {
		return fmt.Errorf("%w: %q is none of the %s: %s", ErrOptions, name, kind, strings.Join(names, ", "))
	}
	return nil
}

func parseImage(text string) (types.Image, error) {
	old, replacement, ok := strings.Cut(text, "=")
	ref, err := reference.Parse(replacement)
	named, isNamed := ref.(reference.Named)
	if !ok || old == "" || err != nil || !isNamed {
		return types.Image{}, fmt.Errorf("%w: the image %q is not IMAGE=NEW[:TAG|@DIGEST]", ErrOptions, text)
	}
	out := types.Image{Name: old, NewName: named.Name()}
	if tagged, ok := ref.(reference.Tagged); ok {
		out.NewTag = tagged.Tag()
	}
	if digested, ok := ref.(reference.Digested); ok {
		out.Digest = digested.Digest().String()
	}
	return out, nil
}

// Build builds the kustomization in a directory of files.
func Build(files fs.FS, dir string) ([]byte, error) {
	out, err := build(files, nil, dir)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", dir, err)
	}
	return out, nil
}

// build builds the kustomization in dir, with some more files than there are.
func build(files fs.FS, more map[string][]byte, dir string) ([]byte, error) {
	mem := filesys.MakeFsInMemory()
	for name, data := range more {
		if err := mem.WriteFile(path.Join(root, name), data); err != nil {
			return nil, err
		}
	}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		return mem.WriteFile(path.Join(root, name), data)
	})
	if err != nil {
		return nil, fmt.Errorf("read the files: %w", err)
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified // as kubectl does: what others need comes first
	resources, err := krusty.MakeKustomizer(options).Run(mem, path.Join(root, dir))
	if err != nil {
		return nil, err
	}
	return resources.AsYaml()
}
