package transfer

import (
	"bytes"
	"io"
	"log/slog"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/upload"
)

// proverFunc is an upload.Prover.
type proverFunc func(task string, i int, d piece.Digest) *proof.Proof

func (f proverFunc) Prove(task string, i int, d piece.Digest) *proof.Proof { return f(task, i, d) }

// holder is a parent named "holder" that holds body, whatever the swarm has, and makes its own proofs.
func holder(t *testing.T, s *fakeSupernode, body []byte, prove proverFunc) {
	t.Helper()
	st := store.NewMemory()
	task, err := st.Create(s.id, s.meta)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(task.Release)
	for i := range task.Layout().Count() {
		off, n := task.Layout().Range(i)
		put(t, task, i, body[off:off+n])
	}
	srv := httptest.NewServer(upload.New(upload.Config{}, upload.Deps{Store: st, Prover: prove, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	s.peers = []api.Parent{{Peer: "holder", Addrs: []string{strings.TrimPrefix(srv.URL, "http://")}}}
}

// complained reports whether somebody reported the holder for wrong bytes.
func (s *fakeSupernode) complained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.reports, func(r api.Report) bool {
		return slices.ContainsFunc(r.Bad, func(b api.BadParent) bool { return b.Peer == "holder" && b.Reason == api.ReasonDigest })
	})
}

func (s *fakeSupernode) toldAll() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told
}

func TestWhatAParentProvesDecidesWhetherItIsUsed(t *testing.T) {
	t.Parallel()
	body := content(40, 4<<20)
	other := bytes.Repeat([]byte{1}, len(body))
	stranger := proof.NewSigner()
	for _, tc := range []struct {
		name  string
		holds []byte
		prove func(*fakeSupernode) proverFunc
		bad   bool // left out and reported
		told  int  // streams of all digests
	}{
		{"it passes on what the supernode signed", body, func(s *fakeSupernode) proverFunc { return s.Prove }, false, 0},
		{"it has no proofs", body, func(*fakeSupernode) proverFunc {
			return func(string, int, piece.Digest) *proof.Proof { return nil }
		}, false, 1},
		{"its proofs are of another supernode", body, func(*fakeSupernode) proverFunc {
			return func(task string, i int, d piece.Digest) *proof.Proof {
				p := stranger.Sign(task, i, d)
				return &p
			}
		}, false, 1},
		{"other bytes, without proofs", other, func(*fakeSupernode) proverFunc {
			return func(string, int, piece.Digest) *proof.Proof { return nil }
		}, true, 1},
		{"other bytes, with the true proofs", other, func(s *fakeSupernode) proverFunc {
			return func(task string, i int, _ piece.Digest) *proof.Proof {
				return s.Prove(task, i, piece.Digest(s.pieces[i].SHA256))
			}
		}, true, 0},
		{"other bytes, with the true signatures", other, func(s *fakeSupernode) proverFunc {
			return func(task string, i int, d piece.Digest) *proof.Proof {
				p := s.Prove(task, i, piece.Digest(s.pieces[i].SHA256))
				p.Digest = d
				return p
			}
		}, true, 0},
		{"other bytes, with proofs of another piece", other, func(s *fakeSupernode) proverFunc {
			return func(task string, i int, d piece.Digest) *proof.Proof { return s.Prove(task, i+1, d) }
		}, true, 0},
		{"other bytes, with proofs of another task", other, func(s *fakeSupernode) proverFunc {
			return func(_ string, i int, d piece.Digest) *proof.Proof { return s.Prove(strings.Repeat("f", 64), i, d) }
		}, true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, o := newSupernode(t, body), newOrigin(t, body)
			s.budget = 4
			holder(t, s, tc.holds, tc.prove(s))
			p := newPeer(t, "peer", s, o, impatient)
			got, _ := pull(t, p, spec(s, o))
			if !bytes.Equal(got, body) {
				t.Error("the pull brought other bytes")
			}
			if bad := s.complained(); bad != tc.bad {
				t.Errorf("the parent was reported: %v, want %v", bad, tc.bad)
			}
			// One who is left out for its bytes may be all there was, so that the origin is read, for which all digests are asked for.
			if n := s.toldAll(); n != tc.told && o.count() == 0 {
				t.Errorf("all digests were asked for %d times, want %d", n, tc.told)
			}
			if !tc.bad && o.count() > 0 {
				t.Errorf("the origin was asked %d times, want never", o.count())
			}
		})
	}
}

func TestPeersThatPullAtOnceAreToldNoDigests(t *testing.T) {
	t.Parallel()
	body := content(41, 8<<20)
	s, o := newSupernode(t, body), newOrigin(t, body)
	var wg sync.WaitGroup
	for _, name := range names(5) {
		p := newPeer(t, name, s, o)
		wg.Go(func() {
			if got, _ := pull(t, p, spec(s, o)); !bytes.Equal(got, body) {
				t.Errorf("%s: the pull brought other bytes", name)
			}
		})
	}
	wg.Wait()
	if n := s.toldAll(); n != 0 || o.count() != 0 {
		t.Errorf("all digests were asked for %d times and the origin %d times, want never", n, o.count())
	}
}

func TestPeersOfASupernodeThatSignsNothingAreToldAllDigests(t *testing.T) {
	t.Parallel()
	body := content(42, 4<<20)
	s, o := newSupernode(t, body), newOrigin(t, body)
	s.signer = nil
	for _, name := range names(2) {
		if got, _ := pull(t, newPeer(t, name, s, o), spec(s, o)); !bytes.Equal(got, body) {
			t.Errorf("%s: the pull brought other bytes", name)
		}
	}
	if n := s.toldAll(); n != 0 || o.count() != 0 {
		t.Errorf("a second stream was opened %d times and the origin asked %d times, want never", n, o.count())
	}
}

// keep makes a peer's store hold the first pieces of body.
func keep(t *testing.T, p *testPeer, s *fakeSupernode, body []byte, count int) {
	t.Helper()
	task, err := p.store.Create(s.id, s.meta)
	if err != nil {
		t.Fatal(err)
	}
	defer task.Release()
	for i := range count {
		off, n := task.Layout().Range(i)
		put(t, task, i, body[off:off+n])
	}
}

func TestAPeerThatHoldsPiecesComparesThemWithTheSwarms(t *testing.T) {
	t.Parallel()
	body, old := content(43, 4<<20), content(44, 4<<20)
	s, o := newSupernode(t, body), newOrigin(t, body)
	p := newPeer(t, "peer", s, o)
	keep(t, p, s, old, 3)
	// Without a digest of the whole nothing else would notice.
	sp := Spec{ID: s.id, URL: o.server.URL}
	h, err := p.Open(t.Context(), sp)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := pull(t, p, sp); !bytes.Equal(got, body) {
		t.Error("pieces of older content were kept")
	}
	if n := s.toldAll(); n != 0 {
		t.Errorf("a second stream was opened %d times, want never: the answer to the registration told all digests", n)
	}
}

func TestASupernodeThatIsReplacedDuringAPullTellsTheDigests(t *testing.T) {
	t.Parallel()
	body := content(45, 6<<20)
	s, o := newSupernode(t, body), newOrigin(t, body)
	s.budget = 20
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
	head := make([]byte, 1000)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.gone = true })
	s.set(func() { s.gone, s.signer, s.budget = false, proof.NewSigner(), -1 })
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(slices.Concat(head, rest), body) {
		t.Errorf("%d bytes came, %v; want the content", len(head)+len(rest), err)
	}
	if n := o.count(); n != 0 {
		t.Errorf("the origin was asked %d times, want never", n)
	}
}

func TestAListOfParentsFollowsItsChanges(t *testing.T) {
	t.Parallel()
	parent := func(name, addr string) api.Parent { return api.Parent{Peer: name, Addrs: []string{addr}} }
	list := []api.Parent{parent("a", "1"), parent("b", "2")}
	for name, tc := range map[string]struct {
		update api.Update
		want   []api.Parent
	}{
		"no news":                 {api.Update{}, list},
		"another list":            {api.Update{Parents: []api.Parent{parent("c", "3")}}, []api.Parent{parent("c", "3")}},
		"one more":                {api.Update{More: []api.Parent{parent("c", "3")}}, []api.Parent{parent("a", "1"), parent("b", "2"), parent("c", "3")}},
		"one at another address":  {api.Update{More: []api.Parent{parent("a", "9")}}, []api.Parent{parent("b", "2"), parent("a", "9")}},
		"one less":                {api.Update{Less: []string{"a"}}, []api.Parent{parent("b", "2")}},
		"one less that was never": {api.Update{Less: []string{"x"}}, list},
		"another list and a change": {
			api.Update{Parents: []api.Parent{parent("c", "3"), parent("d", "4")}, Less: []string{"d"}}, []api.Parent{parent("c", "3")},
		},
	} {
		if got := parentsAfter(list, &tc.update); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
	if !reflect.DeepEqual(list, []api.Parent{parent("a", "1"), parent("b", "2")}) {
		t.Errorf("the list before was changed to %v", list)
	}
}

func TestSignedPiecesAreNewsOfALivingSupernode(t *testing.T) {
	t.Parallel()
	d := still(Spec{ID: digest.FromString("x").Encoded()})
	defer d.cancel(nil)
	task, err := d.m.deps.Store.Create(d.spec.ID, api.Meta{Length: 4 * piece.MinSize, PieceSize: piece.MinSize})
	if err != nil {
		t.Fatal(err)
	}
	defer task.Release()
	d.adopt(task)
	long := time.Now().Add(-time.Hour)
	for _, tc := range []struct {
		name, signed string
		waits, news  bool
		err          bool
	}{
		{"nothing", "", true, false, false},
		{"two pieces that are not held", "0-1", false, true, false},
		{"the same again", "0-1", false, true, false},
		{"a piece that there is not", "4", false, false, true},
		{"no ranges", "x", false, false, true},
	} {
		d.told = long
		err := d.learn(&api.Update{Signed: tc.signed})
		if (err != nil) != tc.err || d.waitsForSupernode() != tc.waits || d.told.After(long) != tc.news {
			t.Errorf("%s: %v, waits for the supernode %v, news %v; want %+v", tc.name, err, d.waitsForSupernode(), d.told.After(long), tc)
		}
	}
	for i := range 2 {
		d.plan.Hold(i)
	}
	d.know(bitset.New(4).Set(3)) // a parent announces it
	if !d.waitsForSupernode() {
		t.Error("all that the supernode told is held, and the download does not wait for it")
	}
}
