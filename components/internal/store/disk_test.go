package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/store/storetest"
)

const size = storetest.Size

func closeDisk(t *testing.T, d *store.Disk) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// crash closes the store as if the machine had stopped: no mark of a clean stop is left.
func crash(t *testing.T, d *store.Disk, dir string) {
	t.Helper()
	closeDisk(t, d)
	if err := os.Remove(filepath.Join(dir, "clean")); err != nil {
		t.Fatal(err)
	}
}

// file is a file of a task on disk.
func file(dir, id, name string) string { return filepath.Join(dir, "tasks", id[:3], id, name) }

// fill makes a complete task that nobody holds.
func fill(t *testing.T, s store.Store, id string, content []byte) {
	t.Helper()
	task, err := s.Create(id, api.Meta{Length: int64(len(content)), PieceSize: size})
	if err != nil {
		t.Fatal(err)
	}
	defer task.Release()
	storetest.Fill(t, task, content)
	if err := task.Complete(); err != nil {
		t.Fatal(err)
	}
}

// get returns a task that is released at the end of the test.
func get(t *testing.T, s store.Store, id string) store.Task {
	t.Helper()
	task, err := s.Get(id)
	if err != nil {
		t.Fatalf("Get(%.8s): %v", id, err)
	}
	t.Cleanup(task.Release)
	return task
}

func wantGone(t *testing.T, s store.Store, id string) {
	t.Helper()
	if task, err := s.Get(id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get(%.8s) = %v, want ErrNotFound", id, err)
		if err == nil {
			task.Release()
		}
	}
}

// flip changes one byte of a file.
func flip(t *testing.T, path string, off int64) {
	t.Helper()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func TestCleanStopKeepsEverything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole, part, open := storetest.Content(2*size+1), storetest.Content(3*size), storetest.Content(size+7)
	meta := api.Meta{Length: 3 * size, PieceSize: size, Public: true, Header: map[string]string{"Etag": `"x"`}}

	d := openDisk(t, dir, store.DiskConfig{})
	fill(t, d, storetest.ID("a"), whole)
	task := storetest.Create(t, d, storetest.ID("b"), 3*size)
	storetest.Put(t, task, part, 2)
	storetest.Put(t, task, part, 0)
	task.Drop(2)
	if err := task.SetMeta(meta); err != nil {
		t.Fatal(err)
	}
	unknown := storetest.Create(t, d, storetest.ID("c"), -1)
	storetest.Put(t, unknown, open, 1)
	tasks, revision := d.Tasks()
	used, count := d.Usage()
	closeDisk(t, d)

	d = openDisk(t, dir, store.DiskConfig{})
	defer closeDisk(t, d)
	if again, r := d.Tasks(); !slices.Equal(again, tasks) || r != revision {
		t.Errorf("before anything is loaded, Tasks = %v, %x; want %v, %x", again, r, tasks, revision)
	}
	if n, c := d.Usage(); n < used || c != count {
		t.Errorf("Usage = %d, %d; want at least %d, %d: a dropped piece takes space until its task is loaded", n, c, used, count)
	}
	a := get(t, d, storetest.ID("a"))
	if !a.IsComplete() || a.Count() != 3 {
		t.Errorf("a: complete %v, %d pieces", a.IsComplete(), a.Count())
	}
	storetest.Check(t, a, whole, 0, len(whole))
	b := get(t, d, storetest.ID("b"))
	if got := b.Meta(); got.Length != meta.Length || !got.Public || got.Header["Etag"] != `"x"` || b.IsComplete() {
		t.Errorf("b: metadata %+v, complete %v", got, b.IsComplete())
	}
	if gained, _ := b.News(0); !slices.Equal(gained, []int{0}) {
		t.Errorf("b: news %v, want piece 0", gained)
	}
	storetest.Check(t, b, part, 0, size)
	c := get(t, d, storetest.ID("c"))
	storetest.Check(t, c, open, size, 7)
	if err := c.SetMeta(api.Meta{Length: size + 8, PieceSize: size}); err == nil {
		t.Error("c: a length that the short piece does not fit is taken after a restart")
	}
	if n, _ := d.Usage(); n != used {
		t.Errorf("Usage of loaded tasks = %d, want %d", n, used)
	}
}

func TestUncleanStopVerifiesBeforeUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content := storetest.Content(4 * size)
	id := storetest.ID("a")
	d := openDisk(t, dir, store.DiskConfig{})
	fill(t, d, id, content)
	crash(t, d, dir)
	flip(t, file(dir, id, "data"), size+10)
	flip(t, file(dir, id, "data"), 3*size)

	// A clean life in between that never looks at the second corrupt piece must not clear it.
	d = openDisk(t, dir, store.DiskConfig{})
	first := get(t, d, id)
	storetest.Check(t, first, content, 0, size)
	wantCorrupt(t, first, size)
	if first.IsComplete() || first.Has(1) || !first.Has(3) {
		t.Errorf("complete %v, held %v; want piece 1 gone alone", first.IsComplete(), first.Have())
	}
	if tasks, _ := d.Tasks(); len(tasks) != 0 {
		t.Errorf("Tasks = %v, want none", tasks)
	}
	storetest.Put(t, first, content, 1)
	closeDisk(t, d)

	reg := prometheus.NewRegistry()
	d, err := store.OpenDisk(dir, store.DiskConfig{}, discard, reg)
	if err != nil {
		t.Fatal(err)
	}
	defer closeDisk(t, d)
	second := get(t, d, id)
	storetest.Check(t, second, content, 0, 3*size)
	wantCorrupt(t, second, 3*size)
	if got := metric(t, reg, "dragonfly_store_corrupt_pieces_total"); got != 1 {
		t.Errorf("corrupt pieces counted = %v, want 1", got)
	}
	storetest.Put(t, second, content, 3)
	storetest.Check(t, second, content, 0, len(content))
	if err := second.Complete(); err != nil {
		t.Error(err)
	}
}

// wantCorrupt says that not one byte from off is given out.
func wantCorrupt(t *testing.T, task store.Task, off int64) {
	t.Helper()
	r, err := task.Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	if n, err := r.Send(&b, off, size); n != 0 || b.Len() != 0 || !errors.Is(err, store.ErrNotHeld) {
		t.Errorf("Send of a corrupt piece = %d bytes, %v; want ErrNotHeld", n, err)
	}
}

// Only a clean stop on the same boot of the machine counts.
func TestWhatIsNoCleanStop(t *testing.T) {
	t.Parallel()
	content := storetest.Content(size)
	id := storetest.ID("a")
	for name, spoil := range map[string]func(mark string) string{
		"a mark of another boot":   func(mark string) string { return mark[:17] + "01234567-89ab-cdef-0123-456789abcdef\n" },
		"a mark without a boot":    func(mark string) string { return mark[:17] + "\n" },
		"a mark of another epoch":  func(mark string) string { return "0000000000000001" + mark[16:] },
		"a mark of no epoch":       func(mark string) string { return "0000000000000000" + mark[16:] },
		"an empty mark":            func(string) string { return "" },
		"a mark that is no number": func(mark string) string { return "x" + mark[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d := openDisk(t, dir, store.DiskConfig{})
			fill(t, d, id, content)
			closeDisk(t, d)
			mark, err := os.ReadFile(filepath.Join(dir, "clean"))
			if err != nil {
				t.Fatal(err)
			}
			replace(t, filepath.Join(dir, "clean"), spoil(string(mark)))
			flip(t, file(dir, id, "data"), 5)
			d = openDisk(t, dir, store.DiskConfig{})
			defer closeDisk(t, d)
			if _, err := os.Stat(filepath.Join(dir, "clean")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the mark is there while the store is open: %v", err)
			}
			wantCorrupt(t, get(t, d, id), 0)
		})
	}
}

// Verified pieces stay trusted over the clean stops that follow: they are not read twice.
func TestVerifiedPieceIsTrustedInLaterLives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content := storetest.Content(2 * size)
	id := storetest.ID("a")
	d := openDisk(t, dir, store.DiskConfig{})
	fill(t, d, id, content)
	crash(t, d, dir)
	d = openDisk(t, dir, store.DiskConfig{})
	storetest.Check(t, get(t, d, id), content, 0, size)
	closeDisk(t, d)

	flip(t, file(dir, id, "data"), 0)
	flip(t, file(dir, id, "data"), size)
	d = openDisk(t, dir, store.DiskConfig{})
	defer closeDisk(t, d)
	task := get(t, d, id)
	content[0] ^= 0x40
	storetest.Check(t, task, content, 0, size) // as a clean stop promises that nobody changed it
	wantCorrupt(t, task, size)
}

func TestOneProcessADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openDisk(t, dir, store.DiskConfig{})
	if _, err := store.OpenDisk(dir, store.DiskConfig{}, discard, nil); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("OpenDisk of an open directory: %v, want it to say who uses it", err)
	}
	fill(t, d, storetest.ID("a"), storetest.Content(10))
	closeDisk(t, d)
	d = openDisk(t, dir, store.DiskConfig{})
	get(t, d, storetest.ID("a"))
	closeDisk(t, d)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	notDir := filepath.Join(t.TempDir(), "file")
	replace(t, notDir, "x")
	for name, open := range map[string]func() (*store.Disk, error){
		"a negative quota": func() (*store.Disk, error) {
			return store.OpenDisk(t.TempDir(), store.DiskConfig{Quota: -1}, discard, nil)
		},
		"a negative minimum": func() (*store.Disk, error) {
			return store.OpenDisk(t.TempDir(), store.DiskConfig{MinFree: -1}, discard, nil)
		},
		"a file for a directory": func() (*store.Disk, error) { return store.OpenDisk(notDir, store.DiskConfig{}, discard, nil) },
	} {
		if d, err := open(); err == nil {
			t.Errorf("%s: no error", name)
			closeDisk(t, d)
		}
	}
}

// Metrics of a store that could not be opened must not stay, nor those of the one that has them go.
func TestMetricsAreRegisteredOnce(t *testing.T) {
	t.Parallel()
	reg, dir := prometheus.NewRegistry(), t.TempDir()
	d, err := store.OpenDisk(dir, store.DiskConfig{}, discard, reg)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, d, storetest.ID("a"), storetest.Content(size))
	if other, err := store.OpenDisk(t.TempDir(), store.DiskConfig{}, discard, reg); err == nil {
		t.Error("two stores register the same metrics")
		closeDisk(t, other)
	}
	if got := metric(t, reg, "dragonfly_store_bytes"); got != size {
		t.Errorf("dragonfly_store_bytes = %v, want %d", got, size)
	}
	if got := metric(t, reg, "dragonfly_store_tasks"); got != 1 {
		t.Errorf("dragonfly_store_tasks = %v, want 1", got)
	}
	closeDisk(t, d)
	if d, err = store.OpenDisk(dir, store.DiskConfig{}, discard, reg); err != nil {
		t.Fatalf("open after close with the same registry: %v", err)
	}
	closeDisk(t, d)
}

func TestLeftoversAreCleared(t *testing.T) {
	t.Parallel()
	dir, id := t.TempDir(), storetest.ID("a")
	d := openDisk(t, dir, store.DiskConfig{})
	fill(t, d, id, storetest.Content(10))
	task := get(t, d, id)
	if err := d.Remove(id); err != nil {
		t.Fatal(err)
	}
	closeDisk(t, d)
	task.Release() // too late to delete anything
	replace(t, filepath.Join(dir, "tasks", "README"), "not ours")
	d = openDisk(t, dir, store.DiskConfig{})
	defer closeDisk(t, d)
	wantGone(t, d, id)
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}
