package store_test

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

func benchDisk(b *testing.B, dir string) *store.Disk {
	b.Helper()
	d, err := store.OpenDisk(dir, store.DiskConfig{Quota: 1 << 40, MinFree: 1 << 20}, discard, nil)
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// BenchmarkCommit writes pieces of content of 200 MiB in chunks of 64 KiB: hashing is most of it.
func BenchmarkCommit(b *testing.B) {
	d := benchDisk(b, b.TempDir())
	lay := piece.NewLayout(200 << 20)
	chunk := make([]byte, 64<<10)
	b.SetBytes(lay.Size)
	b.ReportAllocs()
	var task store.Task
	for i := 0; b.Loop(); i++ {
		if i%lay.Count() == 0 {
			if task != nil {
				task.Release()
			}
			var err error
			if task, err = d.Create(fmt.Sprintf("%064x", i/lay.Count()%8), api.Meta{Length: lay.Length, PieceSize: lay.Size}); err != nil {
				b.Fatal(err)
			}
			for n := range lay.Count() {
				task.Drop(n)
			}
		}
		w, err := task.Writer(i%lay.Count(), nil)
		if err != nil {
			b.Fatal(err)
		}
		for range lay.Size / int64(len(chunk)) {
			if _, err := w.Write(chunk); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	task.Release()
}

// BenchmarkServe answers requests for single pieces as a piece server does, each with its own pin and reader, to a TCP connection.
func BenchmarkServe(b *testing.B) {
	d := benchDisk(b, b.TempDir())
	lay := piece.NewLayout(64 << 20)
	task, err := d.Create(fmt.Sprintf("%064x", 1), api.Meta{Length: lay.Length, PieceSize: lay.Size})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fillTask(task, make([]byte, lay.Length)); err != nil {
		b.Fatal(err)
	}
	task.Release()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	b.SetBytes(lay.Size)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		task, err := d.Get(fmt.Sprintf("%064x", 1))
		if err != nil {
			b.Fatal(err)
		}
		r, err := task.Reader()
		if err != nil {
			b.Fatal(err)
		}
		off, n := lay.Range(i % lay.Count())
		if _, err := r.Send(conn, off, n); err != nil {
			b.Fatal(err)
		}
		r.Close()
		task.Release()
	}
}

// BenchmarkOpen opens a store of 5,000 tasks.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	d := benchDisk(b, dir)
	for i := range 5_000 {
		task, err := d.Create(piece.Sum(fmt.Append(nil, i)).String(), api.Meta{Length: 1, PieceSize: size})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := fillTask(task, []byte{1}); err != nil {
			b.Fatal(err)
		}
		task.Release()
	}
	for b.Loop() {
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
		d = benchDisk(b, filepath.Clean(dir))
	}
	if _, n := d.Usage(); n != 5_000 {
		b.Fatalf("%d tasks", n)
	}
}
