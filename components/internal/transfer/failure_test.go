package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/upload"
)

// silence makes the seed unreachable for good: it gives no picks and serves no ranges.
func (s *fakeSupernode) silence() {
	s.set(func() { s.budget = 0 })
	s.seed.CloseClientConnections()
	s.seed.Listener.Close()
}

func TestAPullEndsWellWhateverTheSupernodeDoes(t *testing.T) {
	t.Parallel()
	body := content(2, 6<<20)
	for _, tc := range []struct {
		name   string
		before func(*fakeSupernode) // the pull starts
		during func(*fakeSupernode) // after the first bytes have come
	}{
		{"it is absent from the start", func(s *fakeSupernode) { s.gone = true }, nil},
		{"it is frozen from the start", func(s *fakeSupernode) { s.frozen = true }, nil},
		{"it dies under way, seed and all", func(s *fakeSupernode) { s.budget = 20 }, func(s *fakeSupernode) {
			s.silence()
			s.set(func() { s.gone = true })
		}},
		{"it freezes under way, seed and all", func(s *fakeSupernode) { s.budget = 20 }, func(s *fakeSupernode) {
			s.silence()
			s.set(func() { s.frozen = true })
		}},
		{"its seed goes silent while it lives", func(s *fakeSupernode) { s.budget = 20 }, func(s *fakeSupernode) { s.silence() }},
		{"nothing goes wrong", func(*fakeSupernode) {}, func(*fakeSupernode) {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, o := newSupernode(t, body), newOrigin(t, body)
			tc.before(s)
			p := newPeer(t, "peer", s, o)
			h, err := p.Open(t.Context(), spec(s, o))
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if _, err := h.Meta(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := h.Reader(0, -1)
			defer r.Close()
			got := make([]byte, 1000)
			if _, err := io.ReadFull(r, got); err != nil {
				t.Fatal(err)
			}
			if tc.during != nil {
				tc.during(s)
			}
			rest, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(slices.Concat(got, rest), body) {
				t.Error("the bytes are not the content's")
			}
			if err := h.Wait(t.Context()); err != nil {
				t.Errorf("wait: %v", err)
			}
		})
	}
}

func TestARegistrationThatTakesLongIsNoStall(t *testing.T) {
	t.Parallel()
	body := content(8, 3<<20)
	s, o := newSupernode(t, body), newOrigin(t, body)
	s.slow, s.budget = 900*time.Millisecond, 0
	give := time.AfterFunc(s.slow+250*time.Millisecond, func() { s.set(func() { s.budget = -1 }) })
	defer give.Stop()
	p := newPeer(t, "peer", s, o, func(c *Config, _ *Deps) { c.Stall = 500 * time.Millisecond })
	if got, _ := pull(t, p, spec(s, o)); !bytes.Equal(got, body) {
		t.Error("the pull brought other bytes")
	}
	if n := o.count(); n != 0 {
		t.Errorf("the origin was asked %d times, want never: the supernode answered, and its seed has everything", n)
	}
}

func TestAPieceThatTakesLongIsNoStallWhileItsBytesCome(t *testing.T) {
	t.Parallel()
	body := content(9, 16*piece.MinSize)
	s, o := newSupernodeOf(t, body, piece.Layout{Length: int64(len(body)), Size: 8 * piece.MinSize}), newOrigin(t, body)
	p := newPeer(t, "peer", s, o, func(c *Config, _ *Deps) {
		c.Stall = 1500 * time.Millisecond
		c.Limiter = rate.NewLimiter(4*piece.MinSize, piece.MinSize) // a piece takes two seconds
	})
	if got, _ := pull(t, p, spec(s, o)); !bytes.Equal(got, body) {
		t.Error("the pull brought other bytes")
	}
	if n := o.count(); n != 0 {
		t.Errorf("the origin was asked %d times, want never: bytes came all the time", n)
	}
}

func TestPeersGoOnWithoutTheSupernodeFromWhatTheyHold(t *testing.T) {
	t.Parallel()
	body := content(3, 8<<20)
	s := newSupernode(t, body)
	o := newOrigin(t, body)
	first := newPeer(t, "first", s, o)
	if got, _ := pull(t, first, spec(s, o)); !bytes.Equal(got, body) {
		t.Fatal("the first pull brought other bytes")
	}
	second := newPeer(t, "second", s, o)
	s.silence()
	got, st := pull(t, second, spec(s, o))
	if !bytes.Equal(got, body) {
		t.Error("the second pull brought other bytes")
	}
	if st.FromPeers != int64(len(body)) || o.count() != 0 {
		t.Errorf("got %+v and %d requests at the origin, want all from the first peer", st, o.count())
	}
}

func TestAPeerThatSendsWrongBytesIsLeftOutAndReported(t *testing.T) {
	t.Parallel()
	body := content(4, 4<<20)
	s := newSupernode(t, body)
	o := newOrigin(t, body)
	// A peer that claims to hold everything and sends something else.
	bad := bytes.Repeat([]byte{1}, len(body))
	liar := store.NewMemory()
	task, err := liar.Create(s.id, s.meta)
	if err != nil {
		t.Fatal(err)
	}
	defer task.Release()
	for i := range task.Layout().Count() {
		off, n := task.Layout().Range(i)
		put(t, task, i, bad[off:off+n])
	}
	srv := httptest.NewServer(upload.New(upload.Config{}, upload.Deps{Store: liar, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}))
	defer srv.Close()
	defer srv.CloseClientConnections()
	s.peers = []api.Parent{{Peer: "liar", Addrs: []string{strings.TrimPrefix(srv.URL, "http://")}}}
	s.budget = 4
	p := newPeer(t, "peer", s, o, impatient)
	got, _ := pull(t, p, spec(s, o))
	if !bytes.Equal(got, body) {
		t.Error("the pull brought other bytes")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reported := false
	for _, r := range s.reports {
		for _, b := range r.Bad {
			reported = reported || b.Peer == "liar" && b.Reason == api.ReasonDigest
		}
	}
	if !reported {
		t.Error("the liar was not reported")
	}
}

func TestContentThatIsNotItsDigestIsNotKept(t *testing.T) {
	t.Parallel()
	body := content(5, 1<<20)
	s := newSupernode(t, body)
	s.gone = true
	wrong := bytes.Clone(body)
	wrong[77]++
	p := newPeer(t, "peer", s, newOrigin(t, wrong))
	h, err := p.Open(t.Context(), spec(s, newOrigin(t, wrong)))
	if err != nil {
		t.Fatal(err)
	}
	err = h.Wait(t.Context())
	h.Close()
	if !errors.Is(err, ErrDigest) {
		t.Fatalf("got %v, want ErrDigest", err)
	}
	if _, err := p.store.Get(s.id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the store says %v, want that nothing is kept", err)
	}
}

func TestTwoReadersAreOneDownloadAndTheFirstMayLeave(t *testing.T) {
	t.Parallel()
	body := content(6, 8<<20)
	s := newSupernode(t, body)
	o := newOrigin(t, body)
	p := newPeer(t, "peer", s, o)
	first, err := p.Open(t.Context(), spec(s, o))
	if err != nil {
		t.Fatal(err)
	}
	r := first.Reader(0, -1)
	if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	second, err := p.Open(t.Context(), spec(s, o))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	r.Close()
	first.Close()
	r2 := second.Reader(5, int64(len(body))-10)
	defer r2.Close()
	got, err := io.ReadAll(r2)
	if err != nil || !bytes.Equal(got, body[5:len(body)-5]) {
		t.Errorf("the second got %d bytes, %v; want all but 5 at either end", len(got), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.register != 1 {
		t.Errorf("%d registrations, want 1", s.register)
	}
}

func TestReadersOfRangesShareOneDownload(t *testing.T) {
	t.Parallel()
	body := content(7, 8<<20)
	s := newSupernode(t, body)
	o := newOrigin(t, body)
	p := newPeer(t, "peer", s, o)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			h, err := p.Open(context.Background(), spec(s, o))
			if err != nil {
				t.Error(err)
				return
			}
			defer h.Close()
			n := int64(len(body) / 8)
			r := h.Reader(int64(i)*n, n)
			defer r.Close()
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, body[int64(i)*n:int64(i+1)*n]) {
				t.Errorf("range %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.register != 1 {
		t.Errorf("%d registrations, want 1", s.register)
	}
}

func TestTheOriginsRefusalIsPassedOn(t *testing.T) {
	t.Parallel()
	s := newSupernode(t, content(8, 1<<20))
	s.gone = true
	o := newOrigin(t, nil)
	o.server.Config.Handler = http.NotFoundHandler()
	p := newPeer(t, "peer", s, o)
	h, err := p.Open(t.Context(), spec(s, o))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	_, err = h.Meta(t.Context())
	var refused *origin.StatusError
	if !errors.As(err, &refused) || refused.Code != http.StatusNotFound {
		t.Errorf("got %v, want the origin's 404", err)
	}
}

func TestNoOriginMeansNoOrigin(t *testing.T) {
	t.Parallel()
	body := content(9, 1<<20)
	s := newSupernode(t, body)
	s.gone = true
	o := newOrigin(t, body)
	p := newPeer(t, "peer", s, o)
	sp := spec(s, o)
	sp.NoOrigin = true
	h, err := p.Open(t.Context(), sp)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, err = h.Meta(t.Context()); !errors.Is(err, ErrNoOrigin) {
		t.Errorf("got %v, want ErrNoOrigin", err)
	}
	if n := o.count(); n != 0 {
		t.Errorf("the origin was asked %d times, want never", n)
	}
}

func TestContentOfUnknownLengthComesFromTheOrigin(t *testing.T) {
	t.Parallel()
	body := content(10, 3<<20+17)
	o := newOrigin(t, body)
	o.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for b := body; len(b) > 0; {
			n := min(len(b), 100_000)
			_, _ = w.Write(b[:n])
			_ = http.NewResponseController(w).Flush()
			b = b[n:]
		}
	})
	s := newSupernode(t, content(11, 100))
	p := newPeer(t, "peer", s, o)
	got, _ := pull(t, p, Spec{ID: strings.Repeat("e", 64), URL: o.server.URL, Digest: digest.FromBytes(body)})
	if !bytes.Equal(got, body) {
		t.Errorf("got %d bytes that are not the content's %d", len(got), len(body))
	}
}

func TestARestartResumesFromTheKeptPieces(t *testing.T) {
	t.Parallel()
	body := content(12, 8<<20)
	s := newSupernode(t, body)
	o := newOrigin(t, body)
	s.budget = 30
	p := newPeer(t, "peer", s, o)
	h, err := p.Open(t.Context(), spec(s, o))
	if err != nil {
		t.Fatal(err)
	}
	r := h.Reader(0, 29<<16)
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	r.Close()
	h.Close()
	p.Close()
	kept := int64(0)
	if task, err := p.store.Get(s.id); err == nil {
		kept = int64(task.Count()) << 16
		task.Release()
	}
	if kept < 29<<16 {
		t.Fatalf("%d bytes are kept, want at least %d", kept, 29<<16)
	}
	s.set(func() { s.budget = -1 })
	again := newPeer(t, "peer", s, o, func(_ *Config, d *Deps) { d.Store = p.store })
	got, st := pull(t, again, spec(s, o))
	if !bytes.Equal(got, body) {
		t.Error("the resumed pull brought other bytes")
	}
	if st.Total() > int64(len(body))-kept {
		t.Errorf("%d bytes came again, want at most the %d that were missing", st.Total(), int64(len(body))-kept)
	}
}
