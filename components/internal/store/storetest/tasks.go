package storetest

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

func testFind(t *testing.T, s store.Store) {
	if _, err := s.Get(ID("a")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of nothing: %v, want ErrNotFound", err)
	}
	task := Create(t, s, ID("a"), 10)
	for _, open := range []func() (store.Task, error){
		func() (store.Task, error) { return s.Get(ID("a")) },
		func() (store.Task, error) { return s.Create(ID("a"), api.Meta{Length: 10, PieceSize: Size}) },
		func() (store.Task, error) { return s.Create(ID("a"), api.Meta{Length: -1, PieceSize: Size}) },
	} {
		same, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if same.ID() != ID("a") || same.Layout() != (piece.Layout{Length: 10, Size: Size}) {
			t.Errorf("got task %s with %+v", same.ID(), same.Layout())
		}
		same.Release()
	}
	Put(t, task, Content(10), 0)
	if _, tasks := s.Usage(); tasks != 1 {
		t.Errorf("Usage: %d tasks, want 1", tasks)
	}
}

func testRefuse(t *testing.T, s store.Store) {
	good := api.Meta{Length: 1, PieceSize: Size}
	for _, row := range []struct {
		name, id string
		meta     api.Meta
	}{
		{"no id", "", good},
		{"a path for an id", "../../" + ID("a")[6:], good},
		{"an id in upper case", strings.ToUpper(ID("a")), good},
		{"no piece size", ID("a"), api.Meta{Length: 1}},
		{"a negative piece size", ID("a"), api.Meta{Length: 1, PieceSize: -1}},
		{"a piece size over the bound", ID("a"), api.Meta{Length: 1, PieceSize: piece.MaxSize + 1}},
		{"a length below unknown", ID("a"), api.Meta{Length: -2, PieceSize: Size}},
		{"more pieces than any task has", ID("a"), api.Meta{Length: 1 << 62, PieceSize: Size}},
	} {
		if task, err := s.Create(row.id, row.meta); err == nil {
			task.Release()
			t.Errorf("%s: no error", row.name)
		}
		if _, err := s.Get(row.id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: Get: %v, want ErrNotFound", row.name, err)
		}
		if err := s.Remove(row.id); err != nil {
			t.Errorf("%s: Remove: %v", row.name, err)
		}
	}
}

func testNews(t *testing.T, s store.Store) {
	content := Content(3*Size + 1)
	task := Create(t, s, ID("a"), int64(len(content)))
	gained, changed := task.News(0)
	if len(gained) != 0 {
		t.Errorf("News(0) of nothing = %v", gained)
	}
	for seen, i := range []int{2, 0, 3} {
		wantQuiet(t, changed)
		Put(t, task, content, i)
		<-changed
		gained, changed = task.News(seen)
		if !slices.Equal(gained, []int{i}) {
			t.Errorf("News(%d) = %v, want [%d]", seen, gained, i)
		}
	}
	for since, want := range map[int][]int{-1: {2, 0, 3}, 0: {2, 0, 3}, 1: {0, 3}, 3: {}, 99: {}} {
		if got, _ := task.News(since); !slices.Equal(got, want) {
			t.Errorf("News(%d) = %v, want %v", since, got, want)
		}
	}
	task.Drop(0)
	<-changed
	gained, changed = task.News(3)
	if len(gained) != 0 {
		t.Errorf("News(3) after Drop = %v", gained)
	}
	if err := task.SetMeta(api.Meta{Length: int64(len(content)), PieceSize: Size, Public: true}); err != nil {
		t.Fatal(err)
	}
	<-changed
	Put(t, task, content, 0)
	Put(t, task, content, 1)
	gained, changed = task.News(3)
	if !slices.Equal(gained, []int{0, 1}) {
		t.Errorf("News(3) = %v, want [0 1]", gained)
	}
	if err := task.Complete(); err != nil {
		t.Fatal(err)
	}
	<-changed
}

func wantQuiet(t *testing.T, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
		t.Error("a change is told where there was none")
	default:
	}
}

func testDrop(t *testing.T, s store.Store) {
	content := Content(2 * Size)
	task := Create(t, s, ID("a"), 2*Size)
	Fill(t, task, content)
	if err := task.Complete(); err != nil {
		t.Fatal(err)
	}
	before, _ := s.Usage()
	for _, i := range []int{1, 1, -1, 2, 1 << 30} {
		task.Drop(i)
	}
	if task.Has(1) || !task.Has(0) || task.Count() != 1 || task.IsComplete() {
		t.Errorf("after Drop: held %v, count %d, complete %v", task.Have(), task.Count(), task.IsComplete())
	}
	if after, _ := s.Usage(); after != before-Size {
		t.Errorf("Usage = %d, was %d before a piece of %d was dropped", after, before, Size)
	}
	if tasks, _ := s.Tasks(); len(tasks) != 0 {
		t.Errorf("Tasks = %v, want none", tasks)
	}
	wantNotHeld(t, task, Size)
	Put(t, task, content, 1)
	Check(t, task, content, 0, 2*Size)
	if err := task.Complete(); err != nil || !task.IsComplete() {
		t.Errorf("Complete = %v, IsComplete = %v", err, task.IsComplete())
	}
}

func testMeta(t *testing.T, s store.Store) {
	header := map[string]string{"Etag": "x"}
	task, err := s.Create(ID("a"), api.Meta{Length: 10, PieceSize: Size, Header: header})
	if err != nil {
		t.Fatal(err)
	}
	defer task.Release()
	header["Etag"] = "y"
	task.Meta().Header["Etag"] = "z"
	if got := task.Meta().Header["Etag"]; got != "x" {
		t.Errorf("Etag = %q, want x: the store must not share its map", got)
	}
	want := api.Meta{Length: 10, PieceSize: Size, Public: true, Header: map[string]string{"Etag": "w"}}
	if err := task.SetMeta(want); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []api.Meta{
		{Length: 11, PieceSize: Size}, {Length: -1, PieceSize: Size}, {Length: 10, PieceSize: 2 * Size}, {Length: 10}, {},
	} {
		if err := task.SetMeta(bad); err == nil {
			t.Errorf("SetMeta(%+v): no error", bad)
		}
	}
	got := task.Meta()
	if got.Length != want.Length || got.PieceSize != want.PieceSize || got.Public != want.Public || !maps.Equal(got.Header, want.Header) {
		t.Errorf("Meta = %+v, want %+v", got, want)
	}
}

func testUnknownLength(t *testing.T, s store.Store) {
	content := Content(2*Size + 100)
	task := Create(t, s, ID("a"), -1)
	Put(t, task, content, 0)
	if err := task.Complete(); err == nil {
		t.Error("Complete with unknown length: no error")
	}
	Put(t, task, content, 2)
	Check(t, task, content, 2*Size, 100)
	r, err := task.Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.ReadAt(make([]byte, 101), 2*Size); n != 100 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt over the end of the short piece = %d, %v; want 100, EOF", n, err)
	}
	if w, err := task.Writer(3, nil); err == nil {
		w.Abort()
		t.Error("Writer behind the short piece: no error")
	}
	w := writer(t, task, 1, nil)
	write(t, w, content[:50])
	if _, err := w.Commit(); err == nil {
		t.Error("commit of a second short piece: no error")
	}
	for _, length := range []int64{0, Size, 2 * Size, 2*Size + 99, 2*Size + 101, 3*Size + 100} {
		if err := task.SetMeta(api.Meta{Length: length, PieceSize: Size}); err == nil {
			t.Errorf("SetMeta(length %d) with a last piece that ends at %d: no error", length, len(content))
		}
	}
	if err := task.SetMeta(api.Meta{Length: int64(len(content)), PieceSize: Size}); err != nil {
		t.Fatal(err)
	}
	Put(t, task, content, 1)
	Check(t, task, content, 0, len(content))
	if err := task.Complete(); err != nil {
		t.Error(err)
	}

	other := Create(t, s, ID("b"), -1)
	Put(t, other, content, 1)
	w = writer(t, other, 0, nil)
	write(t, w, content[:50])
	if _, err := w.Commit(); err == nil {
		t.Error("commit of a short piece before a held one: no error")
	}
	w = writer(t, other, 0, nil)
	if _, err := w.Commit(); err == nil {
		t.Error("commit of an empty piece: no error")
	}
}

func testComplete(t *testing.T, s store.Store) {
	content := Content(Size + 1)
	task := Create(t, s, ID("a"), int64(len(content)))
	Put(t, task, content, 0)
	if err := task.Complete(); err == nil || task.IsComplete() {
		t.Errorf("Complete with a piece missing = %v, IsComplete = %v", err, task.IsComplete())
	}
	Put(t, task, content, 1)
	if task.IsComplete() {
		t.Error("IsComplete before Complete")
	}
	for range 2 {
		if err := task.Complete(); err != nil || !task.IsComplete() {
			t.Errorf("Complete = %v, IsComplete = %v", err, task.IsComplete())
		}
	}
	tasks, _ := s.Tasks()
	if want := []api.HeldTask{{ID: ID("a"), Length: Size + 1}}; !slices.Equal(tasks, want) {
		t.Errorf("Tasks = %v, want %v", tasks, want)
	}
}

func testEmpty(t *testing.T, s store.Store) {
	task := Create(t, s, ID("a"), 0)
	if w, err := task.Writer(0, nil); err == nil {
		w.Abort()
		t.Error("Writer(0) of empty content: no error")
	}
	if err := task.Complete(); err != nil {
		t.Fatal(err)
	}
	task.Release()
	again, err := s.Get(ID("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release()
	r, err := again.Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.ReadAt(make([]byte, 1), 0); n != 0 || !errors.Is(err, io.EOF) || !again.IsComplete() {
		t.Errorf("ReadAt of empty content = %d, %v, IsComplete = %v; want 0, EOF, true", n, err, again.IsComplete())
	}
}

func testRevision(t *testing.T, s store.Store) {
	var seen []uint64
	step := func(what string, change bool) {
		t.Helper()
		_, now := s.Tasks()
		if len(seen) > 0 && (now != seen[len(seen)-1]) != change {
			t.Errorf("%s: revision was %x, is %x; change wanted: %v", what, seen[len(seen)-1], now, change)
		}
		seen = append(seen, now)
	}
	step("empty", true)
	a := Create(t, s, ID("a"), 1)
	Put(t, a, Content(1), 0)
	step("a piece", false)
	b := Create(t, s, ID("b"), 1)
	Put(t, b, Content(1), 0)
	for _, task := range []store.Task{a, b} {
		if err := task.Complete(); err != nil {
			t.Fatal(err)
		}
		step("complete", true)
	}
	a.Drop(0)
	step("drop", true)
	a.Drop(0)
	step("drop of nothing", false)
	if err := s.Remove(ID("a")); err != nil {
		t.Fatal(err)
	}
	step("removal of an incomplete task", false)
	if err := s.Remove(ID("b")); err != nil {
		t.Fatal(err)
	}
	step("removal of a complete task", true)
	b.Drop(0)
	step("drop in a removed task", false)
}

func testOtherLayout(t *testing.T, s store.Store) {
	content := Content(3 * Size)
	for _, row := range []struct {
		name     string
		letter   string
		complete bool
		meta     api.Meta
		kept     bool
	}{
		{"the same", "a", false, api.Meta{Length: 3 * Size, PieceSize: Size}, true},
		{"length unknown", "b", false, api.Meta{Length: -1, PieceSize: Size}, true},
		{"other length", "c", false, api.Meta{Length: 3*Size + 1, PieceSize: Size}, false},
		{"other piece size", "d", false, api.Meta{Length: 3 * Size, PieceSize: 2 * Size}, false},
		{"other piece size of a complete task", "e", true, api.Meta{Length: 3 * Size, PieceSize: 2 * Size}, true},
	} {
		old := Create(t, s, ID(row.letter), 3*Size)
		Fill(t, old, content)
		if row.complete {
			if err := old.Complete(); err != nil {
				t.Fatal(err)
			}
		}
		task, err := s.Create(ID(row.letter), row.meta)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		defer task.Release()
		if kept := task.Count() == 3; kept != row.kept {
			t.Errorf("%s: %d pieces held, want them kept: %v", row.name, task.Count(), row.kept)
		}
		if !row.kept && task.Layout() != (piece.Layout{Length: row.meta.Length, Size: row.meta.PieceSize}) {
			t.Errorf("%s: layout %+v", row.name, task.Layout())
		}
		Check(t, old, content, 0, len(content))
	}
}

func testRemove(t *testing.T, s store.Store) {
	content := Content(2 * Size)
	old := Create(t, s, ID("a"), 2*Size)
	Put(t, old, content, 0)
	if err := s.Remove(ID("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ID("a")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of a removed task: %v, want ErrNotFound", err)
	}
	Check(t, old, content, 0, Size)
	Put(t, old, content, 1)

	other := Content(2*Size - 1)
	successor := Create(t, s, ID("a"), 2*Size-1)
	if successor.Count() != 0 {
		t.Errorf("the successor holds %d pieces of the removed task", successor.Count())
	}
	Put(t, successor, other, 0)
	Check(t, old, content, 0, 2*Size)
	Check(t, successor, other, 0, Size)
	old.Release()
	Check(t, successor, other, 0, Size)
	successor.Release()
	for range 2 {
		if err := s.Remove(ID("a")); err != nil {
			t.Errorf("Remove: %v", err)
		}
	}
	if n, tasks := s.Usage(); n != 0 || tasks != 0 {
		t.Errorf("Usage = %d bytes, %d tasks; want nothing", n, tasks)
	}
}

func testForget(t *testing.T, s store.Store) {
	task := Create(t, s, ID("a"), 10)
	task.Release()
	if _, err := s.Get(ID("a")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get: %v, want ErrNotFound", err)
	}
}

func testReleaseTwice(t *testing.T, s store.Store) {
	content := Content(10)
	first, second := Create(t, s, ID("a"), 10), Create(t, s, ID("a"), 10)
	first.Release()
	first.Release()
	if again, err := s.Get(ID("a")); err != nil {
		t.Errorf("Get after one holder released twice: %v", err)
	} else {
		again.Release()
	}
	Put(t, second, content, 0)
	Check(t, second, content, 0, 10)
}

func testClose(t *testing.T, s store.Store) {
	content := Content(2 * Size)
	task := Create(t, s, ID("a"), 2*Size)
	Put(t, task, content, 0)
	open := writer(t, task, 1, nil)
	write(t, open, Piece(content, 1))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	Check(t, task, content, 0, Size)
	if _, err := open.Commit(); err == nil || task.Has(1) {
		t.Errorf("Commit after Close = %v, held %v", err, task.Has(1))
	}
	if w, err := task.Writer(1, nil); err == nil {
		w.Abort()
		t.Error("Writer after Close: no error")
	}
	if other, err := s.Create(ID("b"), task.Meta()); err == nil {
		other.Release()
		t.Error("Create after Close: no error")
	}
	if other, err := s.Get(ID("a")); err == nil {
		other.Release()
		t.Error("Get after Close: no error")
	}
	task.Drop(0)
	task.Release()
}

// testConcurrent has many writers of the same pieces, some of them corrupt, and readers that never see a wrong byte.
func testConcurrent(t *testing.T, s store.Store) {
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
