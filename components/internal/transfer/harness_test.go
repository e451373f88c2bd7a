package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/scheduler"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/upload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// content returns n bytes that depend on seed only.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(b)
	return b
}

// fakeSupernode is a control plane in memory with a real piece server that holds all content: every peer of a task is every
// other's parent.
type fakeSupernode struct {
	t     *testing.T
	body  []byte
	id    string
	meta  api.Meta
	seed  *httptest.Server
	store store.Store

	mu       sync.Mutex // guards the fields below
	fresh    scheduler.Fresh
	pieces   []api.Piece
	peers    []api.Parent
	changed  chan struct{} // closed and replaced when peers or gone change
	gone     bool          // answers nothing any more
	frozen   bool          // takes calls and never answers
	slow     time.Duration // what a registration takes
	budget   int           // pieces the seed still gives by picks, -1 for all
	reports  []api.Report
	register int
	signer   *proof.Signer // nil tells all digests
	told     int           // streams that told all digests though there is a signer
}

// Prove implements upload.Prover.
func (s *fakeSupernode) Prove(task string, i int, d piece.Digest) *proof.Proof {
	s.mu.Lock()
	signer := s.signer
	s.mu.Unlock()
	if signer == nil {
		return nil
	}
	p := signer.Sign(task, i, d)
	return &p
}

func newSupernode(t *testing.T, body []byte) *fakeSupernode {
	t.Helper()
	return newSupernodeOf(t, body, piece.NewLayout(int64(len(body))))
}

// newSupernodeOf has content in pieces of l.
func newSupernodeOf(t *testing.T, body []byte, l piece.Layout) *fakeSupernode {
	t.Helper()
	s := &fakeSupernode{t: t, budget: -1, body: body, id: digest.FromBytes(body).Encoded(), store: store.NewMemory(), changed: make(chan struct{}), signer: proof.NewSigner()}
	s.meta = api.Meta{Length: l.Length, PieceSize: l.Size, Header: map[string]string{"Content-Type": "application/test"}, Public: true}
	task, err := s.store.Create(s.id, s.meta)
	if err != nil {
		t.Fatal(err)
	}
	defer task.Release()
	for i := range l.Count() {
		off, n := l.Range(i)
		d := put(t, task, i, body[off:off+n])
		s.pieces = append(s.pieces, api.Piece{Index: i, SHA256: d[:]})
		s.fresh.Ready(i)
	}
	if err := task.Complete(); err != nil {
		t.Fatal(err)
	}
	up := upload.New(upload.Config{PickWait: 200 * time.Millisecond}, upload.Deps{Store: s.store, Picker: s, Prover: s, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	s.seed = httptest.NewServer(up)
	t.Cleanup(s.seed.Close)
	return s
}

func put(t *testing.T, task store.Task, i int, b []byte) piece.Digest {
	t.Helper()
	w, err := task.Writer(i, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	d, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Pick implements upload.Picker.
func (s *fakeSupernode) Pick(ctx context.Context, _ string, limit int64) (off, n int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.budget == 0 {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return 0, 0, ctx.Err()
	}
	if s.budget > 0 {
		s.budget--
		limit = 1
	}
	l := piece.Layout{Length: s.meta.Length, Size: s.meta.PieceSize}
	first, count, ok := s.fresh.Take(l, limit)
	if !ok {
		return 0, 0, upload.ErrNothingFresh
	}
	off, _ = l.Range(first)
	last, ln := l.Range(first + count - 1)
	return off, last + ln - off, nil
}

// Return implements upload.Picker.
func (s *fakeSupernode) Return(string, int64, int64) {}

// set changes the supernode's state and wakes its streams.
func (s *fakeSupernode) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *fakeSupernode) Configured() bool { return true }

var errGone = errors.New("no supernode")

func (s *fakeSupernode) Register(ctx context.Context, task string, req api.RegisterRequest) (Session, *api.Update, error) {
	s.mu.Lock()
	s.register++
	gone, frozen, slow := s.gone, s.frozen, s.slow
	s.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if frozen {
		ctx, cancel := context.WithTimeout(ctx, 900*time.Millisecond)
		defer cancel()
		<-ctx.Done()
		return nil, nil, errGone
	}
	if gone || task != s.id {
		return nil, nil, errGone
	}
	s.set(func() {
		for _, p := range s.peers {
			if p.Peer == req.Peer {
				return
			}
		}
		s.peers = append(s.peers, api.Parent{Peer: req.Peer, Addrs: req.Host.Addrs})
	})
	u := s.update()
	u.Meta = &s.meta
	if !req.Proofs || u.Key == nil {
		u.Pieces, u.Seq, u.Complete, u.Key = s.pieces, len(s.pieces), true, nil
	}
	return &fakeSession{s, u.Key != nil}, u, nil
}

func (s *fakeSupernode) update() *api.Update {
	s.mu.Lock()
	defer s.mu.Unlock()
	seed := api.Parent{Peer: "seed", Addrs: []string{strings.TrimPrefix(s.seed.URL, "http://")}, Seed: true}
	u := &api.Update{Parents: append(slices.Clone(s.peers), seed)}
	if s.signer != nil {
		u.Key = s.signer.Key()
	}
	return u
}

type fakeSession struct {
	s      *fakeSupernode
	proofs bool // the peer gets proofs in place of digests
}

func (f *fakeSession) AllDigests(ctx context.Context, hear func(*api.Update)) error {
	f.s.set(func() { f.s.told++ })
	return f.follow(ctx, &api.Update{Meta: &f.s.meta, Pieces: f.s.pieces, Seq: len(f.s.pieces), Complete: true}, hear)
}

func (f *fakeSession) Events(ctx context.Context, _ int, hear func(*api.Update)) error {
	first := &api.Update{}
	if f.proofs {
		first.Signed = fmt.Sprintf("0-%d", len(f.s.pieces)-1)
	}
	return f.follow(ctx, first, hear)
}

func (f *fakeSession) follow(ctx context.Context, first *api.Update, hear func(*api.Update)) error {
	hear(first)
	for {
		f.s.mu.Lock()
		gone, frozen, changed := f.s.gone, f.s.frozen, f.s.changed
		f.s.mu.Unlock()
		if gone {
			return errGone
		}
		if frozen {
			t := time.NewTimer(1500 * time.Millisecond)
			defer t.Stop()
			select {
			case <-t.C:
				return errGone
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		u := f.s.update()
		if !f.proofs {
			u.Key = nil
		}
		hear(u)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fakeSession) Report(_ context.Context, r api.Report) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.reports = append(f.s.reports, r)
	return nil
}

func (f *fakeSession) Supernode() string { return "fake" }

// testPeer is a peer with a real piece server.
type testPeer struct {
	*Manager
	store  store.Store
	server *httptest.Server
}

type peerOption func(*Config, *Deps)

// impatient trusts a living supernode for a short time only: a test's may have pieces that it never gives.
func impatient(cfg *Config, _ *Deps) { cfg.Patience = 3 * time.Second }

func newPeer(t *testing.T, name string, s Supernodes, o Origin, opts ...peerOption) *testPeer {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("peer", name)
	}
	reg := prometheus.NewRegistry()
	p := &testPeer{store: store.NewMemory()}
	up := upload.New(upload.Config{}, upload.Deps{Store: p.store, Log: log, Registerer: reg})
	p.server = httptest.NewServer(up)
	cfg := Config{Host: api.Host{ID: name, Addrs: []string{strings.TrimPrefix(p.server.URL, "http://")}}, Seed: 1}
	deps := Deps{Store: p.store, Supernodes: s, Origin: o, Log: log, Registerer: reg}
	for _, opt := range opts {
		opt(&cfg, &deps)
	}
	p.Manager = New(cfg, deps)
	t.Cleanup(func() {
		p.server.CloseClientConnections()
		p.Close()
		p.server.Close()
	})
	return p
}

// httpOrigin is a real origin server with the real client, which counts.
type httpOrigin struct {
	*origin.Client
	server *httptest.Server
	mu     sync.Mutex // guards gets
	gets   int
}

func newOrigin(t *testing.T, body []byte) *httpOrigin {
	t.Helper()
	o := &httpOrigin{}
	o.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.gets++
		o.mu.Unlock()
		w.Header().Set("Content-Type", "application/test")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(body)))
	}))
	var err error
	if o.Client, err = origin.New(origin.Config{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.Client.Close()
		o.server.Close()
	})
	return o
}

func (o *httpOrigin) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gets
}

func spec(s *fakeSupernode, o *httpOrigin) Spec {
	sp := Spec{ID: s.id, Digest: digest.FromBytes(s.body)}
	if o != nil {
		sp.URL = o.server.URL
	}
	return sp
}

func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("peer-%02d", i))
	}
	return all
}

// still is a download whose loop does not run: a test calls what the loop would.
func still(spec Spec) *download {
	return newDownload(New(Config{}, Deps{Store: store.NewMemory(), Origin: noOrigin{}, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}), spec)
}
