package store_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/store/storetest"
)

func TestQuotaEvictsTheLeastRecentlyUsed(t *testing.T) {
	t.Parallel()
	dir, reg := t.TempDir(), prometheus.NewRegistry()
	d, err := store.OpenDisk(dir, store.DiskConfig{Quota: 6 * size}, discard, reg)
	if err != nil {
		t.Fatal(err)
	}
	defer closeDisk(t, d)
	content := storetest.Content(2 * size)
	for _, letter := range []string{"a", "b", "c"} {
		fill(t, d, storetest.ID(letter), content)
	}
	used := get(t, d, storetest.ID("a")) // now b is the least recently used
	used.Release()
	fill(t, d, storetest.ID("d"), content)
	wantGone(t, d, storetest.ID("b"))
	if _, err := os.Stat(filepath.Dir(file(dir, storetest.ID("b"), "data"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the evicted task is still on disk: %v", err)
	}
	for _, letter := range []string{"a", "c", "d"} {
		storetest.Check(t, get(t, d, storetest.ID(letter)), content, 0, len(content))
	}
	if tasks, _ := d.Tasks(); len(tasks) != 3 {
		t.Errorf("Tasks = %v, want three", tasks)
	}
	if n, _ := d.Usage(); n != 6*size {
		t.Errorf("Usage = %d, want %d", n, 6*size)
	}
	if got := metric(t, reg, "dragonfly_store_evictions_total"); got != 1 {
		t.Errorf("evictions counted = %v, want 1", got)
	}
}

func TestEvictionNeverTakesAPinnedTask(t *testing.T) {
	t.Parallel()
	d := openDisk(t, t.TempDir(), store.DiskConfig{Quota: 4 * size})
	defer closeDisk(t, d)
	content := storetest.Content(2 * size)
	fill(t, d, storetest.ID("a"), content)
	fill(t, d, storetest.ID("b"), content)
	held := []store.Task{get(t, d, storetest.ID("a")), get(t, d, storetest.ID("b"))}

	task := storetest.Create(t, d, storetest.ID("c"), size)
	wantNoSpace(t, task, 0)
	for _, h := range held {
		storetest.Check(t, h, content, 0, len(content))
	}
	r, err := held[0].Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	held[0].Release() // the reader is a pin as well
	wantNoSpace(t, task, 0)
	held[1].Release()
	storetest.Put(t, task, content, 0)
	wantGone(t, d, storetest.ID("b"))
	if n, err := r.ReadAt(make([]byte, len(content)), 0); err != nil {
		t.Errorf("ReadAt of the task read from = %d, %v", n, err)
	}
}

// A piece that does not fit the quota whatever is evicted must not cost the tasks that could be.
func TestUselessEviction(t *testing.T) {
	t.Parallel()
	d := openDisk(t, t.TempDir(), store.DiskConfig{Quota: 4 * size})
	defer closeDisk(t, d)
	content := storetest.Content(5 * size)
	fill(t, d, storetest.ID("a"), content[:size])
	task := storetest.Create(t, d, storetest.ID("b"), 5*size)
	for i := range 3 {
		storetest.Put(t, task, content, i)
	}
	large, err := d.Create(storetest.ID("c"), api.Meta{Length: -1, PieceSize: 2 * size})
	if err != nil {
		t.Fatal(err)
	}
	defer large.Release()
	wantNoSpace(t, large, 0)
	storetest.Check(t, get(t, d, storetest.ID("a")), content, 0, size)
}

// A task larger than the quota is kept as far as it goes, and given up when another comes.
func TestTaskLargerThanTheQuota(t *testing.T) {
	t.Parallel()
	d := openDisk(t, t.TempDir(), store.DiskConfig{Quota: 3 * size})
	defer closeDisk(t, d)
	content := storetest.Content(5 * size)
	task := storetest.Create(t, d, storetest.ID("b"), int64(len(content)))
	for i := range 3 {
		storetest.Put(t, task, content, i)
	}
	wantNoSpace(t, task, 3)
	wantNoSpace(t, task, 4)
	storetest.Check(t, task, content, 0, 3*size)
	task.Release()
	other := storetest.Create(t, d, storetest.ID("c"), int64(len(content)))
	storetest.Put(t, other, content, 0)
	wantGone(t, d, storetest.ID("b"))
}

func TestUnfinishedWritersCountAgainstTheQuota(t *testing.T) {
	t.Parallel()
	d := openDisk(t, t.TempDir(), store.DiskConfig{Quota: 2 * size})
	defer closeDisk(t, d)
	task := storetest.Create(t, d, storetest.ID("a"), 4*size)
	var open []store.PieceWriter
	for _, i := range []int{0, 0} { // the second writes aside, which takes disk space as well
		w, err := task.Writer(i, nil)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, w)
	}
	wantNoSpace(t, task, 1)
	for _, w := range open {
		w.Abort()
	}
	if n, _ := d.Usage(); n != 0 {
		t.Errorf("Usage after Abort = %d, want 0", n)
	}
	storetest.Put(t, task, storetest.Content(4*size), 1)
}

// The order of use is known after a restart without reading anything but directory entries, and a lowered quota is kept at once.
func TestOrderOfUseSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openDisk(t, dir, store.DiskConfig{})
	content := storetest.Content(size)
	for i, letter := range []string{"a", "b", "c", "d"} {
		fill(t, d, storetest.ID(letter), content)
		when := time.Now().Add(time.Duration([]int{-2, -4, -1, -3}[i]) * time.Hour)
		if err := os.Chtimes(file(dir, storetest.ID(letter), "data"), when, when); err != nil {
			t.Fatal(err)
		}
	}
	closeDisk(t, d)
	d = openDisk(t, dir, store.DiskConfig{})
	get(t, d, storetest.ID("b")).Release() // used last before the next restart
	closeDisk(t, d)
	d = openDisk(t, dir, store.DiskConfig{Quota: 2 * size})
	defer closeDisk(t, d)
	for letter, kept := range map[string]bool{"a": false, "b": true, "c": true, "d": false} {
		task, err := d.Get(storetest.ID(letter))
		if (err == nil) != kept {
			t.Errorf("task %s: %v, want it kept: %v", letter, err, kept)
		}
		if err == nil {
			task.Release()
		}
	}
}

// Many goroutines share a quota that holds a few of their tasks. Whoever holds a task reads right bytes of every piece it is told.
func TestEvictionUnderLoad(t *testing.T) {
	t.Parallel()
	const pieces = 3
	d := openDisk(t, t.TempDir(), store.DiskConfig{Quota: 5 * pieces * size})
	defer closeDisk(t, d)
	content := storetest.Content(pieces * size)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 60 {
				id := storetest.ID(string("0123456789abcdef"[rand.IntN(16)]))
				switch rand.IntN(10) {
				case 0:
					if err := d.Remove(id); err != nil {
						t.Errorf("Remove: %v", err)
					}
				default:
					churn(t, d, id, content)
				}
			}
		})
	}
	wg.Wait()
	var want int64
	tasks, _ := d.Tasks()
	for _, held := range tasks {
		want += held.Length
	}
	used, count := d.Usage()
	if used < want || used > 5*pieces*size || count > 16 {
		t.Errorf("Usage = %d bytes, %d tasks; want %d to %d bytes", used, count, want, 5*pieces*size)
	}
}

func churn(t *testing.T, d *store.Disk, id string, content []byte) {
	t.Helper()
	task, err := d.Create(id, api.Meta{Length: int64(len(content)), PieceSize: size})
	if err != nil {
		t.Errorf("Create: %v", err)
		return
	}
	defer task.Release()
	for i := range task.Layout().Count() {
		w, err := task.Writer(i, nil)
		if err != nil {
			t.Errorf("Writer: %v", err) // four goroutines hold four tasks, the quota is five
			return
		}
		if _, err := w.Write(storetest.Piece(content, i)); err != nil {
			t.Errorf("Write: %v", err)
		}
		if _, err := w.Commit(); err != nil {
			t.Errorf("Commit: %v", err)
		}
	}
	if err := task.Complete(); err != nil {
		t.Errorf("Complete: %v", err)
	}
	storetest.Check(t, task, content, 0, len(content))
}

func wantNoSpace(t *testing.T, task store.Task, i int) {
	t.Helper()
	w, err := task.Writer(i, nil)
	if !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("Writer(%d) = %v, want ErrNoSpace", i, err)
	}
	if err == nil {
		w.Abort()
	}
}
