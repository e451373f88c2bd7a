package storetest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// testConcurrent has many writers of the same pieces, some of them corrupt, and readers that never see a wrong byte.
func testConcurrent(c conformance) {
	t, s := c.t, c.store
	const pieces = 12
	content := Content(pieces*Size - 33)
	task := Create(t, s, ID("a"), int64(len(content)))
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			for _, i := range rand.Perm(pieces) {
				race(t, task, content, i, n%3 == 0)
			}
		})
	}
	for range 2 {
		wg.Go(func() { follow(t, s, content) })
	}
	wg.Wait()
	Fill(t, task, content)
	if err := task.Complete(); err != nil {
		t.Error(err)
	}
	Check(t, task, content, 0, len(content))
}

// race writes piece i, with one bit wrong where corrupt.
func race(t *testing.T, task store.Task, content []byte, i int, corrupt bool) {
	t.Helper()
	b := slices.Clone(Piece(content, i))
	want := piece.Sum(b)
	if corrupt {
		b[rand.IntN(len(b))] ^= 1
	}
	w, err := task.Writer(i, &want)
	if err != nil {
		t.Errorf("Writer(%d): %v", i, err)
		return
	}
	defer w.Abort()
	for chunk := range slices.Chunk(b, 10_000) {
		if _, err := w.Write(chunk); err != nil {
			t.Errorf("Write: %v", err)
			return
		}
	}
	if _, err := w.Commit(); err != nil && !corrupt || corrupt && !errors.Is(err, store.ErrDigest) {
		t.Errorf("Commit of piece %d, corrupt %v: %v", i, corrupt, err)
	}
}

// follow reads each piece as it comes.
func follow(t *testing.T, s store.Store, content []byte) {
	t.Helper()
	task, err := s.Get(ID("a"))
	if err != nil {
		t.Error(err)
		return
	}
	defer task.Release()
	r, err := task.Reader()
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Close()
	for seen := 0; seen < task.Layout().Count(); {
		gained, changed := task.News(seen)
		for _, i := range gained {
			var b bytes.Buffer
			off, n := task.Layout().Range(i)
			if _, err := r.Send(&b, off, n); err != nil || !bytes.Equal(b.Bytes(), Piece(content, i)) {
				t.Errorf("Send of piece %d: %v, right bytes: %v", i, err, bytes.Equal(b.Bytes(), Piece(content, i)))
			}
		}
		if seen += len(gained); len(gained) == 0 {
			<-changed
		}
	}
}
