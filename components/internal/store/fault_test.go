package store

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

const testSize = piece.MinSize

func testID(letter string) string { return strings.Repeat(letter, 64) }

// faults is an operating system that fails on demand.
type faults struct {
	system
	// write may refuse what is to be written to a file, after taking n bytes of it.
	write atomic.Pointer[func(name string) (n int, err error)]
	left  atomic.Int64 // free space, in bytes
}

func newFaults() *faults {
	f := &faults{system: realSystem()}
	f.left.Store(1 << 40)
	f.free = func(string) (int64, error) { return f.left.Load(), nil }
	f.writeAt = func(file *os.File, p []byte, off int64) (int, error) {
		if hook := f.write.Load(); hook != nil {
			if n, err := (*hook)(file.Name()); err != nil {
				n, _ = file.WriteAt(p[:min(n, len(p))], off)
				return n, &os.PathError{Op: "write", Path: file.Name(), Err: err}
			}
		}
		return file.WriteAt(p, off)
	}
	return f
}

// fail makes writes to the named file of a task fail after n bytes.
func (f *faults) fail(suffix string, n int, err error) {
	hook := func(name string) (int, error) {
		if strings.HasSuffix(name, suffix) {
			return n, err
		}
		return 0, nil
	}
	f.write.Store(&hook)
}

func (f *faults) heal() { f.write.Store(nil) }

func openFaulty(t *testing.T, dir string, cfg DiskConfig, f *faults) *Disk {
	t.Helper()
	d, err := openDisk(dir, cfg, slog.New(slog.DiscardHandler), nil, f.system)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func newTask(t *testing.T, d *Disk, letter string, length int64) *diskHandle {
	t.Helper()
	task, err := d.Create(testID(letter), api.Meta{Length: length, PieceSize: testSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(task.Release)
	return task.(*diskHandle)
}

func putPiece(task Task, i int, b []byte) error {
	w, err := task.Writer(i, nil)
	if err != nil {
		return err
	}
	defer w.Abort()
	for len(b) > 0 {
		n, err := w.Write(b[:min(len(b), 10_000)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	_, err = w.Commit()
	return err
}

func mustPut(t *testing.T, task Task, i int, b []byte) {
	t.Helper()
	if err := putPiece(task, i, b); err != nil {
		t.Fatalf("piece %d: %v", i, err)
	}
}

func TestWriteFailuresLeaveNothing(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte{1}, testSize)
	for _, row := range []struct {
		name, file string
		n          int
		err        error
	}{
		{"no space for a byte", "data", 0, syscall.ENOSPC},
		{"no space after some bytes", "data", 5_000, syscall.ENOSPC},
		{"over a file system quota", "data", 5_000, syscall.EDQUOT},
		{"an I/O error", "data", 5_000, syscall.EIO},
		{"a read-only file system", "data", 0, syscall.EROFS},
		{"no space in the journal", journalName, 0, syscall.ENOSPC},
		{"a torn record in the journal", journalName, 20, syscall.EIO},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f, dir := newFaults(), t.TempDir()
			d := openFaulty(t, dir, DiskConfig{}, f)
			task := newTask(t, d, "a", 3*testSize)
			mustPut(t, task, 1, content)
			f.fail(row.file, row.n, row.err)
			err := putPiece(task, 0, content)
			if !errors.Is(err, ErrNoSpace) || errors.Is(err, row.err) || !strings.Contains(err.Error(), row.err.Error()) {
				t.Errorf("got error %v, want ErrNoSpace that tells %v without wrapping it", err, row.err)
			}
			if task.Has(0) || task.Count() != 1 {
				t.Errorf("held %v, want piece 1 alone", task.Have())
			}
			wantDisk(t, d, task, testSize)
			f.heal()
			mustPut(t, task, 0, content)
			mustPut(t, task, 2, content)
			if n, err := readAll(task); err != nil || !bytes.Equal(n, bytes.Repeat(content, 3)) {
				t.Errorf("once healed: %d bytes, %v", len(n), err)
			}
			wantReplay(t, task)
		})
	}
}

// wantDisk says what the store counts and the file system has allocated for its only task, and that nothing is pending.
func wantDisk(t *testing.T, d *Disk, task *diskHandle, n int64) {
	t.Helper()
	info, err := task.root.Lstat(dataName)
	if err != nil {
		t.Fatal(err)
	}
	if used, _ := d.Usage(); used != n || d.pending.Load() != 0 {
		t.Errorf("Usage = %d, pending %d; want %d, 0", used, d.pending.Load(), n)
	}
	if got := allocated(info); got > n {
		t.Errorf("%d bytes are allocated, want at most %d", got, n)
	}
}

// wantReplay says that the journal tells what the task holds.
func wantReplay(t *testing.T, task *diskHandle) {
	t.Helper()
	f, err := task.root.Open(journalName)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := newLedger(task.Meta())
	if _, err := l.replay(f, 1<<40, task.disk.epoch); err != nil || !l.held.Equal(task.Have()) || l.suspect.Any() {
		t.Errorf("the journal tells %v, suspect %v, %v; held are %v", &l.held, &l.suspect, err, task.Have())
	}
}

func readAll(task Task) ([]byte, error) {
	r, err := task.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, task.Layout().Length)
	n, err := r.ReadAt(b, 0)
	return b[:n], err
}

func TestFullDiskEvictsAndGoesOn(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte{1}, testSize)
	f := newFaults()
	d := openFaulty(t, t.TempDir(), DiskConfig{}, f)
	for _, letter := range []string{"a", "b", "c"} {
		idle, err := d.Create(testID(letter), api.Meta{Length: testSize, PieceSize: testSize})
		if err != nil {
			t.Fatal(err)
		}
		mustPut(t, idle, 0, content)
		idle.Release()
	}
	hook := func(string) (int, error) { // full until two tasks are gone
		if d.evictions.Load() < 2 {
			return 7, syscall.ENOSPC
		}
		return 0, nil
	}
	f.write.Store(&hook)
	task := newTask(t, d, "d", testSize)
	mustPut(t, task, 0, content)
	if b, err := readAll(task); err != nil || !bytes.Equal(b, content) {
		t.Errorf("read %d bytes, %v", len(b), err)
	}
	if _, n := d.Usage(); n != 2 {
		t.Errorf("%d tasks, want the last two", n)
	}
}

func TestMinimumFreeSpace(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte{1}, testSize)
	f := newFaults()
	f.left.Store(3 * testSize)
	d := openFaulty(t, t.TempDir(), DiskConfig{MinFree: 2 * testSize}, f)
	idle, err := d.Create(testID("a"), api.Meta{Length: testSize, PieceSize: testSize})
	if err != nil {
		t.Fatal(err)
	}
	mustPut(t, idle, 0, content)
	f.left.Store(2*testSize + testSize/2)
	idle.Release()

	task := newTask(t, d, "b", 2*testSize)
	if err := putPiece(task, 0, content); !errors.Is(err, ErrNoSpace) {
		t.Errorf("with less than the minimum left: %v, want ErrNoSpace", err)
	}
	if _, err := d.Get(testID("a")); !errors.Is(err, ErrNotFound) {
		t.Errorf("the idle task is still there: %v", err)
	}
	f.left.Store(3 * testSize)
	w, err := task.Writer(0, nil)
	if err != nil {
		t.Fatalf("with room for one piece: %v", err)
	}
	if err := putPiece(task, 1, content); !errors.Is(err, ErrNoSpace) {
		t.Errorf("what is reserved does not count: %v, want ErrNoSpace", err)
	}
	w.Abort()
	mustPut(t, task, 1, content)

	d.sys.free = func(string) (int64, error) { return 0, syscall.EIO }
	mustPut(t, task, 0, content) // what can't be told is left to the write
}

func TestTrim(t *testing.T) {
	t.Parallel()
	f := newFaults()
	d := openFaulty(t, t.TempDir(), DiskConfig{MinFree: 100}, f)
	for _, letter := range []string{"a", "b"} {
		task, err := d.Create(testID(letter), api.Meta{Length: testSize, PieceSize: testSize})
		if err != nil {
			t.Fatal(err)
		}
		mustPut(t, task, 0, make([]byte, testSize))
		task.Release()
	}
	d.Trim()
	if _, n := d.Usage(); n != 2 {
		t.Errorf("%d tasks after Trim with room, want 2", n)
	}
	f.left.Store(99)
	d.Trim()
	if _, n := d.Usage(); n != 0 {
		t.Errorf("%d tasks after Trim without room, want 0", n)
	}
}

func TestMetadataFailures(t *testing.T) {
	t.Parallel()
	f, dir := newFaults(), t.TempDir()
	d := openFaulty(t, dir, DiskConfig{}, f)
	f.fail(metaName+".tmp", 10, syscall.ENOSPC)
	if _, err := d.Create(testID("a"), api.Meta{Length: 1, PieceSize: testSize}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Create on a full disk: %v, want ErrNoSpace", err)
	}
	if _, n := d.Usage(); n != 0 {
		t.Errorf("%d tasks, want none", n)
	}
	if left, err := os.ReadDir(dir + "/tmp"); err != nil || len(left) != 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
	f.heal()
	task := newTask(t, d, "a", 1)
	mustPut(t, task, 0, []byte{1})
	f.fail(metaName+".tmp", 10, syscall.ENOSPC)
	if err := task.Complete(); !errors.Is(err, ErrNoSpace) || task.IsComplete() {
		t.Errorf("Complete on a full disk: %v, complete %v", err, task.IsComplete())
	}
	if tasks, _ := d.Tasks(); len(tasks) != 0 {
		t.Errorf("Tasks = %v, want none", tasks)
	}
	f.heal()
	if err := task.Complete(); err != nil {
		t.Error(err)
	}
}

// A piece that can't be read any more, on a disk that does not tell before, is found out and dropped.
func TestDataLostUnderneath(t *testing.T) {
	t.Parallel()
	d := openFaulty(t, t.TempDir(), DiskConfig{}, newFaults())
	task := newTask(t, d, "a", 2*testSize)
	content := bytes.Repeat([]byte{1}, testSize)
	mustPut(t, task, 0, content)
	mustPut(t, task, 1, content)
	f, err := task.root.OpenFile(dataName, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(testSize + 5); err != nil {
		t.Fatal(err)
	}
	r, err := task.Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.Send(io.Discard, 0, 2*testSize); n != testSize+5 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Send = %d, %v; want all that is there and unexpected EOF", n, err)
	}
	if n, err := r.ReadAt(make([]byte, 10), testSize); n != 0 || !errors.Is(err, ErrNotHeld) || task.Has(1) {
		t.Errorf("ReadAt after that = %d, %v, held %v; want the piece dropped", n, err, task.Has(1))
	}
	if n, err := r.ReadAt(make([]byte, 10), 0); n != 10 || err != nil {
		t.Errorf("ReadAt of the other piece = %d, %v", n, err)
	}
}
