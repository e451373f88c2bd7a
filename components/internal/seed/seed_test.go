package seed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bits-and-blooms/bitset"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const size = piece.MinSize

func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1, byte(n)}).Read(b)
	return b
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// fakeOrigin gives content in parts whose ends it is told, backwards, so that no order is taken for granted.
type fakeOrigin struct {
	content []byte
	unknown bool // it tells no length
	header  http.Header
	parts   int64 // bytes in a part; 0 for one part a range
	cut     int64 // fails at this offset, if above zero
	err     error // instead of content

	mu    sync.Mutex // guards asked
	asked [][]Range
}

func (o *fakeOrigin) Fetch(_ context.Context, _ Request, need []Range, sink Sink) error {
	o.mu.Lock()
	o.asked = append(o.asked, slices.Clone(need))
	o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	if need == nil {
		need = []Range{{0, int64(len(o.content))}}
	}
	info := Info{Length: int64(len(o.content)), Header: o.header}
	if o.unknown {
		info.Length = -1
	}
	if err := sink.Start(info); err != nil {
		return err
	}
	var parts []Range
	for _, r := range need {
		step := r.Len
		if o.parts > 0 {
			step = o.parts
		}
		for off := r.Off; off < r.Off+r.Len; off += step {
			parts = append(parts, Range{off, min(step, r.Off+r.Len-off)})
		}
	}
	if o.unknown && len(parts) == 0 {
		parts = []Range{{0, 0}} // the end comes behind a part, be it empty
	}
	slices.Reverse(parts)
	for _, r := range parts {
		if err := o.part(r, sink); err != nil {
			return err
		}
	}
	return nil
}

func (o *fakeOrigin) Probe(_ context.Context, _ Request, etag, modified string) (Info, bool, error) {
	switch {
	case o.err != nil:
		return Info{}, false, o.err
	case etag != "" && etag == o.header.Get("Etag"), etag == "" && modified == o.header.Get("Last-Modified"):
		return Info{}, true, nil
	}
	return Info{Length: int64(len(o.content)), Header: o.header}, false, nil
}

var errCut = errors.New("connection lost")

func (o *fakeOrigin) part(r Range, sink Sink) error {
	w, err := sink.Part(r.Off)
	if err != nil {
		return err
	}
	end, broken := r.Off+r.Len, error(nil)
	if o.cut > 0 && end > o.cut {
		end, broken = max(r.Off, o.cut), errCut
	}
	for off := r.Off; off < end; off += 10_000 { // does not divide a piece
		if _, err := w.Write(o.content[off:min(end, off+10_000)]); err != nil {
			return errors.Join(err, w.CloseWithError(err))
		}
	}
	return errors.Join(broken, w.CloseWithError(broken))
}

// record is a Progress that remembers.
type record struct {
	mu     sync.Mutex // guards the fields below
	metas  []api.Meta
	pieces map[int]piece.Digest
}

func (r *record) Meta(m api.Meta) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metas = append(r.metas, m)
}

func (r *record) Gained(p api.Piece) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pieces == nil {
		r.pieces = map[int]piece.Digest{}
	}
	r.pieces[p.Index] = piece.Digest(p.SHA256)
}

func newSeed(o Origin) (*Seed, store.Store) {
	st := store.NewMemory()
	return New(Deps{Store: st, Origin: o, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}), st
}

func TestFetchBringsTheWholeAndTellsEachPiece(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		bytes  int
		origin *fakeOrigin
		digest bool
	}{
		{name: "several pieces in one part", bytes: 5*size + 1, digest: true},
		{name: "several parts, backwards", bytes: 9*size + 77, origin: &fakeOrigin{parts: 2 * size}, digest: true},
		{name: "parts that end inside pieces", bytes: 9*size + 77, origin: &fakeOrigin{parts: 2*size - 5}, digest: true},
		{name: "one byte", bytes: 1, digest: true},
		{name: "exactly one piece", bytes: size, digest: true},
		{name: "nothing at all", bytes: 0, digest: true},
		{name: "no digest to prove", bytes: 3 * size},
		{name: "no length, a short last piece", bytes: piece.UnknownSize*2 + 5, origin: &fakeOrigin{unknown: true}, digest: true},
		{name: "no length, full pieces only", bytes: piece.UnknownSize * 2, origin: &fakeOrigin{unknown: true}, digest: true},
		{name: "no length and no digest", bytes: 10, origin: &fakeOrigin{unknown: true}},
		{name: "no length and nothing in it", bytes: 0, origin: &fakeOrigin{unknown: true}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want := content(tc.bytes)
			o := tc.origin
			if o == nil {
				o = &fakeOrigin{}
			}
			o.content = want
			s, st := newSeed(o)
			job := Job{Task: sha(want)}
			if tc.digest {
				job.Digest = "sha256:" + sha(want)
			}
			var told record
			if err := s.Fetch(t.Context(), job, &told); err != nil {
				t.Fatalf("Fetch: %v", err)
			}
			defer s.Close(job.Task)
			checkWhole(t, st, job.Task, want, &told)
		})
	}
}

func checkWhole(t *testing.T, st store.Store, id string, want []byte, told *record) {
	t.Helper()
	task, err := st.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	defer task.Release()
	if !task.IsComplete() {
		t.Error("the task is not complete")
	}
	if got := task.Layout().Length; got != int64(len(want)) {
		t.Fatalf("the length is %d, want %d", got, len(want))
	}
	rd, err := task.Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	got, err := io.ReadAll(io.NewSectionReader(rd, 0, int64(len(want))))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the store has other bytes than the origin (%v)", err)
	}
	if last := told.metas[len(told.metas)-1]; last.Length != int64(len(want)) || !last.Public {
		t.Errorf("told %+v last, want length %d, public", last, len(want))
	}
	if len(told.pieces) != task.Layout().Count() {
		t.Errorf("told %d pieces, want %d", len(told.pieces), task.Layout().Count())
	}
	for i, d := range told.pieces {
		off, n := task.Layout().Range(i)
		if piece.Sum(want[off:off+n]) != d {
			t.Errorf("piece %d was told with a wrong digest", i)
		}
	}
}

func TestWrongContentIsNotKept(t *testing.T) {
	t.Parallel()
	want := content(4 * size)
	for name, job := range map[string]Job{
		"the whole has another digest": {Digest: "sha256:" + sha(content(5))},
		"a piece has another digest than peers told": {
			Digest: "sha256:" + sha(want), Meta: &api.Meta{Length: 4 * size, PieceSize: size}, Known: map[int]piece.Digest{2: piece.Sum([]byte("x"))},
		},
		"the length is another than peers told": {Digest: "sha256:" + sha(want), Meta: &api.Meta{Length: 5 * size, PieceSize: size}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, st := newSeed(&fakeOrigin{content: want})
			job.Task = sha(want)
			if err := s.Fetch(t.Context(), job, &record{}); !errors.Is(err, ErrInvalid) {
				t.Fatalf("Fetch: %v, want ErrInvalid", err)
			}
			if _, err := st.Get(job.Task); !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("the store still has the task: %v", err)
			}
		})
	}
}

func TestWhatPeersHoldIsNotFetched(t *testing.T) {
	t.Parallel()
	want := content(6 * size)
	o := &fakeOrigin{content: want}
	s, st := newSeed(o)
	skip := bitset.New(6).Set(0).Set(3)
	known := map[int]piece.Digest{0: piece.Sum(want[:size]), 3: piece.Sum(want[3*size : 4*size])}
	job := Job{Task: sha(want), Digest: "sha256:" + sha(want), Meta: &api.Meta{Length: 6 * size, PieceSize: size}, Known: known, Skip: skip}
	var told record
	if err := s.Fetch(t.Context(), job, &told); err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	if got, expected := o.asked, [][]Range{{{size, 2 * size}, {4 * size, 2 * size}}}; len(got) != 1 || !slices.Equal(got[0], expected[0]) {
		t.Errorf("asked the origin for %v, want %v", got, expected)
	}
	if len(told.pieces) != 4 {
		t.Errorf("told %d pieces, want 4", len(told.pieces))
	}
	task, err := st.Get(job.Task)
	if err != nil {
		t.Fatal(err)
	}
	if task.IsComplete() || task.Has(0) {
		t.Error("the task counts as complete though pieces were left out")
	}
	task.Release()

	job.Skip = nil
	if err := s.Fetch(t.Context(), job, &told); err != nil {
		t.Fatalf("second Fetch: %v", err)
	}
	if got, expected := o.asked[1], []Range{{0, size}, {3 * size, size}}; !slices.Equal(got, expected) {
		t.Errorf("asked the origin for %v, want %v", got, expected)
	}
	checkWhole(t, st, job.Task, want, &told)
	s.Close(job.Task)
}

func TestABrokenFetchIsResumedWithWhatIsMissing(t *testing.T) {
	t.Parallel()
	want := content(6 * size)
	o := &fakeOrigin{content: want, cut: 4*size + 100}
	s, st := newSeed(o)
	job := Job{Task: sha(want), Digest: "sha256:" + sha(want)}
	var told record
	if err := s.Fetch(t.Context(), job, &told); !errors.Is(err, errCut) {
		t.Fatalf("Fetch: %v, want the origin's error", err)
	}
	if len(told.pieces) != 4 {
		t.Errorf("told %d pieces before the connection broke, want 4", len(told.pieces))
	}
	s.Close(job.Task)
	if h := s.Open(job.Task); len(h.Pieces) != 4 || h.Complete || h.Meta.Length != 6*size {
		t.Errorf("Open tells %d pieces, complete %v, length %d; want 4, false, %d", len(h.Pieces), h.Complete, h.Meta.Length, 6*size)
	}
	o.cut = 0
	if err := s.Fetch(t.Context(), job, &told); err != nil {
		t.Fatalf("second Fetch: %v", err)
	}
	if got, expected := o.asked[1], []Range{{4 * size, 2 * size}}; !slices.Equal(got, expected) {
		t.Errorf("asked the origin for %v, want %v", got, expected)
	}
	checkWhole(t, st, job.Task, want, &told)
	s.Close(job.Task)
}

func TestContentThatChangedBetweenTwoFetchesIsInvalid(t *testing.T) {
	t.Parallel()
	o := &fakeOrigin{content: content(6 * size), cut: 3 * size, header: http.Header{"Etag": {`"one"`}}}
	s, st := newSeed(o)
	job := Job{Task: strings.Repeat("ab", 32)}
	if err := s.Fetch(t.Context(), job, &record{}); !errors.Is(err, errCut) {
		t.Fatalf("Fetch: %v, want the origin's error", err)
	}
	o.cut, o.header = 0, http.Header{"Etag": {`"two"`}}
	if err := s.Fetch(t.Context(), job, &record{}); !errors.Is(err, ErrInvalid) {
		t.Fatalf("second Fetch: %v, want ErrInvalid", err)
	}
	if _, err := st.Get(job.Task); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("the store still has the task: %v", err)
	}
}

func TestTheOriginsRefusalComesBackAsItIs(t *testing.T) {
	t.Parallel()
	s, st := newSeed(&fakeOrigin{err: &Refused{Status: 403}})
	err := s.Fetch(t.Context(), Job{Task: sha(nil), Request: Request{Header: http.Header{"Authorization": {"Bearer secret"}}}}, &record{})
	refused, ok := errors.AsType[*Refused](err)
	if !ok || refused.Status != 403 {
		t.Fatalf("Fetch: %v, want the refusal 403", err)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the credentials: %v", err)
	}
	if _, n := st.Usage(); n != 0 {
		t.Errorf("the store has %d tasks, want none", n)
	}
}

func TestOnlyContentFetchedWithoutCredentialsIsPublic(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"Accept": true, "user-agent": true, "Authorization": false, "Cookie": false, "X-Api-Key": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &fakeOrigin{content: content(3), header: http.Header{"Content-Type": {"text/plain"}, "X-Other": {"no"}}}
			s, _ := newSeed(o)
			var told record
			id := sha(o.content)
			if err := s.Fetch(t.Context(), Job{Task: id, Request: Request{Header: http.Header{name: {"x"}}}}, &told); err != nil {
				t.Fatal(err)
			}
			defer s.Close(id)
			m := told.metas[0]
			if m.Public != want {
				t.Errorf("public is %v with a header %s, want %v", m.Public, name, want)
			}
			if len(m.Header) != 1 || m.Header["Content-Type"] != "text/plain" {
				t.Errorf("told the headers %v, want the content type only", m.Header)
			}
		})
	}
}

func TestContentIsGivenOnlyWhenItIsCompleteAndSmall(t *testing.T) {
	t.Parallel()
	want := content(100)
	s, _ := newSeed(&fakeOrigin{content: want})
	id := sha(want)
	if b, err := s.Content(id, 1000); err == nil {
		t.Errorf("content of an unknown task: %d bytes and no error", len(b))
	}
	if err := s.Fetch(t.Context(), Job{Task: id}, &record{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close(id)
	if b, err := s.Content(id, 100); err != nil || !bytes.Equal(b, want) {
		t.Errorf("content of 100 bytes with limit 100: %d bytes, %v", len(b), err)
	}
	if b, err := s.Content(id, 99); err != nil || b != nil {
		t.Errorf("content of 100 bytes with limit 99: %d bytes, %v, want none", len(b), err)
	}
}

func TestAFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := newSeed(blockingOrigin{cancel})
	err := s.Fetch(ctx, Job{Task: sha(nil), Digest: "sha256:" + sha(nil)}, &record{})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Fetch: %v, want context.Canceled", err)
	}
	s.Close(sha(nil))
}

// blockingOrigin cancels the fetch when it has begun, and waits for that.
type blockingOrigin struct{ cancel func() }

func (blockingOrigin) Probe(context.Context, Request, string, string) (Info, bool, error) {
	return Info{}, false, errCut
}

func (o blockingOrigin) Fetch(ctx context.Context, _ Request, _ []Range, sink Sink) error {
	if err := sink.Start(Info{Length: 10}); err != nil {
		return err
	}
	o.cancel()
	<-ctx.Done()
	return ctx.Err()
}

func TestAnUnknownDigestAlgorithmIsAnError(t *testing.T) {
	t.Parallel()
	o := &fakeOrigin{content: content(10)}
	s, _ := newSeed(o)
	for _, d := range []string{"md5:0123", "sha256:xyz", "nonsense"} {
		if err := s.Fetch(t.Context(), Job{Task: sha(nil), Digest: d}, &record{}); err == nil {
			t.Errorf("digest %q: no error", d)
		}
	}
	if len(o.asked) > 0 {
		t.Errorf("the origin was asked %d times", len(o.asked))
	}
}

func TestCheckTellsWhetherContentIsStillTheSame(t *testing.T) {
	t.Parallel()
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	for _, tc := range []struct {
		name   string
		meta   api.Meta
		origin *fakeOrigin
		want   error
	}{
		{"the ETag is the same", api.Meta{Length: 3, Header: map[string]string{"Etag": "a"}}, &fakeOrigin{header: header("Etag", "a")}, nil},
		{"the ETag is another", api.Meta{Length: 3, Header: map[string]string{"Etag": "a"}}, &fakeOrigin{header: header("Etag", "b")}, ErrInvalid},
		{"the ETag is gone", api.Meta{Length: 3, Header: map[string]string{"Etag": "a"}}, &fakeOrigin{}, ErrInvalid},
		{"the date is the same", api.Meta{Length: 3, Header: map[string]string{"Last-Modified": "x"}}, &fakeOrigin{header: header("Last-Modified", "x")}, nil},
		{"the date is another", api.Meta{Length: 3, Header: map[string]string{"Last-Modified": "x"}}, &fakeOrigin{header: header("Last-Modified", "y")}, ErrInvalid},
		{"the length is another", api.Meta{Length: 4, Header: map[string]string{"Etag": "a"}}, &fakeOrigin{header: header("Etag", "b")}, ErrInvalid},
		{"nothing to compare", api.Meta{Length: 3}, &fakeOrigin{}, ErrInvalid},
		{"the origin is gone", api.Meta{Length: 3, Header: map[string]string{"Etag": "a"}}, &fakeOrigin{err: errCut}, errCut},
	} {
		tc.origin.content = content(3)
		s, _ := newSeed(tc.origin)
		if err := s.Check(t.Context(), Request{}, tc.meta); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

// TestAnyCutsGiveTheContent breaks fetches at random places, in parts of random lengths, until the whole is there.
func TestAnyCutsGiveTheContent(t *testing.T) {
	t.Parallel()
	for run := range uint64(30) {
		rng := rand.New(rand.NewPCG(run, 9))
		want := content(rng.IntN(12*size) + 1)
		o := &fakeOrigin{content: want}
		s, st := newSeed(o)
		job := Job{Task: sha(want), Digest: "sha256:" + sha(want)}
		var told record
		for try := 0; ; try++ {
			o.parts, o.cut = (1+rng.Int64N(3))*size, rng.Int64N(int64(len(want))) // origins end their parts where pieces end
			if try > 20 {
				o.cut = 0
			}
			err := s.Fetch(t.Context(), job, &told)
			s.Close(job.Task)
			if err == nil {
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatalf("run %d, try %d: %v, want the origin's error only", run, try, err)
			}
		}
		checkWhole(t, st, job.Task, want, &told)
	}
}
