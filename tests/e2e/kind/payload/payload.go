// Package payload makes the images that the tests pull: real files in several layers, and a program that runs.
package payload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// Spec of an image.
type Spec struct {
	// Dir is for the layers' files, which the image reads as long as it is used.
	Dir string
	// Root is the folder of this repository, for the program.
	Root string
	// Mark makes the layers different from those of an image with another mark.
	Mark string
	// Sizes of the layers, bytes at least.
	Sizes []int64
}

// New makes the image. Its entry point is the program "pause", which runs until it is stopped.
func New(ctx context.Context, s Spec) (v1.Image, error) {
	program := filepath.Join(s.Dir, "pause")
	build := command.New("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./tests/e2e/kind/nodeimage/pause")
	build.Dir, build.Env = s.Root, []string{"CGO_ENABLED=0"}
	if _, err := build.Run(ctx); err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	enough := int64(0)
	for _, size := range s.Sizes {
		enough += size + largest
	}
	files, err := source(enough)
	if err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.DockerManifestSchema2), types.DockerConfigJSON)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		Architecture: runtime.GOARCH, OS: "linux", RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{Entrypoint: []string{"/pause"}},
	})
	if err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	for i, size := range append([]int64{0}, s.Sizes...) {
		l, err := makeLayer(filepath.Join(s.Dir, fmt.Sprintf("%s-%d.tar.gz", s.Mark, i)), func(w *writer) error {
			mark := fmt.Sprintf("%s, layer %d", s.Mark, i)
			if i == 0 {
				return errors.Join(w.add("mark", strings.NewReader(mark), int64(len(mark))), w.file("pause", program))
			}
			err := w.add(fmt.Sprintf("mark-%d", i), strings.NewReader(mark), int64(len(mark)))
			for err == nil && w.size < size && len(files) > 0 {
				err = w.file(fmt.Sprintf("data/%d%s", i, files[0]), files[0])
				files = files[1:]
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("make layer %d of an image: %w", i, err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			return nil, fmt.Errorf("make an image: %w", err)
		}
	}
	return img, nil
}

// Tiny files take long to unpack and prove nothing more; huge ones make layers far bigger than they should be.
const smallest, largest = 16 << 10, 8 << 20

// source lists files of this machine, those of its Debian packages first, that have so many bytes together.
func source(enough int64) ([]string, error) {
	var files []string
	for _, root := range []string{"/usr/lib", "/usr/bin", "/usr/share", "/usr/local"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if enough <= 0 {
				return fs.SkipAll
			}
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // what can't be read is left out
			}
			if info, err := d.Info(); err == nil && info.Size() < largest && info.Size() > smallest {
				files = append(files, path)
				enough -= info.Size()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if enough > 0 {
		return nil, fmt.Errorf("the files under /usr are %d bytes too few", enough)
	}
	return files, nil
}
