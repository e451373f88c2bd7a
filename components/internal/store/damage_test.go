package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/store/storetest"
)

func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	content := storetest.Content(3 * size)
	const record = 52
	for _, row := range []struct {
		name   string
		damage func(damage)
		held   []int // nil: the task is gone
	}{
		{"no metadata", func(d damage) { d.remove("meta.json") }, nil},
		{"empty metadata", func(d damage) { d.replace("meta.json", "") }, nil},
		{"metadata of zero bytes", func(d damage) { d.replace("meta.json", strings.Repeat("\x00", 200)) }, nil},
		{"metadata of a later version", func(d damage) { d.edit("meta.json", `"version":1`, `"version":2`) }, nil},
		{"metadata of another task", func(d damage) { d.edit("meta.json", "aaaa", "aaab") }, nil},
		{"a negative piece size", func(d damage) { d.edit("meta.json", "65536", "-65536") }, nil},
		{"huge metadata", func(d damage) { d.replace("meta.json", strings.Repeat(" ", 2<<20)) }, nil},
		{"no data", func(d damage) { d.remove("data") }, nil},
		{"no journal", func(d damage) { d.remove("pieces") }, nil},
		{"an empty journal", func(d damage) { d.truncate("pieces", 0) }, []int{}},
		{"a torn journal", func(d damage) { d.truncate("pieces", 3*record-1) }, []int{0, 1}},
		{"a record lost in the middle", func(d damage) { d.flip("pieces", record+20) }, []int{0, 2}},
		{"data cut short", func(d damage) { d.truncate("data", 2*size-1) }, []int{0}},
		{"left over new metadata", func(d damage) { d.replace("meta.json.tmp", "{") }, []int{0, 1, 2}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			dir, id := t.TempDir(), storetest.ID("a")
			d := openDisk(t, dir, store.DiskConfig{})
			fill(t, d, id, content)
			closeDisk(t, d)
			row.damage(damage{t, dir, id})

			d = openDisk(t, dir, store.DiskConfig{})
			defer closeDisk(t, d)
			if row.held == nil {
				wantGone(t, d, id)
				if _, err := os.Stat(filepath.Dir(file(dir, id, "data"))); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the task's directory is still there: %v", err)
				}
			} else if task := get(t, d, id); true {
				wantHeld(t, task, content, row.held)
			}
			task := storetest.Create(t, d, id, int64(len(content)))
			storetest.Fill(t, task, content)
			storetest.Check(t, task, content, 0, len(content))
			if err := task.Complete(); err != nil {
				t.Errorf("Complete after the damage is repaired: %v", err)
			}
			if tasks, _ := d.Tasks(); len(tasks) != 1 {
				t.Errorf("Tasks = %v, want one", tasks)
			}
		})
	}
}

func wantHeld(t *testing.T, task store.Task, content []byte, held []int) {
	t.Helper()
	if task.IsComplete() != (len(held) == 3) || task.Count() != len(held) {
		t.Errorf("held %v, complete %v; want pieces %v", task.Have(), task.IsComplete(), held)
	}
	for _, i := range held {
		storetest.Check(t, task, content, i*size, size)
		if d, _ := task.Digest(i); d != piece.Sum(storetest.Piece(content, i)) {
			t.Errorf("wrong digest of piece %d", i)
		}
	}
}

// damage spoils files of a task.
type damage struct {
	t       *testing.T
	dir, id string
}

func (d damage) path(name string) string       { return file(d.dir, d.id, name) }
func (d damage) remove(name string)            { remove(d.t, d.path(name)) }
func (d damage) replace(name, content string)  { replace(d.t, d.path(name), content) }
func (d damage) edit(name, from, to string)    { edit(d.t, d.path(name), from, to) }
func (d damage) truncate(name string, n int64) { truncate(d.t, d.path(name), n) }
func (d damage) flip(name string, off int64)   { flip(d.t, d.path(name), off) }

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path, from, to string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), from) {
		t.Fatalf("no %q in %s: %v", from, b, err)
	}
	replace(t, path, strings.Replace(string(b), from, to, 1))
}

func truncate(t *testing.T, path string, n int64) {
	t.Helper()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}
