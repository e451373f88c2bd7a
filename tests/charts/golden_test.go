package charts_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/aymanbagabas/go-udiff"
)

// random matches what each rendering makes anew.
var random = regexp.MustCompile(`(?m)^(  (?:secret|ca\.crt|tls\.crt|tls\.key): )\S+$`)

// golden compares with a file, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs (go test ./tests/charts -update writes it):\n%s", name, udiff.Unified("want", "got", string(want), got))
	}
}

func TestRenderedObjectsAreThoseOfTheGoldenFiles(t *testing.T) {
	t.Parallel()
	files := examples(t)
	files["default"] = nil
	for name, values := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := install(load(t), values, how{})
			if err != nil {
				t.Fatalf("render: %v", err)
			}
			golden(t, filepath.Join("testdata/rendered", name+".yaml"), random.ReplaceAllString(manifests(r), "${1}MASKED"))
			golden(t, filepath.Join("testdata/rendered", name+".notes.txt"), r.Info.Notes)
		})
	}
	t.Cleanup(func() {
		made, err := filepath.Glob("testdata/rendered/*.yaml")
		if err != nil || len(made) != len(files) {
			t.Errorf("%d golden files for %d examples: %v; remove those of files that are gone", len(made), len(files), err)
		}
	})
}
