package swarm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// task under test: eight pieces.
const (
	pieceCount = 8
	taskLength = pieceCount * piece.MinSize
)

var taskID = idOf("the task")

func idOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func taskMeta() api.Meta { return api.Meta{Length: taskLength, PieceSize: piece.MinSize, Public: true} }

// digestOf piece i of the true content.
func digestOf(i int) api.Piece {
	sum := sha256.Sum256(fmt.Appendf(nil, "piece %d", i))
	return api.Piece{Index: i, SHA256: sum[:]}
}

func pieces(indices ...int) []api.Piece {
	var list []api.Piece
	for _, i := range indices {
		list = append(list, digestOf(i))
	}
	return list
}

func allPieces() []api.Piece { return pieces(0, 1, 2, 3, 4, 5, 6, 7) }

// fakeSeed does as it is told, one script a fetch.
type fakeSeed struct {
	mu      sync.Mutex // guards the fields below
	holding map[string]seed.Holding
	content []byte
	jobs    []seed.Job
	opened  int
	closed  int
	fetch   func(ctx context.Context, n int, job seed.Job, p seed.Progress) error
	check   func() error
	checks  int
}

func (f *fakeSeed) Open(id string) seed.Holding {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	return f.holding[id]
}

func (f *fakeSeed) Close(string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
}

func (f *fakeSeed) Check(context.Context, seed.Request, api.Meta) error {
	f.mu.Lock()
	f.checks++
	f.mu.Unlock()
	return f.check()
}

func (f *fakeSeed) Discard(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.holding, id)
}

func (f *fakeSeed) Content(string, int64) ([]byte, error) { return f.content, nil }

func (f *fakeSeed) Fetch(ctx context.Context, job seed.Job, p seed.Progress) error {
	f.mu.Lock()
	f.jobs = append(f.jobs, job)
	n := len(f.jobs)
	f.mu.Unlock()
	return f.fetch(ctx, n, job, p)
}

func (f *fakeSeed) fetches() []seed.Job {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.jobs)
}

// bring fetches what the job asks for, without delay.
func bring(_ context.Context, _ int, job seed.Job, p seed.Progress) error {
	p.Meta(taskMeta())
	for i := range pieceCount {
		if job.Skip == nil || !job.Skip.Test(uint(i)) {
			p.Gained(digestOf(i))
		}
	}
	return nil
}

var errDown = errors.New("no route to host")

// down is an origin that the seed can't reach.
func down(context.Context, int, seed.Job, seed.Progress) error { return errDown }

type fakeManifests struct {
	mu     sync.Mutex // guards asked
	asked  []string
	answer func(ctx context.Context, host api.Host) (api.TaskManifest, error)
}

func (f *fakeManifests) Manifest(ctx context.Context, host api.Host, _, _ string) (api.TaskManifest, error) {
	f.mu.Lock()
	f.asked = append(f.asked, host.ID)
	f.mu.Unlock()
	if f.answer == nil {
		return api.TaskManifest{}, errors.New("nothing here")
	}
	return f.answer(ctx, host)
}

type fakeKeys struct{}

func (fakeKeys) Ticket(task string, life time.Duration) (string, time.Time) {
	expires := time.Now().Add(life)
	return fmt.Sprintf("ticket %.4s %d", task, expires.Unix()), expires
}

// world is a swarm with fakes around it.
type world struct {
	*Swarm
	t         *testing.T
	seed      *fakeSeed
	manifests *fakeManifests
}

func newWorld(t *testing.T, fetch func(context.Context, int, seed.Job, seed.Progress) error) *world {
	t.Helper()
	return newWorldWith(t, Config{}, &fakeSeed{fetch: fetch})
}

func newWorldWith(t *testing.T, cfg Config, fs *fakeSeed) *world {
	t.Helper()
	w := &world{t: t, seed: fs, manifests: &fakeManifests{}}
	w.Swarm = New(cfg, Deps{
		Seed: fs, Manifests: w.manifests, Keys: fakeKeys{}, Rand: rand.New(rand.NewPCG(1, 2)),
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	t.Cleanup(w.Close)
	return w
}

// inBubble runs a test on a fake clock.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func request(name string) *api.RegisterRequest {
	return &api.RegisterRequest{
		Peer: name,
		Host: api.Host{ID: "host-" + name, Addrs: []string{"10.0.0.1:65002"}},
		Origin: api.Origin{
			URL: "https://registry.example/v2/app/blobs/x?sig=secret", Digest: "sha256:" + taskID,
		},
	}
}

func (w *world) register(r *api.RegisterRequest) api.Update {
	w.t.Helper()
	u, err := w.Register(w.t.Context(), taskID, r, "192.0.2.1:8002")
	if err != nil {
		w.t.Fatalf("register %s: %v", r.Peer, err)
	}
	return u
}

func (w *world) report(name string, r api.Report) {
	w.t.Helper()
	if err := w.Report(taskID, name, &r); err != nil {
		w.t.Fatalf("report of %s: %v", name, err)
	}
}

// listener is a peer's end of its event stream: it sums up what it hears.
type listener struct {
	*Stream
	cancel context.CancelFunc
	ended  chan struct{}

	mu    sync.Mutex // guards the fields below
	sum   api.Update
	pings int
	err   error
	lists int // of parents, heard
	news  int // updates that say something
}

// listen opens the stream of a peer that has registered.
func (w *world) listen(name string, since int) *listener {
	w.t.Helper()
	return w.listenTo(name, since, false)
}

func (w *world) listenTo(name string, since int, all bool) *listener {
	w.t.Helper()
	st, err := w.Open(taskID, name, since, all)
	if err != nil {
		w.t.Fatalf("open the stream of %s: %v", name, err)
	}
	l := follow(st)
	w.t.Cleanup(l.hangUp)
	return l
}

func follow(st *Stream) *listener {
	ctx, cancel := context.WithCancel(context.Background())
	l := &listener{Stream: st, cancel: cancel, ended: make(chan struct{})}
	go l.run(ctx)
	return l
}

func (l *listener) run(ctx context.Context) {
	defer close(l.ended)
	defer l.Stream.Close()
	for {
		u, err := l.Next(ctx)
		l.mu.Lock()
		switch {
		case err != nil:
			l.err = err
			l.mu.Unlock()
			return
		case u == nil:
			l.pings++
		default:
			l.news++
			add(&l.sum, u)
			if u.Parents != nil {
				l.lists++
			}
		}
		l.mu.Unlock()
	}
}

// hangUp closes the stream as a peer does that goes.
func (l *listener) hangUp() {
	l.cancel()
	<-l.ended
}

// heard is all that came so far, as one update.
func (l *listener) heard() api.Update {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum
}

// updates is how many came that say something.
func (l *listener) updates() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.news
}

func add(sum, u *api.Update) {
	sum.Pieces = append(slices.Clip(sum.Pieces), u.Pieces...)
	sum.Complete = sum.Complete || u.Complete
	sum.Source = sum.Source || u.Source
	sum.Seq = max(sum.Seq, u.Seq)
	if u.Signed != "" {
		sum.Signed += u.Signed + " "
	}
	if u.Key != nil {
		sum.Key = u.Key
	}
	if u.Meta != nil {
		sum.Meta = u.Meta
	}
	if u.Content != nil {
		sum.Content = u.Content
	}
	if u.Parents != nil {
		sum.Parents = u.Parents
	}
	sum.More, sum.Less = append(sum.More, u.More...), append(sum.Less, u.Less...)
	if u.Ticket != "" {
		sum.Ticket = u.Ticket
	}
	if u.Failed != nil {
		sum.Failed = u.Failed
	}
}

// join registers and listens.
func (w *world) join(r *api.RegisterRequest) *listener {
	w.t.Helper()
	u := w.register(r)
	l := w.listen(r.Peer, u.Seq)
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := u
	add(&sum, &l.sum)
	l.sum = sum
	return l
}

// joinAll has n peers join, p0 and so on.
func (w *world) joinAll(n int) []*listener {
	w.t.Helper()
	var peers []*listener
	for i := range n {
		peers = append(peers, w.join(request(fmt.Sprint("p", i))))
	}
	return peers
}

func names(parents []api.Parent) []string {
	list := []string{}
	for _, p := range parents {
		list = append(list, p.Peer)
	}
	slices.Sort(list)
	return list
}

// settle lets everything happen that happens at once.
func settle() { synctest.Wait() }

// pass lets time go by, on the bubble's clock, in any goroutine.
func pass(d time.Duration) { <-time.After(d) }

// after lets time go by, and everything happen that is due.
func after(d time.Duration) {
	pass(d)
	synctest.Wait()
}

// checkCounts fails where the counts of a task do not fit its peers.
func (w *world) checkCounts() {
	w.t.Helper()
	t := w.find(taskID)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	whole := 0
	copies := make([]int32, len(t.copies))
	for _, p := range t.peers {
		if p.complete {
			whole++
		}
		if p.have != nil {
			for i := range p.have.EachSet() {
				copies[i]++
			}
		}
	}
	if whole != t.whole || !slices.Equal(copies, t.copies) {
		w.t.Fatalf("counted %d whole and copies %v, want %d and %v", t.whole, t.copies, whole, copies)
	}
}
