// Package storetest is the conformance suite of store.Store: every implementation passes it.
package storetest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// Size is the piece size of the suite's tasks, in bytes.
const Size = piece.MinSize

// conformance is one test of the suite, with a store of its own.
type conformance struct {
	t     *testing.T
	store store.Store
}

// Run runs the suite. open returns a new, empty store each time; the suite closes it.
func Run(t *testing.T, open func(*testing.T) store.Store) {
	t.Helper()
	for _, part := range []struct {
		name string
		run  func(conformance)
	}{
		{"a task is found from its creation on", testFind},
		{"bad ids and metadata are refused", testRefuse},
		{"a piece is held after its commit and read back", testPiece},
		{"a piece of wrong digest or length leaves nothing", testWrongPiece},
		{"a proof is told of a held piece with its digest only", testProof},
		{"an aborted piece leaves nothing", testAbort},
		{"of several writers of a piece the first good commit wins", testWriters},
		{"a corrupt writer never harms a good one", testCorruptWriter},
		{"reads stop at what is not held and at the end", testReads},
		{"send writes what readat reads", testSend},
		{"news tells every gain once and wakes who waits", testNews},
		{"a dropped piece is not held and can come again", testDrop},
		{"metadata can learn but not change", testMeta},
		{"content of unknown length ends with a short piece", testUnknownLength},
		{"complete wants every piece", testComplete},
		{"empty content is complete without pieces", testEmpty},
		{"the revision follows the list of complete tasks", testRevision},
		{"another piece size or length drops old pieces unless complete", testOtherLayout},
		{"a removed task stays with its holders only", testRemove},
		{"a task without pieces is forgotten at release", testForget},
		{"releasing twice ends one pin", testReleaseTwice},
		{"after close holders read but write no more", testClose},
		{"all at once", testConcurrent},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			part.run(conformance{t, s})
		})
	}
}

// ID returns a task id that differs for each letter from a to f.
func ID(letter string) string { return strings.Repeat(letter, 64) }

// Content returns n bytes that look random and are the same for the same n.
func Content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b) // never fails
	return b
}

// Create makes a task for content of length bytes in pieces of Size. It is released at the end of the test.
func Create(t *testing.T, s store.Store, id string, length int64) store.Task {
	t.Helper()
	task, err := s.Create(id, api.Meta{Length: length, PieceSize: Size})
	if err != nil {
		t.Fatalf("Create(%.8s): %v", id, err)
	}
	t.Cleanup(task.Release)
	return task
}

// Put commits piece i of content.
func Put(t *testing.T, task store.Task, content []byte, i int) {
	t.Helper()
	b := Piece(content, i)
	want := piece.Sum(b)
	w, err := task.Writer(i, &want)
	if err != nil {
		t.Fatalf("Writer(%d): %v", i, err)
	}
	if n, err := w.Write(b); n != len(b) || err != nil {
		t.Fatalf("Write of piece %d: %d, %v; want %d bytes", i, n, err, len(b))
	}
	if got, err := w.Commit(); err != nil || got != want {
		t.Fatalf("Commit of piece %d: %v, %v; want %v", i, got, err, want)
	}
}

// Fill commits all pieces of content.
func Fill(t *testing.T, task store.Task, content []byte) {
	t.Helper()
	for i := range piece.NewLayout(int64(len(content))).Count() {
		Put(t, task, content, i)
	}
}

// Piece is the i-th piece of content.
func Piece(content []byte, i int) []byte {
	return content[i*Size : min(len(content), (i+1)*Size)]
}

// Check reads n bytes from off and compares them with content. Any goroutine of the test may call it.
func Check(t *testing.T, task store.Task, content []byte, off, n int) {
	t.Helper()
	r, err := task.Reader()
	if err != nil {
		t.Errorf("Reader: %v", err)
		return
	}
	defer r.Close()
	got := make([]byte, n)
	if m, err := r.ReadAt(got, int64(off)); m != n || err != nil {
		t.Errorf("ReadAt(%d bytes, %d) = %d, %v", n, off, m, err)
	} else if !bytes.Equal(got, content[off:off+n]) {
		t.Errorf("ReadAt(%d bytes, %d): wrong bytes", n, off)
	}
}

// wantNotHeld says that the byte at off is not to be had.
func wantNotHeld(t *testing.T, task store.Task, off int64) {
	t.Helper()
	r, err := task.Reader()
	if err != nil {
		t.Fatalf("Reader: %v", err)
	}
	defer r.Close()
	if n, err := r.ReadAt(make([]byte, 1), off); n != 0 || !errors.Is(err, store.ErrNotHeld) {
		t.Errorf("ReadAt(1 byte, %d) = %d, %v; want ErrNotHeld", off, n, err)
	}
	if n, err := r.Send(io.Discard, off, 1); n != 0 || !errors.Is(err, store.ErrNotHeld) {
		t.Errorf("Send(1 byte, %d) = %d, %v; want ErrNotHeld", off, n, err)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}
