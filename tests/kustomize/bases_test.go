// Package kustomize checks kustomize/: that it is made from the chart, what its overlays build, and that it is what Helm installs.
package kustomize

import (
	"bytes"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragonfly-kube/dragonfly/charts"
	"github.com/dragonfly-kube/dragonfly/tests/kustomize/fromchart"
)

var update = flag.Bool("update", false, "rewrite the generated files of kustomize/ and the golden files")

// dir is where the kustomizations are.
const dir = "../../kustomize"

func chart(t *testing.T) fs.FS {
	t.Helper()
	c, err := fs.Sub(charts.FS, "dragonfly")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// compare compares a file, and writes it with -update.
func compare(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-is +should be); make generate accepts it:\n%s", path, diff)
	}
}

func TestGeneratedFilesAreTheChart(t *testing.T) {
	files, err := fromchart.Files(chart(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Errorf("only %d files are generated: %s", len(files), slices.Sorted(maps.Keys(files)))
	}
	for name, data := range files {
		compare(t, filepath.Join(dir, name), data)
	}
	// What the chart has no more is no more.
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := strings.CutPrefix(filepath.ToSlash(path), dir+"/")
		if files[name] == nil && bytes.HasPrefix(data, []byte("# Generated ")) {
			if *update {
				return os.Remove(path)
			}
			t.Errorf("%s is not generated any more; make generate removes it", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
