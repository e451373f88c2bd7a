package payload

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestImagesAreWholeAndDifferByTheirMarks(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, mark := range []string{"first", "second"} {
		img, err := New(t.Context(), Spec{Dir: t.TempDir(), Root: "../../../..", Mark: mark, Sizes: []int64{1 << 20, 300 << 10}})
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(img, validate.Fast); err != nil {
			t.Errorf("%s: %v", mark, err)
		}
		layers, err := img.Layers()
		if err != nil || len(layers) != 3 {
			t.Fatalf("%s has %d layers (%v), want 3", mark, len(layers), err)
		}
		for i, least := range []int64{100 << 10, 1 << 20, 300 << 10} {
			if size, err := layers[i].Size(); err != nil || size < least {
				t.Errorf("%s: layer %d has %d bytes (%v), want %d or more", mark, i, size, err, least)
			}
			d, err := layers[i].Digest()
			if err != nil {
				t.Fatal(err)
			}
			if other := seen[d.String()]; other != "" {
				t.Errorf("layer %d of %s is one of %s", i, mark, other)
			}
			seen[d.String()] = mark
		}
	}
}
