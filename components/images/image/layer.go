package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/dragonfly-kube/dragonfly/components/images/recipe"
)

// tree is what the layers so far have put into the image: the kind of each path, without a slash before it.
type tree struct {
	context string
	time    time.Time
	kinds   map[string]fs.FileMode
}

// entry is a file, folder or link of a layer.
type entry struct {
	name     string // without a slash before it
	mode     fs.FileMode
	uid, gid int
	from     string // a file with the content, or what a link says
}

// dirs returns the folders on the way to name, and name itself, that are not there yet. They belong to root.
func (t *tree) dirs(name string) ([]entry, error) {
	var out []entry
	for at := name; at != "." && at != ""; at = path.Dir(at) {
		if kind, ok := t.kinds[at]; ok {
			if !kind.IsDir() {
				return nil, fmt.Errorf("/%s is no folder", at)
			}
			continue
		}
		t.kinds[at] = fs.ModeDir
		out = append(out, entry{name: at, mode: fs.ModeDir | 0o755})
	}
	slices.Reverse(out)
	return out, nil
}

// copied returns what an instruction brings into the image.
func (t *tree) copied(c *recipe.Copy) ([]entry, error) {
	to := strings.Trim(c.To, "/")
	if kind, ok := t.kinds[to]; (!ok || !kind.IsDir()) && to != "" && c.UID != 0 {
		return nil, fmt.Errorf("/%s is not there, and builders differ in who gets it: make it by WORKDIR first", to)
	}
	out, err := t.dirs(to)
	if err != nil {
		return nil, err
	}
	for _, from := range c.From {
		root := filepath.Join(t.context, filepath.FromSlash(from))
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			name := path.Join(to, filepath.ToSlash(rel))
			if rel == "." {
				if d.IsDir() {
					return nil
				}
				name = path.Join(to, path.Base(from))
			}
			e, err := t.add(name, file, d)
			e.uid, e.gid = c.UID, c.GID
			out = append(out, e)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", from, err)
		}
	}
	return out, nil
}

// add describes one file of the context.
func (t *tree) add(name, file string, d fs.DirEntry) (entry, error) {
	info, err := d.Info()
	if err != nil {
		return entry{}, err
	}
	if _, there := t.kinds[name]; there {
		return entry{}, fmt.Errorf("/%s is there already, and builders differ in what becomes of it", name)
	}
	e := entry{name: name, mode: info.Mode(), from: file}
	t.kinds[name] = info.Mode().Type()
	switch info.Mode().Type() {
	case 0, fs.ModeDir:
	case fs.ModeSymlink:
		e.from, err = os.Readlink(file)
	default:
		err = fmt.Errorf("%s is no file, folder or link", file)
	}
	return e, err
}

// layer packs entries, the same way each time: no times but the one given, no names of users, the order of the instruction.
func (t *tree) layer(entries []entry) (v1.Layer, error) {
	var packed bytes.Buffer // a layer is a program at most, some 10 MB
	w := tar.NewWriter(&packed)
	for _, e := range entries {
		if err := t.write(w, e); err != nil {
			return nil, fmt.Errorf("pack /%s: %w", e.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(packed.Bytes())), nil
	}, tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return l, nil
}

func (t *tree) write(w *tar.Writer, e entry) error {
	h := &tar.Header{
		Name: e.name, Mode: int64(e.mode.Perm()), Uid: e.uid, Gid: e.gid, ModTime: t.time, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR,
	}
	switch e.mode.Type() {
	case fs.ModeDir:
		h.Name, h.Typeflag = e.name+"/", tar.TypeDir
		return w.WriteHeader(h)
	case fs.ModeSymlink:
		h.Linkname, h.Typeflag, h.Mode = e.from, tar.TypeSymlink, 0o777
		return w.WriteHeader(h)
	}
	f, err := os.Open(e.from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h.Size = info.Size()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(w, f)
	if err == nil && n != h.Size {
		err = errors.New("it changed while it was read")
	}
	return err
}
