package transfer

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// electing is a supernode that makes whoever registers the source, and lets no report through but a last one and one of a failure.
type electing struct {
	mu      sync.Mutex // guards the fields below
	reports []api.Report
	first   chan struct{} // closed when a report that is not the last is under way
	once    sync.Once
	failed  chan struct{} // closed when the source told that it failed
	tell    sync.Once
}

func (e *electing) Configured() bool { return true }

func (e *electing) Register(context.Context, string, api.RegisterRequest) (Session, *api.Update, error) {
	return e, &api.Update{Meta: &api.Meta{Length: -1}, Source: true}, nil
}

func (e *electing) Supernode() string { return "electing" }

func (e *electing) Events(ctx context.Context, _ int, _ func(*api.Update)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (e *electing) AllDigests(ctx context.Context, f func(*api.Update)) error {
	return e.Events(ctx, 0, f)
}

func (e *electing) Report(ctx context.Context, r api.Report) error {
	if r.SourceFailed != nil {
		e.tell.Do(func() { close(e.failed) })
		return nil
	}
	if !r.Complete && !r.Left {
		e.once.Do(func() { close(e.first) })
		<-ctx.Done()
		return ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reports = append(e.reports, r)
	return nil
}

// lateEnd serves body, its end only once a report is under way.
func lateEnd(body []byte, first <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)-10])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-first:
		case <-r.Context().Done():
		}
		_, _ = w.Write(body[len(body)-10:])
	})
}

func TestTheLastReportOfASourceTellsAllThatNoEarlierOneBrought(t *testing.T) {
	t.Parallel()
	body := content(31, 2<<20)
	e := &electing{first: make(chan struct{})}
	o := newOrigin(t, body)
	o.server.Config.Handler = lateEnd(body, e.first)
	p := newPeer(t, "peer", e, o)
	d := digest.FromBytes(body)
	h, err := p.Open(t.Context(), Spec{ID: d.Encoded(), URL: o.server.URL, Digest: d})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Close()
	p.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.reports) != 1 {
		t.Fatalf("got %d last reports, want 1", len(e.reports))
	}
	told := map[int]bool{}
	for _, g := range e.reports[0].Pieces {
		told[g.Index] = true
	}
	if want := piece.NewLayout(int64(len(body))).Count(); len(told) != want {
		t.Errorf("the last report tells %d pieces, want all %d", len(told), want)
	}
}

func TestASourceThatGetsNothingSaysSo(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.Handler{
		"the origin refuses":        http.NotFoundHandler(),
		"the origin leads nowhere":  http.RedirectHandler("/", http.StatusFound),
		"the origin's URL is wrong": http.RedirectHandler("ftp://origin.invalid/", http.StatusFound),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &electing{first: make(chan struct{}), failed: make(chan struct{})}
			o := newOrigin(t, nil)
			o.server.Config.Handler = handler
			p := newPeer(t, "peer", e, o)
			d := digest.FromString(name)
			h, err := p.Open(t.Context(), Spec{ID: d.Encoded(), URL: o.server.URL, Digest: d})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			select {
			case <-e.failed:
			case <-time.After(20 * time.Second):
				t.Error("the supernode was not told")
			}
		})
	}
}

func TestContentOfOnePieceIsAwaitedFromTheSupernodeWhileItMaySendIt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	small, large := api.Meta{Length: 1000, PieceSize: piece.MinSize}, api.Meta{Length: 4 * piece.MinSize, PieceSize: piece.MinSize}
	for _, tc := range []struct {
		name    string
		meta    api.Meta
		private bool
		away    bool // no session
		idle    time.Duration
		told    time.Duration // since the digest came, -1 for not at all
		want    bool
	}{
		{"nothing but the length is known", small, false, false, 0, -1, true},
		{"its digest just came", small, false, false, 0, 10 * time.Millisecond, true},
		{"its digest came a while ago", small, false, false, 0, wholeSoon, false},
		{"nothing came for long", small, false, false, wholeWait, -1, false},
		{"it is private", small, true, false, 0, -1, false},
		{"there is no session", small, false, true, 0, -1, false},
		{"it is larger", large, false, false, 0, -1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := still(Spec{ID: digest.FromString(tc.name).Encoded(), Private: tc.private})
			task, err := d.m.deps.Store.Create(d.spec.ID, tc.meta)
			if err != nil {
				t.Fatal(err)
			}
			defer task.Release()
			d.task, d.idle = task, lull{time: tc.idle}
			if !tc.away {
				d.session = &electing{}
			}
			if tc.told >= 0 {
				d.digests.set(map[int]piece.Digest{0: {}})
				d.told = now.Add(-tc.told)
			}
			if got := d.comesWhole(now); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
