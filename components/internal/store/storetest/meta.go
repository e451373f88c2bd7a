package storetest

import (
	"errors"
	"io"
	"maps"
	"slices"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

func testMeta(c conformance) {
	t, s := c.t, c.store
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

func testUnknownLength(c conformance) {
	t, s := c.t, c.store
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

func testComplete(c conformance) {
	t, s := c.t, c.store
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

func testEmpty(c conformance) {
	t, s := c.t, c.store
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

func testRevision(c conformance) {
	t, s := c.t, c.store
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

func testOtherLayout(c conformance) {
	t, s := c.t, c.store
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
		t.Cleanup(task.Release)
		if kept := task.Count() == 3; kept != row.kept {
			t.Errorf("%s: %d pieces held, want them kept: %v", row.name, task.Count(), row.kept)
		}
		if !row.kept && task.Layout() != (piece.Layout{Length: row.meta.Length, Size: row.meta.PieceSize}) {
			t.Errorf("%s: layout %+v", row.name, task.Layout())
		}
		Check(t, old, content, 0, len(content))
	}
}
