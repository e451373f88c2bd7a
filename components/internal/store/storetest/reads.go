package storetest

import (
	"bytes"
	"errors"
	"io"

	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// gap returns the content and an open reader of a task of five pieces, the last short, that holds all but the third.
func (c conformance) gap() ([]byte, store.Reader) {
	c.t.Helper()
	content := Content(4*Size + 100)
	task := Create(c.t, c.store, ID("a"), int64(len(content)))
	for _, i := range []int{0, 1, 3, 4} {
		Put(c.t, task, content, i)
	}
	r, err := task.Reader()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { r.Close() })
	return content, r
}

func testReads(c conformance) {
	t := c.t
	content, r := c.gap()
	for _, row := range []struct {
		name    string
		off     int64
		n, want int
		err     error
	}{
		{"inside a piece", 10, 20, 20, nil},
		{"over the border of two pieces", Size - 1, 2, 2, nil},
		{"into a piece not held", Size, 2 * Size, Size, store.ErrNotHeld},
		{"within a piece not held", 2*Size + 5, 1, 0, store.ErrNotHeld},
		{"to the end", 4 * Size, 100, 100, nil},
		{"over the end", 4*Size + 50, 100, 50, io.EOF},
		{"behind the end", 5 * Size, 1, 0, io.EOF},
		{"far behind the end", 1 << 60, 1, 0, io.EOF},
		{"nothing", 3, 0, 0, nil},
	} {
		p := make([]byte, row.n)
		n, err := r.ReadAt(p, row.off)
		if n != row.want || !errors.Is(err, row.err) {
			t.Errorf("%s: ReadAt = %d, %v; want %d, %v", row.name, n, err, row.want, row.err)
		}
		if n > 0 && !bytes.Equal(p[:n], content[row.off:row.off+int64(n)]) {
			t.Errorf("%s: wrong bytes", row.name)
		}
	}
	if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("ReadAt(-1): no error")
	}
}

func testSend(c conformance) {
	t := c.t
	content, r := c.gap()
	for _, row := range []struct {
		name         string
		off, n, want int64
		err          error
	}{
		{"over the border of two pieces", Size - 7, 20, 20, nil},
		{"into a piece not held", 5, 3 * Size, 2*Size - 5, store.ErrNotHeld},
		{"to the end", 3 * Size, Size + 100, Size + 100, nil},
		{"over the end", 4 * Size, 101, 100, io.ErrUnexpectedEOF},
		{"nothing", 2 * Size, 0, 0, nil},
	} {
		for _, to := range []struct {
			name string
			wrap func(*bytes.Buffer) io.Writer
		}{
			{"a reader from", func(b *bytes.Buffer) io.Writer { return b }},
			{"a plain writer", func(b *bytes.Buffer) io.Writer { return struct{ io.Writer }{b} }},
		} {
			var b bytes.Buffer
			n, err := r.Send(to.wrap(&b), row.off, row.n)
			if n != row.want || !errors.Is(err, row.err) {
				t.Errorf("%s, %s: Send = %d, %v; want %d, %v", row.name, to.name, n, err, row.want, row.err)
			}
			if !bytes.Equal(b.Bytes(), content[row.off:row.off+row.want]) {
				t.Errorf("%s, %s: wrong bytes", row.name, to.name)
			}
		}
	}
	closed := errors.New("closed")
	if n, err := r.Send(failing{closed}, 0, 10); n != 0 || !errors.Is(err, closed) {
		t.Errorf("Send to a closed writer = %d, %v", n, err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
