package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/store/storetest"
)

func TestATaskMovesOut(t *testing.T) {
	t.Parallel()
	content := storetest.Content(3*size - 5)
	id := storetest.ID("a")
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, dir string) *store.Disk
		path    string // default a new file beside the store
		want    error
	}{
		"a complete one": {prepare: func(t *testing.T, dir string) *store.Disk {
			d := openDisk(t, dir, store.DiskConfig{})
			fill(t, d, id, content)
			return d
		}},
		"a complete one of an earlier life": {prepare: func(t *testing.T, dir string) *store.Disk {
			d := openDisk(t, dir, store.DiskConfig{})
			fill(t, d, id, content)
			closeDisk(t, d)
			return openDisk(t, dir, store.DiskConfig{})
		}},
		"not one that was not verified since an unclean stop": {want: store.ErrNotHeld, prepare: func(t *testing.T, dir string) *store.Disk {
			d := openDisk(t, dir, store.DiskConfig{})
			fill(t, d, id, content)
			crash(t, d, dir)
			return openDisk(t, dir, store.DiskConfig{})
		}},
		"not one that lacks a piece": {want: store.ErrNotHeld, prepare: func(t *testing.T, dir string) *store.Disk {
			d := openDisk(t, dir, store.DiskConfig{})
			fill(t, d, id, content)
			get(t, d, id).Drop(1)
			return d
		}},
		"not one that nobody knows": {want: store.ErrNotFound, prepare: func(t *testing.T, dir string) *store.Disk {
			return openDisk(t, dir, store.DiskConfig{})
		}},
		"not to another file system": {path: "/proc/f", want: errors.ErrUnsupported, prepare: func(t *testing.T, dir string) *store.Disk {
			d := openDisk(t, dir, store.DiskConfig{})
			fill(t, d, id, content)
			return d
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			dir, path := filepath.Join(parent, "store"), filepath.Join(parent, "f")
			if tc.path != "" {
				path = tc.path
			}
			d := tc.prepare(t, dir)
			t.Cleanup(func() { closeDisk(t, d) })
			err := d.Move(id, path, 0o640)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Move: got %v, want %v", err, tc.want)
			}
			info, errStat := os.Stat(path)
			if tc.want != nil {
				if errStat == nil {
					t.Error("there is a file all the same")
				}
				if tc.path != "" {
					storetest.Check(t, get(t, d, id), content, 0, len(content))
				}
				return
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != string(content) {
				t.Errorf("the file has %d bytes, %v; want the content's %d", len(got), err, len(content))
			}
			if errStat != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("the file: %v, %v; want permissions 640", info.Mode(), errStat)
			}
			wantGone(t, d, id)
			if n, tasks := d.Usage(); n != 0 || tasks != 0 {
				t.Errorf("the store still counts %d bytes of %d tasks", n, tasks)
			}
			fill(t, d, id, content) // there is room for a new one of that id
		})
	}
}

func TestWhoHoldsATaskThatMovesOutReadsOn(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	d := openDisk(t, filepath.Join(parent, "store"), store.DiskConfig{})
	defer closeDisk(t, d)
	content := storetest.Content(2 * size)
	id := storetest.ID("a")
	task, err := d.Create(id, api.Meta{Length: int64(len(content)), PieceSize: size})
	if err != nil {
		t.Fatal(err)
	}
	defer task.Release()
	storetest.Fill(t, task, content)
	if err := task.Complete(); err != nil {
		t.Fatal(err)
	}
	r, err := task.Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := d.Move(id, filepath.Join(parent, "f"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(content))
	if _, err := r.ReadAt(got, 0); err != nil || string(got) != string(content) {
		t.Errorf("the open reader got %v, want the content", err)
	}
}
