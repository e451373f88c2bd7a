//go:build e2e

package clients

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	bigLayer    = 205 << 20 // compressed bytes, at least
	middleLayer = 10 << 20  // compressed bytes, about
	smallLayers = 5         // of less than 100 KB each
	smallLimit  = 100_000   // bytes
	manyFiles   = 3000      // a package with more takes long to unpack and proves nothing more
)

// layer is a gzip-compressed tar archive in a file, with the two digests that Docker wants to know.
type layer struct {
	path         string
	digest, diff v1.Hash
	size         int64
}

func (l layer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l layer) DiffID() (v1.Hash, error)             { return l.diff, nil }
func (l layer) Size() (int64, error)                 { return l.size, nil }
func (l layer) MediaType() (types.MediaType, error)  { return types.DockerLayer, nil }
func (l layer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l layer) Uncompressed() (io.ReadCloser, error) { return nil, errors.New("not needed for a push") }

// pushImage makes an image of the Debian packages on this machine (one layer of more than 200 MB, two in between, several of less
// than 100 KB) and pushes it.
func pushImage(t *testing.T, dir string, tag name.Tag) (digest v1.Hash, layers []layer) {
	t.Helper()
	packages := installed(t)
	layers = append(layers, makeLayer(t, dir, bigFiles(t, packages), bigLayer))
	half := len(packages) / 2
	layers = append(layers, makeLayer(t, dir, filesOf(t, packages[half:]...), middleLayer))
	layers = append(layers, makeLayer(t, dir, filesOf(t, packages[half/2:half]...), middleLayer/5))
	stride := max(1, len(packages)/30) // sizes that differ
	for i := len(packages) - 1; i >= 0 && len(layers) < 3+smallLayers; i -= stride {
		if l := makeLayer(t, dir, filesOf(t, packages[i]), smallLimit); l.size < smallLimit && l.size > 1000 && !has(layers, l) {
			layers = append(layers, l)
		}
	}
	img := mutate.MediaType(empty.Image, types.DockerManifestSchema2)
	img = mutate.ConfigMediaType(img, types.DockerConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{Architecture: runtime.GOARCH, OS: "linux", RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	if err := remote.Write(tag, img, remote.WithContext(t.Context())); err != nil {
		t.Fatalf("push %s: %v", tag, err)
	}
	if digest, err = img.Digest(); err != nil {
		t.Fatal(err)
	}
	return digest, layers
}

func has(layers []layer, l layer) bool {
	return slices.ContainsFunc(layers, func(o layer) bool { return o.digest == l.digest })
}

// installed lists the Debian packages on this machine, the largest first.
func installed(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "dpkg-query", "-W", "-f", "${Installed-Size} ${Package}:${Architecture}\n").Output()
	if err != nil {
		t.Fatalf("list the Debian packages: %v", err)
	}
	type sized struct {
		kib  int
		name string
	}
	var all []sized
	for line := range strings.Lines(string(out)) {
		size, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if kib, err := strconv.Atoi(size); err == nil {
			all = append(all, sized{kib, strings.TrimSuffix(name, ":all")})
		}
	}
	slices.SortStableFunc(all, func(a, b sized) int { return b.kib - a.kib })
	names := make([]string, 0, len(all))
	for _, p := range all {
		names = append(names, p.name)
	}
	return names
}

// bigFiles are files enough for the big layer: the packages', then, on a small machine, the Go distribution's.
func bigFiles(t *testing.T, packages []string) []string {
	t.Helper()
	files := filesOf(t, packages[:len(packages)/2]...)
	goroot, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("find the Go distribution: %v", err)
	}
	_ = filepath.WalkDir(strings.TrimSpace(string(goroot)), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return nil // what can't be read is left out
	})
	return files
}

// filesOf lists the files of packages below /usr, without those packages that have very many. (Above /usr, the same file may have
// two paths.)
func filesOf(t *testing.T, packages ...string) []string {
	t.Helper()
	var files []string
	for _, p := range packages {
		list, err := os.ReadFile("/var/lib/dpkg/info/" + p + ".list")
		if err != nil {
			name, _, _ := strings.Cut(p, ":")
			if list, err = os.ReadFile("/var/lib/dpkg/info/" + name + ".list"); err != nil {
				t.Fatalf("list the files of %s: %v", p, err)
			}
		}
		own := strings.Fields(string(list))
		if len(own) > manyFiles {
			continue
		}
		for _, path := range own {
			if strings.HasPrefix(path, "/usr/") {
				files = append(files, path)
			}
		}
	}
	return files
}

// makeLayer archives files until the compressed size is enough.
func makeLayer(t *testing.T, dir string, files []string, enough int64) layer {
	t.Helper()
	f, err := os.CreateTemp(dir, "layer")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	digest, diff := sha256.New(), sha256.New()
	zw, err := gzip.NewWriterLevel(io.MultiWriter(f, digest), gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(io.MultiWriter(zw, diff))
	added := map[string]bool{} // packages share folders, and Docker takes a path once
	for _, path := range files {
		if added[path] {
			continue
		}
		added[path] = true
		if err := addFile(tw, path); err != nil {
			t.Fatalf("archive %s: %v", path, err)
		}
		if at, err := f.Seek(0, io.SeekCurrent); err != nil || at >= enough {
			break
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	hash := func(sum []byte) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum)} }
	return layer{path: f.Name(), digest: hash(digest.Sum(nil)), diff: hash(diff.Sum(nil)), size: info.Size()}
}

// addFile adds a regular file, a folder or a symbolic link under its own path. Anything else, and what has gone, is left out.
func addFile(tw *tar.Writer, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	link := ""
	switch {
	case info.Mode().IsRegular(), info.IsDir():
	case info.Mode()&fs.ModeSymlink != 0:
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	default:
		return nil
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = strings.TrimPrefix(path, "/")
	h.Uname, h.Gname = "", ""
	if err := tw.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(tw, f); err != nil {
		return fmt.Errorf("it changed while it was read: %w", err)
	}
	return nil
}
