//go:build e2e

// Package images builds the container images as people do, twice and by Docker, and runs them. It needs Go, git and make; what uses
// Docker needs root, iproute2 and the Debian package docker.io too.
package images

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const (
	testTag   = "e2e"
	version   = "v0.0.0-e2e"
	revision  = "0123456789abcdef"
	registry  = "images.invalid"
	epoch     = "1700000000"
	platforms = "linux/amd64 linux/arm64"
)

// hostPlatform is what Docker's older builder can build for: it has no other one for an image from scratch.
const (
	hostPlatform = "linux/" + runtime.GOARCH
	hostFolder   = "linux-" + runtime.GOARCH // in paths
)

// maxSize of an image's files, in bytes.
var maxSize = map[string]int64{"supernode": 30_000_000, "dfdaemon": 40_000_000}

// run runs a command in a folder and returns its standard output. It fails the test with what the command said.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// root is the folder of the sources.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// makeImages runs one of make's targets for images.
func makeImages(t *testing.T, dir, target, platforms string, env ...string) string {
	t.Helper()
	return run(t, dir, append(env, "SOURCE_DATE_EPOCH="+epoch), "make", "-s", target, "VERSION="+version, "REVISION="+revision,
		"IMAGE_REGISTRY="+registry, "TAG="+testTag, "PLATFORMS="+platforms)
}

// checkout copies the sources as they are, without what is built and ignored.
func checkout(t *testing.T, to string) string {
	t.Helper()
	from := root(t)
	list := run(t, from, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for name := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(from, name))
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestTwoCheckoutsGiveOneDigest(t *testing.T) {
	first := checkout(t, filepath.Join(t.TempDir(), "a"))
	second := checkout(t, filepath.Join(t.TempDir(), "another", "place"))
	one := makeImages(t, first, "images-oci", platforms)
	two := makeImages(t, second, "images-oci", platforms)
	if one != two || strings.Count(one, "@sha256:") != 2 {
		t.Errorf("two folders gave\n%sand\n%swant the same two digests", one, two)
	}
	for name, most := range maxSize {
		t.Run(name, func(t *testing.T) { checkLayout(t, filepath.Join(first, "dist", "images", "oci", name), most, one) })
	}
}

// checkLayout checks that a layout is sound, that its digest was told, and that its images are small.
func checkLayout(t *testing.T, dir string, most int64, told string) {
	t.Helper()
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%s: %v, want one index", dir, err)
	}
	if d := manifest.Manifests[0].Digest.String(); !strings.Contains(told, d) {
		t.Errorf("%s has %s, which was not told:\n%s", dir, d, told)
	}
	idx, err := outer.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(idx); err != nil {
		t.Error(err)
	}
	inner, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(inner.Manifests) != len(strings.Fields(platforms)) {
		t.Errorf("%s has %d platforms, want %s", dir, len(inner.Manifests), platforms)
	}
	for _, d := range inner.Manifests {
		img, err := idx.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		unpacked, compressed := sizes(t, img)
		t.Logf("%s: %.1f MB, %.1f MB compressed", d.Platform, float64(unpacked)/1e6, float64(compressed)/1e6)
		if unpacked > most {
			t.Errorf("%s: %d bytes, want at most %d", d.Platform, unpacked, most)
		}
	}
}

// sizes are the bytes of the layers as they are unpacked, and as they are sent.
func sizes(t *testing.T, img v1.Image) (unpacked, compressed int64) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		n, err := partial.UncompressedSize(l)
		if err != nil {
			t.Fatal(err)
		}
		c, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		unpacked, compressed = unpacked+n, compressed+c
	}
	return unpacked, compressed
}
