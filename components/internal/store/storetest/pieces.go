package storetest

import (
	"bytes"
	"io"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

func writer(t *testing.T, task store.Task, i int, want *piece.Digest) store.PieceWriter {
	t.Helper()
	w, err := task.Writer(i, want)
	if err != nil {
		t.Fatalf("Writer(%d): %v", i, err)
	}
	return w
}

func write(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if n, err := w.Write(b); n != len(b) || err != nil {
		t.Fatalf("Write(%d bytes) = %d, %v", len(b), n, err)
	}
}

func testPiece(c conformance) {
	t, s := c.t, c.store
	content := Content(2*Size + 100)
	task := Create(t, s, ID("a"), int64(len(content)))
	for _, i := range []int{2, 0} {
		w := writer(t, task, i, nil)
		for chunk := range bytes.SplitSeq(Piece(content, i), []byte{0}) { // in odd chunks
			write(t, w, chunk)
			if len(chunk)+1 <= Size {
				write(t, w, nil)
			}
		}
		w.Abort()
		Put(t, task, content, i)
	}
	if task.Has(1) || !task.Has(2) || !task.Has(0) || task.Count() != 2 || task.Have().Count() != 2 {
		t.Errorf("held: %v, count %d; want pieces 0 and 2", task.Have(), task.Count())
	}
	for _, i := range []int{-1, 3, 1 << 30} {
		if task.Has(i) {
			t.Errorf("Has(%d) = true", i)
		}
	}
	if d, ok := task.Digest(2); !ok || d != piece.Sum(content[2*Size:]) {
		t.Errorf("Digest(2) = %v, %v", d, ok)
	}
	if _, ok := task.Digest(1); ok {
		t.Error("Digest(1) of a piece not held")
	}
	Check(t, task, content, 0, Size)
	Check(t, task, content, 2*Size, 100)
	if n, _ := s.Usage(); n < Size+100 {
		t.Errorf("Usage = %d bytes, want at least %d", n, Size+100)
	}
}

func testWrongPiece(c conformance) {
	t, s := c.t, c.store
	content := Content(2*Size + 100)
	task := Create(t, s, ID("a"), int64(len(content)))
	good := piece.Sum(Piece(content, 0))

	w := writer(t, task, 0, &good)
	write(t, w, Piece(content, 1))
	_, err := w.Commit()
	wantError(t, "commit of other bytes", err, store.ErrDigest)

	w = writer(t, task, 0, &good)
	write(t, w, Piece(content, 0)[:Size-1])
	_, err = w.Commit()
	wantError(t, "commit of too few bytes", err, store.ErrDigest)

	w = writer(t, task, 0, nil)
	write(t, w, Piece(content, 0)[:Size-1])
	if _, err = w.Commit(); err == nil {
		t.Error("commit of too few bytes with no digest wanted: no error")
	}

	w = writer(t, task, 2, nil)
	if n, err := w.Write(content[:101]); n != 0 || err == nil {
		t.Errorf("Write of more than the piece has = %d, %v; want an error", n, err)
	}
	if _, err = w.Commit(); err == nil {
		t.Error("commit after a failed write: no error")
	}
	for _, i := range []int{-1, 3, piece.MaxCount} {
		if w, err := task.Writer(i, nil); err == nil {
			w.Abort()
			t.Errorf("Writer(%d) of a task of 3 pieces: no error", i)
		}
	}
	nothingLeft(t, s, task)
}

// nothingLeft says that the only task holds no piece and takes no space.
func nothingLeft(t *testing.T, s store.Store, task store.Task) {
	t.Helper()
	if task.Count() != 0 {
		t.Errorf("%d pieces held, want none", task.Count())
	}
	if n, _ := s.Usage(); n != 0 {
		t.Errorf("Usage = %d bytes, want 0", n)
	}
	if gained, _ := task.News(0); len(gained) != 0 {
		t.Errorf("News = %v, want none", gained)
	}
	wantNotHeld(t, task, 0)
}

func testAbort(c conformance) {
	t, s := c.t, c.store
	content := Content(Size)
	task := Create(t, s, ID("a"), Size)
	w := writer(t, task, 0, nil)
	write(t, w, content)
	w.Abort()
	w.Abort()
	if _, err := w.Write(content[:1]); err == nil {
		t.Error("Write after Abort: no error")
	}
	nothingLeft(t, s, task)
	Put(t, task, content, 0)
	Check(t, task, content, 0, Size)
}

func testWriters(c conformance) {
	t, s := c.t, c.store
	content := Content(Size)
	want := piece.Sum(content)
	for first := range 3 {
		task := Create(t, s, ID(string(rune('a'+first))), Size)
		writers := []store.PieceWriter{writer(t, task, 0, &want), writer(t, task, 0, nil), writer(t, task, 0, &want)}
		for _, part := range [][]byte{content[:100], content[100:]} {
			for _, w := range writers {
				write(t, w, part)
			}
		}
		for i := range writers {
			if d, err := writers[(first+i)%3].Commit(); err != nil || d != want {
				t.Errorf("Commit %d of writer %d = %v, %v", i, (first+i)%3, d, err)
			}
			writers[(first+i)%3].Abort()
			Check(t, task, content, 0, Size)
		}
		if gained, _ := task.News(0); len(gained) != 1 {
			t.Errorf("News = %v, want piece 0 once", gained)
		}
		late := writer(t, task, 0, &want)
		write(t, late, content)
		if d, err := late.Commit(); err != nil || d != want {
			t.Errorf("Commit of a held piece = %v, %v", d, err)
		}
	}
}

func testCorruptWriter(c conformance) {
	t, s := c.t, c.store
	content := Content(Size)
	want := piece.Sum(content)
	for _, corruptFirst := range []bool{true, false} {
		task := Create(t, s, ID(map[bool]string{true: "a", false: "b"}[corruptFirst]), Size)
		w, bad := writer(t, task, 0, &want), writer(t, task, 0, &want)
		if corruptFirst {
			w, bad = bad, w
		}
		wrong := bytes.Repeat([]byte{7}, Size)
		write(t, bad, wrong[:Size/2])
		write(t, w, content)
		write(t, bad, wrong[Size/2:Size-10])
		if d, err := w.Commit(); err != nil || d != want {
			t.Fatalf("Commit = %v, %v", d, err)
		}
		write(t, bad, wrong[Size-10:])
		Check(t, task, content, 0, Size)
		_, err := bad.Commit()
		wantError(t, "commit of a corrupt piece that is held meanwhile", err, store.ErrDigest)
		Check(t, task, content, 0, Size)
	}
}
