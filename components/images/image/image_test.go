package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/dragonfly-kube/dragonfly/components/images/recipe"
)

const dockerfile = `FROM scratch
LABEL a=b
COPY base/ /
WORKDIR /var/lib
COPY --chown=7:8 own/ ./
COPY bin/ file /usr/local/bin/
USER 7:8
ENTRYPOINT ["/usr/local/bin/x"]
`

var (
	amd64   = v1.Platform{OS: "linux", Architecture: "amd64"}
	created = time.Unix(1_700_000_000, 0)
)

// context is a folder with the files of dockerfile.
func context(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"base/etc", "own/x", "bin"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"base/etc/passwd": 0o644, "bin/b": 0o755, "file": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("b", filepath.Join(dir, "bin/a")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func build(t *testing.T, text, dir string) (v1.Image, error) {
	t.Helper()
	r, err := recipe.Parse("Dockerfile", strings.NewReader(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return Build(r, dir, amd64, created)
}

func digest(t *testing.T, img v1.Image, err error) v1.Hash {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// list describes every file of every layer.
func list(t *testing.T, img v1.Image) []string {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for i, l := range layers {
		rc, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(rc); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if !h.ModTime.Equal(created) {
				t.Errorf("%s has the time %v, want the image's", h.Name, h.ModTime)
			}
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("%d %s %o %d:%d %s%s", i, h.Name, h.Mode, h.Uid, h.Gid, h.Linkname, content))
		}
	}
	return all
}

func TestImageIsWhatTheRecipeSays(t *testing.T) {
	t.Parallel()
	img, err := build(t, dockerfile, context(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"0 etc/ 755 0:0 ", "0 etc/passwd 644 0:0 base/etc/passwd",
		"1 var/ 755 0:0 ", "1 var/lib/ 755 0:0 ",
		"2 var/lib/x/ 755 7:8 ",
		"3 usr/ 755 0:0 ", "3 usr/local/ 755 0:0 ", "3 usr/local/bin/ 755 0:0 ",
		"3 usr/local/bin/a 777 0:0 b", "3 usr/local/bin/b 755 0:0 bin/b", "3 usr/local/bin/file 600 0:0 file",
	}
	if diff := cmp.Diff(want, list(t, img)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.Config.User != "7:8" || file.Config.WorkingDir != "/var/lib" || file.Config.Labels["a"] != "b" || file.Architecture != "amd64" ||
		len(file.History) != 7 || !file.Created.Equal(created) {
		t.Errorf("got the configuration %+v", file)
	}
}

func TestSameInputsGiveTheSameDigest(t *testing.T) {
	t.Parallel()
	first, again := context(t), context(t)
	if err := os.Chtimes(filepath.Join(again, "file"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	a, err := build(t, dockerfile, first)
	one := digest(t, a, err)
	b, err := build(t, dockerfile, again)
	if two := digest(t, b, err); one != two {
		t.Errorf("got %s and %s from two folders with the same files", one, two)
	}
	if err := os.Chmod(filepath.Join(again, "file"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := build(t, dockerfile, again)
	if three := digest(t, c, err); one == three {
		t.Error("a file's mode does not change the digest")
	}
	forward, err := Index(map[string]v1.Image{"linux/amd64": a, "linux/arm64": c})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := forward.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 || manifest.Manifests[1].Platform.Architecture != "arm64" {
		t.Errorf("the index is %+v (%v), want both platforms in order", manifest, err)
	}
}

func TestWhatBuildersDifferInIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"a missing file":              {"COPY none /", "no such file"},
		"a folder copied over one":    {"COPY base/ /\nCOPY base/ /", "/etc is there already"},
		"a file as a folder":          {"COPY file /x/\nWORKDIR /x/file/y", "/x/file is no folder"},
		"a file copied over one":      {"COPY file /x/\nCOPY file /x/", "/x/file is there already"},
		"an owner for a new target":   {"COPY --chown=7:8 own/ /new/", "/new is not there"},
		"a pipe":                      {"COPY special/ /", "is no file, folder or link"},
		"an owner for the root works": {"COPY --chown=7:8 own/ /", ""},
	} {
		dir := context(t)
		if err := os.Mkdir(filepath.Join(dir, "special"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(filepath.Join(dir, "special", "pipe"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := build(t, "FROM scratch\n"+tc.text, dir)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

func TestIndexOfAPlatformThatIsNone(t *testing.T) {
	t.Parallel()
	img, err := build(t, dockerfile, context(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Index(map[string]v1.Image{"a/b/c/d": img}); err == nil {
		t.Error("no error")
	}
}
