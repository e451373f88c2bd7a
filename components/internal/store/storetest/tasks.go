package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

func testFind(c conformance) {
	t, s := c.t, c.store
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

func testRefuse(c conformance) {
	t, s := c.t, c.store
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

func testNews(c conformance) {
	t, s := c.t, c.store
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

func testDrop(c conformance) {
	t, s := c.t, c.store
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

func testRemove(c conformance) {
	t, s := c.t, c.store
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

func testForget(c conformance) {
	t, s := c.t, c.store
	task := Create(t, s, ID("a"), 10)
	task.Release()
	if _, err := s.Get(ID("a")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get: %v, want ErrNotFound", err)
	}
}

func testReleaseTwice(c conformance) {
	t, s := c.t, c.store
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

func testClose(c conformance) {
	t, s := c.t, c.store
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
