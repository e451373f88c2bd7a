package transfer

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

func openDisk(t *testing.T, dir string) *store.Disk {
	t.Helper()
	d, err := store.OpenDisk(dir, store.DiskConfig{}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// damaged returns a store that holds the whole of s's content, some pieces of it wrong on disk, as after the machine lost power.
func damaged(t *testing.T, s *fakeSupernode, complete bool, pieces ...int) *store.Disk {
	t.Helper()
	dir := t.TempDir()
	d := openDisk(t, dir)
	task, err := d.Create(s.id, s.meta)
	if err != nil {
		t.Fatal(err)
	}
	l := task.Layout()
	for i := range l.Count() {
		off, n := l.Range(i)
		put(t, task, i, s.body[off:off+n])
	}
	if complete {
		if err := task.Complete(); err != nil {
			t.Fatal(err)
		}
	}
	task.Release()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "clean")); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "tasks", s.id[:3], s.id, "data")
	b, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range pieces {
		b[int64(i)*l.Size+5]++
	}
	if err := os.Chmod(data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(data, b, 0o600); err != nil {
		t.Fatal(err)
	}
	d = openDisk(t, dir)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestPiecesThatAreCorruptOnDiskComeAnewWithinThePull(t *testing.T) {
	t.Parallel()
	body := content(30, 3<<20)
	for _, tc := range []struct {
		name     string
		complete bool
		gone     bool
	}{
		{"all was held and known to be the whole", true, false},
		{"all was held, but the whole not verified yet", false, false},
		{"all was held and known to be the whole, and no supernode is there", true, true},
		{"all was held but not verified, and no supernode is there", false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSupernode(t, body)
			o := newOrigin(t, body)
			s.gone = tc.gone
			kept := damaged(t, s, tc.complete, 0, 7, 8, 30)
			p := newPeer(t, "peer", s, o, func(_ *Config, d *Deps) { d.Store = kept })
			h, err := p.Open(t.Context(), spec(s, o))
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			r := h.Reader(100, -1)
			defer r.Close()
			var got bytes.Buffer
			if _, err := r.(io.WriterTo).WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), body[100:]) {
				t.Errorf("streamed %d bytes, %v; want all but the first 100", got.Len(), err)
			}
			again := h.Reader(0, -1)
			defer again.Close()
			if b, err := io.ReadAll(again); err != nil || !bytes.Equal(b, body) {
				t.Errorf("read %d bytes, %v; want all", len(b), err)
			}
			if got := p.Totals().Total(); got > 8<<16 {
				t.Errorf("%d bytes came anew for 4 pieces of 64 KiB", got)
			}
		})
	}
}

func TestPiecesThatArePassedOverAreVerifiedToo(t *testing.T) {
	t.Parallel()
	body := content(31, 3<<20)
	for name, complete := range map[string]bool{"all was held and known to be the whole": true, "all was held, but the whole not verified yet": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSupernode(t, body)
			o := newOrigin(t, body)
			kept := damaged(t, s, complete, 0, 7, 30)
			p := newPeer(t, "peer", s, o, func(_ *Config, d *Deps) { d.Store = kept })
			h, err := p.Open(t.Context(), spec(s, o))
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			r := h.Reader(0, -1).(Reader)
			defer r.Close()
			passed := int64(0)
			for err == nil {
				var n int64
				n, err = r.Skip()
				passed += n
			}
			if !errors.Is(err, io.EOF) || passed != int64(len(body)) {
				t.Fatalf("passed over %d bytes, then %v; want %d and the end", passed, err, len(body))
			}
			task, err := kept.Get(s.id)
			if err != nil {
				t.Fatal(err)
			}
			defer task.Release()
			rd, err := task.Reader()
			if err != nil {
				t.Fatal(err)
			}
			defer rd.Close()
			got := make([]byte, len(body)) // as they lie there: nothing is suspect any more
			if _, err := rd.ReadAt(got, 0); err != nil || !bytes.Equal(got, body) {
				t.Errorf("the store has other bytes than the content, or none: %v", err)
			}
			if got := p.Totals().Total(); got > 6<<16 {
				t.Errorf("%d bytes came anew for 3 pieces of 64 KiB", got)
			}
		})
	}
}
