package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	o, err := parse([]string{"-version", "v1.0.0+a", "-platforms", "linux/amd64 linux/arm64"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.tag != "v1.0.0-a" || o.created.Unix() != 1700000000 || !slices.Equal(o.platforms, []string{"linux/amd64", "linux/arm64"}) {
		t.Errorf("got %+v", o)
	}
	if _, err := parse([]string{"-nonsense"}, io.Discard); err == nil {
		t.Error("an unknown option is no error")
	}
	t.Setenv("SOURCE_DATE_EPOCH", "now")
	if _, err := parse(nil, io.Discard); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
		t.Errorf("got %v, want an error that names the variable", err)
	}
}

func TestContextHasTheSameModesWhateverWasThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fill(dir, map[string][]byte{"a/b": []byte("x")}, []string{"c/d"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{".": 0o755, "a": 0o755, "a/b": 0o644, "c/d": 0o755} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %o", name, info, err, want)
		}
	}
}

func TestPlatformThatIsNone(t *testing.T) {
	t.Parallel()
	o := &options{}
	if err := o.compile(t.Context(), specs[0], "linux", t.TempDir()); err == nil || !strings.Contains(err.Error(), "OS/ARCHITECTURE") {
		t.Errorf("got %v, want an error that says what a platform is", err)
	}
}
