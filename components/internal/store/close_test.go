package store

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// A writer left over from a closed store must not touch what the next one has in its place.
func TestLateWriterTouchesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := openFaulty(t, dir, DiskConfig{}, newFaults())
	old := newTask(t, first, "a", 2*testSize)
	wrong, content := bytes.Repeat([]byte{1}, testSize), bytes.Repeat([]byte{2}, testSize)
	mustPut(t, old, 1, content) // so that the task is there in the next life
	var late []PieceWriter
	for range 3 {
		w, err := old.Writer(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(wrong[:testSize/2]); err != nil {
			t.Fatal(err)
		}
		late = append(late, w)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := openFaulty(t, dir, DiskConfig{}, newFaults())
	task := newTask(t, second, "a", 2*testSize)
	mustPut(t, task, 0, content)
	for _, w := range late {
		if n, err := w.Write(wrong[:10]); n != 0 || err == nil {
			t.Errorf("Write after Close = %d, %v", n, err)
		}
	}
	if _, err := late[1].Commit(); err == nil {
		t.Error("Commit after Close: no error")
	}
	for _, w := range late {
		w.Abort()
	}
	old.Drop(1)
	if b, err := readAll(task); err != nil || !bytes.Equal(b, append(content, content...)) {
		t.Errorf("read %d bytes, %v; right bytes wanted", len(b), err)
	}
	wantReplay(t, task)
}

// A child that is forked and has not yet run another program has the lock's file open, too. That must not keep the directory locked.
func TestLockEndsWithClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openFaulty(t, dir, DiskConfig{}, newFaults())
	child, err := unix.Dup(int(d.lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	openFaulty(t, dir, DiskConfig{}, newFaults())
}

// Of two readers that doubt a piece, the slower must not drop what the faster has verified.
func TestDoubtEndsWithTheFirstVerification(t *testing.T) {
	t.Parallel()
	d := openFaulty(t, t.TempDir(), DiskConfig{}, newFaults())
	task := newTask(t, d, "a", testSize)
	content := make([]byte, testSize)
	mustPut(t, task, 0, content)
	task.distrust(0)
	if b, err := readAll(task); err != nil || !bytes.Equal(b, content) {
		t.Fatalf("read %d bytes, %v", len(b), err)
	}
	task.dropSuspect(0)
	if !task.Has(0) {
		t.Error("a verified piece was dropped")
	}
	task.distrust(0)
	task.dropSuspect(0)
	if task.Has(0) {
		t.Error("a suspect piece was not dropped")
	}
}
