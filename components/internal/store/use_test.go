package store

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// openFiles counts this process's files in dir.
func openFiles(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	n := 0
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(target, dir) {
			n++
		}
	}
	return n
}

func TestOpenFilesAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openFaulty(t, dir, DiskConfig{}, newFaults())
	base := openFiles(t, dir)
	want := func(what string, n int) {
		t.Helper()
		if got := openFiles(t, dir) - base; got != n {
			t.Errorf("%s: %d files open, want %d", what, got, n)
		}
	}
	held, err := d.Create(testID("a"), api.Meta{Length: 10 * testSize, PieceSize: testSize})
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Get(testID("a"))
	if err != nil {
		t.Fatal(err)
	}
	want("a task held twice", 1)
	mustPut(t, held, 0, make([]byte, testSize))
	want("after a commit", 1)
	var writers []PieceWriter
	for range 3 {
		w, err := held.Writer(1, nil)
		if err != nil {
			t.Fatal(err)
		}
		writers = append(writers, w)
	}
	want("with three writers of a piece", 4)
	for i, w := range writers {
		if _, err := w.Write(make([]byte, testSize)); err != nil {
			t.Fatal(err)
		}
		if i != 1 {
			continue
		}
		if _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	want("with one of them committed and one of them overtaken", 2)
	for _, w := range writers {
		w.Abort()
	}
	r, err := held.Reader()
	if err != nil {
		t.Fatal(err)
	}
	want("with a reader", 2)
	again.Release()
	held.Release()
	want("with the reader alone, which holds the task", 2)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	want("nobody holds it", 0)
}

func TestFewIdleTasksStayLoaded(t *testing.T) {
	t.Parallel()
	d := openFaulty(t, t.TempDir(), DiskConfig{}, newFaults())
	id := func(i int) string { return fmt.Sprintf("%064x", i) }
	for i := range 2 * warmTasks {
		task, err := d.Create(id(i), api.Meta{Length: 1, PieceSize: testSize})
		if err != nil {
			t.Fatal(err)
		}
		mustPut(t, task, 0, []byte{byte(i)})
		task.Release()
	}
	loaded := func() int {
		n := 0
		for _, s := range d.slots {
			if s.task != nil {
				n++
			}
		}
		return n
	}
	if n := loaded(); n != warmTasks || d.warm.Len() != warmTasks {
		t.Errorf("%d tasks loaded, %d listed, want %d", n, d.warm.Len(), warmTasks)
	}
	for i := range 2 * warmTasks {
		task, err := d.Get(id(i))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := readAll(task); err != nil || !bytes.Equal(b, []byte{byte(i)}) {
			t.Errorf("task %d: %v, %v", i, b, err)
		}
		task.Release()
	}
	if n := loaded(); n != warmTasks {
		t.Errorf("%d tasks loaded after each was used, want %d", n, warmTasks)
	}
}

// What a killed writer left where no piece is held is given back when the task is used again.
func TestKilledWriterLeavesNoSpace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *Disk {
		d, err := OpenDisk(dir, DiskConfig{}, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := open()
	task, err := d.Create(testID("a"), api.Meta{Length: 5 * testSize, PieceSize: testSize})
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte{7}, testSize)
	mustPut(t, task, 2, content)
	task.Release()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "tasks", "aaa", testID("a"), dataName)
	if err := os.WriteFile(data, bytes.Repeat(content, 5), 0o600); err != nil {
		t.Fatal(err)
	}

	d = open()
	defer d.Close()
	if used, _ := d.Usage(); used < 5*testSize {
		t.Errorf("before it is loaded, Usage = %d, want what the file system has: %d", used, 5*testSize)
	}
	task, err = d.Get(testID("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer task.Release()
	wantDisk(t, d, task.(*diskHandle), testSize)
	r, err := task.Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b := make([]byte, testSize)
	if _, err := r.ReadAt(b, 2*testSize); err != nil || !bytes.Equal(b, content) {
		t.Errorf("the held piece: %v, right bytes: %v", err, bytes.Equal(b, content))
	}
}

// wrapped is a response writer as frameworks wrap it: it holds the status back until the first byte.
type wrapped struct {
	http.ResponseWriter
	status int
}

func (w *wrapped) WriteHeader(status int)      { w.status = status }
func (w *wrapped) WriteHeaderNow()             { w.ResponseWriter.WriteHeader(w.status) }
func (w *wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// spy sees what arrives at the response that can use sendfile.
type spy struct {
	http.ResponseWriter
	sources []io.Reader
}

func (s *spy) ReadFrom(r io.Reader) (int64, error) {
	s.sources = append(s.sources, r)
	return s.ResponseWriter.(io.ReaderFrom).ReadFrom(r)
}

// Send has to hand net/http a limited *os.File, whatever is wrapped around the response: that is what becomes sendfile.
func TestSendReachesSendfile(t *testing.T) {
	t.Parallel()
	d := openFaulty(t, t.TempDir(), DiskConfig{}, newFaults())
	task := newTask(t, d, "a", 2*testSize)
	content := bytes.Repeat([]byte("0123456789abcdef"), 2*testSize/16)
	mustPut(t, task, 0, content[:testSize])
	mustPut(t, task, 1, content[testSize:])
	sources := make(chan []io.Reader, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r, err := task.Reader()
		if err != nil {
			t.Error(err)
			return
		}
		defer r.Close()
		s := &spy{ResponseWriter: w}
		outer := &wrapped{ResponseWriter: &wrapped{ResponseWriter: s, status: http.StatusPartialContent}}
		outer.Header().Set("Content-Length", fmt.Sprint(2*testSize-100))
		outer.WriteHeader(http.StatusPartialContent)
		if n, err := r.Send(outer, 50, 2*testSize-100); n != 2*testSize-100 || err != nil {
			t.Errorf("Send = %d, %v", n, err)
		}
		sources <- s.sources
	}))
	defer server.Close()
	res, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusPartialContent || !bytes.Equal(got, content[50:2*testSize-50]) {
		t.Errorf("status %d, %d bytes, %v", res.StatusCode, len(got), err)
	}
	seen := <-sources
	if len(seen) != 1 {
		t.Fatalf("net/http was given %d readers, want 1 for both pieces", len(seen))
	}
	if l, ok := seen[0].(*io.LimitedReader); !ok {
		t.Errorf("net/http was given a %T, want *io.LimitedReader", seen[0])
	} else if _, ok := l.R.(*os.File); !ok {
		t.Errorf("net/http was given a limited %T, want *os.File", l.R)
	}
}
