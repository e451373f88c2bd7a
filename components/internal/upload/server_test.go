package upload

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// rig is a server over a store with one task of five pieces, of which piece 3 is missing.
type rig struct {
	*Server
	task store.Task
	body []byte
	http *httptest.Server
}

type oneTicket string

func (o oneTicket) VerifyTicket(_, ticket string) error {
	if ticket != string(o) {
		return errors.New("ticket is wrong")
	}
	return nil
}

func newRig(t *testing.T, p Picker) *rig {
	t.Helper()
	r := newQuietRig(t, p)
	r.http = httptest.NewServer(r.Server)
	t.Cleanup(func() {
		r.http.CloseClientConnections()
		r.http.Close()
	})
	return r
}

// newQuietRig is one that does not listen.
func newQuietRig(t *testing.T, p Picker) *rig {
	t.Helper()
	body := bytes.Repeat([]byte("dragonfly"), 5*piece.MinSize/9+1)[:5*piece.MinSize-100]
	st := store.NewMemory()
	task, err := st.Create(testID, api.Meta{Length: int64(len(body)), PieceSize: piece.MinSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(task.Release)
	r := &rig{task: task, body: body}
	for _, i := range []int{0, 1, 2, 4} {
		r.put(t, i)
	}
	r.Server = New(Config{}, Deps{
		Store: st, Picker: p, Tickets: oneTicket("good"), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	return r
}

func (r *rig) put(t *testing.T, i int) {
	t.Helper()
	off, n := r.task.Layout().Range(i)
	w, err := r.task.Writer(i, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(r.body[off : off+n]); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) get(t *testing.T, path, rng, ticket string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.http.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if rng != "" {
		req.Header.Set("Range", rng)
	}
	req.Header.Set(api.HeaderTicket, ticket)
	resp, err := r.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func TestRangesAreServedExactlyOrRefusedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	path := api.DownloadPath(testID)
	for _, tc := range []struct {
		name, path, rng, ticket string
		status                  int
		off, n                  int
	}{
		{"one piece", path, "bytes=65536-131071", "good", 206, 65536, 65536},
		{"bytes within a piece", path, "bytes=10-19", "good", 206, 10, 10},
		{"a run of pieces", path, "bytes=0-196607", "good", 206, 0, 196608},
		{"the short last piece", path, "bytes=262144-327579", "good", 206, 262144, 65436},
		{"a piece that is not held", path, "bytes=196608-262143", "good", 404, 0, 0},
		{"a run that touches a missing piece", path, "bytes=131072-196608", "good", 404, 0, 0},
		{"everything, while a piece is missing", path, "", "good", 404, 0, 0},
		{"behind the end", path, "bytes=0-327580", "good", 416, 0, 0},
		{"an open range", path, "bytes=0-", "good", 416, 0, 0},
		{"a suffix", path, "bytes=-5", "good", 416, 0, 0},
		{"two ranges", path, "bytes=0-1,3-4", "good", 416, 0, 0},
		{"last before first", path, "bytes=5-4", "good", 416, 0, 0},
		{"numbers beyond 64 bits", path, "bytes=0-99999999999999999999999", "good", 416, 0, 0},
		{"another unit", path, "pieces=0-1", "good", 416, 0, 0},
		{"no ticket", path, "bytes=10-19", "", 401, 0, 0},
		{"a wrong ticket", path, "bytes=10-19", "bad", 401, 0, 0},
		{"an unknown task", api.DownloadPath(strings.Repeat("f", 64)), "bytes=0-9", "good", 404, 0, 0},
		{"a prefix of another task", "/download/fff/" + testID, "bytes=0-9", "good", 400, 0, 0},
		{"an id that is none", "/download/abc/abc%2fpasswd", "bytes=0-9", "good", 400, 0, 0},
		{"a pick of a peer that is no seed", api.PickPath(testID, 1), "", "good", 404, 0, 0},
		{"a pick of nothing", api.PickPath(testID, 0), "", "good", 400, 0, 0},
		{"news from before the beginning", api.AvailabilityPath(testID, -1), "", "good", 400, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			resp, b := r.get(t, tc.path, tc.rng, tc.ticket)
			if resp.StatusCode != tc.status {
				t.Fatalf("got status %d (%s), want %d", resp.StatusCode, b, tc.status)
			}
			if tc.status == 206 && !bytes.Equal(b, r.body[tc.off:tc.off+tc.n]) {
				t.Errorf("got %d bytes that are not the content's %d from %d on", len(b), tc.n, tc.off)
			}
		})
	}
}

func TestNewsTellWhatIsHeldAndWhatComes(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.http.URL+api.AvailabilityPath(testID, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(api.HeaderTicket, "good")
	req.Header.Set(api.HeaderPeer, "child")
	resp, err := r.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	expect := func(want string) {
		t.Helper()
		for lines.Scan() {
			if line := lines.Text(); line == want {
				return
			} else if !strings.HasPrefix(line, "ping ") {
				t.Fatalf("got %q, want %q", line, want)
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
	}
	expect("have 0-2,4 4 0")
	r.put(t, 3)
	expect("have 3 5 0")

	// Fill the uplink, so that a request of this child is turned away, and let a place go.
	r.gate.mu.Lock()
	r.gate.usual, r.gate.opened, r.gate.idle = time.Hour, r.cfg.Slots, time.Now()
	r.gate.mu.Unlock()
	places := make(chan *turn, r.cfg.Slots)
	for range r.cfg.Slots + r.cfg.Queue {
		go func() {
			if turn, err := r.gate.enter(ctx, "task", nil); err == nil {
				places <- turn
			}
		}()
	}
	for r.gate.Load() < r.cfg.Slots+r.cfg.Queue {
		runtime.Gosched()
	}
	busy, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.http.URL+api.DownloadPath(testID), nil)
	busy.Header = req.Header.Clone()
	busy.Header.Set("Range", "bytes=0-1")
	answer, err := r.http.Client().Do(busy)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("a full uplink answered %d, want 503", answer.StatusCode)
	}
	(<-places).leave()
	expect("room 6")
}

// follow opens a child's availability stream. end closes it and returns what it said.
func (r *rig) follow(t *testing.T, child string) (end func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, api.AvailabilityPath(testID, 0), nil)
	req.Header.Set(api.HeaderTicket, "good")
	req.Header.Set(api.HeaderPeer, child)
	said := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ServeHTTP(said, req)
	}()
	return func() string {
		cancel()
		<-done
		return said.Body.String()
	}
}

func TestASignOfLifeIsSentOnlyInSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newQuietRig(t, nil)
		end := r.follow(t, "child")
		time.Sleep(api.PingInterval * 3 / 5) // the bubble's time
		r.put(t, 3)
		time.Sleep(api.PingInterval * 3 / 5)
		r.room("child")
		time.Sleep(api.PingInterval*2 + time.Millisecond)
		want := "ping 0\nhave 0-2,4 4 0\nhave 3 5 0\nroom 0\nping 0\nping 0\n"
		if got := end(); got != want {
			t.Errorf("the stream said\n%swant\n%s", got, want)
		}
	})
}

// downloads knows children that said what they hold.
type downloads map[string][]int

func (d downloads) Await(context.Context, string) {}

func (d downloads) Lacks(_, peer string, pieces []int) []int {
	return slices.DeleteFunc(pieces, func(i int) bool { return slices.Contains(d[peer], i) })
}

func TestNewsLeaveOutWhatTheChildToldItself(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		held []int
		want string
	}{
		"a child that told nothing":         {nil, "ping 0\nhave 0-2,4 4 0\nhave 3 5 0\n"},
		"one that told of some":             {[]int{1, 2}, "ping 0\nhave 0,4 4 0\nhave 3 5 0\n"},
		"one that told of what comes later": {[]int{0, 3}, "ping 0\nhave 1-2,4 4 0\n"},
		"one that holds all before we do":   {[]int{0, 1, 2, 4}, "ping 0\nhave 3 5 0\n"},
		"one that told of everything":       {[]int{0, 1, 2, 3, 4}, "ping 0\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newQuietRig(t, nil)
			r.deps.Downloads = downloads{"child": tc.held}
			end := r.follow(t, "child")
			synctest.Wait()
			r.put(t, 3)
			time.Sleep(api.PingInterval / 2) // the bubble's time
			if got := end(); got != tc.want {
				t.Errorf("%s: the stream said\n%swant\n%s", name, got, tc.want)
			}
		})
	}
}

// room tells a child that a place freed for it.
func (r *rig) room(child string) { r.streams.find(testID, child).call() }

func TestManifestTellsTheDigestsOfHeldPieces(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	_, b := r.get(t, api.ManifestPath(testID), "", "good")
	var m api.TaskManifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if m.Meta.Length != int64(len(r.body)) || len(m.Pieces) != 4 {
		t.Fatalf("got length %d and %d pieces, want %d and 4", m.Meta.Length, len(m.Pieces), len(r.body))
	}
	for _, p := range m.Pieces {
		off, n := r.task.Layout().Range(p.Index)
		if want := piece.Sum(r.body[off : off+n]); !bytes.Equal(p.SHA256, want[:]) {
			t.Errorf("piece %d: digest is not that of its bytes", p.Index)
		}
	}
}

// script is a picker that answers from a list.
type script struct {
	answers  []func() (int64, int64, error)
	returned []int64
}

func (s *script) Pick(ctx context.Context, _ string, _ int64) (off, n int64, err error) {
	if len(s.answers) == 0 {
		<-ctx.Done()
		return 0, 0, ctx.Err()
	}
	f := s.answers[0]
	s.answers = s.answers[1:]
	return f()
}

func (s *script) Return(_ string, off, _ int64) { s.returned = append(s.returned, off) }

func TestPicksAreTheSeedsChoice(t *testing.T) {
	t.Parallel()
	p := &script{answers: []func() (int64, int64, error){
		func() (int64, int64, error) { return 65536, 131072, nil },
		func() (int64, int64, error) { return 0, 0, ErrNothingFresh },
		func() (int64, int64, error) { return 0, 0, store.ErrNotFound },
	}}
	r := newRig(t, p)
	r.cfg.PickWait = 1 // nothing fresh comes, so the fourth pick need not wait for it
	for i, want := range []struct {
		status int
		pick   string
	}{{206, ""}, {204, api.PickOver}, {404, ""}, {204, api.PickAgain}} {
		resp, b := r.get(t, api.PickPath(testID, 1<<20), "", "good")
		if resp.StatusCode != want.status || resp.Header.Get(api.HeaderPick) != want.pick {
			t.Errorf("pick %d: got %d %q, want %d %q", i, resp.StatusCode, resp.Header.Get(api.HeaderPick), want.status, want.pick)
		}
		if i == 0 && !bytes.Equal(b, r.body[65536:65536+131072]) {
			t.Error("the first pick brought other bytes than chosen")
		}
	}
}

// drySeed has nothing fresh but of testID.
type drySeed struct{ asked chan string }

func (d *drySeed) Pick(ctx context.Context, task string, _ int64) (off, n int64, err error) {
	if task == testID {
		return 0, piece.MinSize, nil
	}
	if ctx.Err() == nil {
		d.asked <- task
	}
	<-ctx.Done()
	return 0, 0, ctx.Err()
}

func (d *drySeed) Return(string, int64, int64) {}

func TestPicksOfATaskThatHasNothingFreshHoldUpNoOthers(t *testing.T) {
	t.Parallel()
	p := &drySeed{asked: make(chan string, 1)}
	r := newRig(t, p)
	r.cfg.PickWait = 10 * time.Second
	r.picks = newGate(1, 8)
	r.picks.usual = time.Hour // no slot is given on
	dry := strings.Repeat("d", 64)
	task, err := r.deps.Store.Create(dry, api.Meta{Length: 2 * piece.MinSize, PieceSize: piece.MinSize})
	if err != nil {
		t.Fatal(err)
	}
	defer task.Release()
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	waiting.Go(func() {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.http.URL+api.PickPath(dry, 1), nil)
		req.Header.Set(api.HeaderTicket, "good")
		if resp, err := r.http.Client().Do(req); err == nil {
			resp.Body.Close()
		}
	})
	if got := <-p.asked; got != dry {
		t.Fatalf("asked for %s", got)
	}
	if resp, b := r.get(t, api.PickPath(testID, 1), "", "good"); resp.StatusCode != http.StatusPartialContent || len(b) != piece.MinSize {
		t.Errorf("got %d and %d bytes, want a piece", resp.StatusCode, len(b))
	}
}

func FuzzParseRange(f *testing.F) {
	for _, h := range []string{"", "bytes=0-0", "bytes=0-99", "bytes=5-", "bytes=-5", "bytes=9-1", "bytes=1-2,3-4", "bytes=0-18446744073709551616"} {
		f.Add(h, int64(100))
	}
	f.Fuzz(func(t *testing.T, h string, length int64) {
		s, err := parseRange(h, length)
		if err != nil {
			return
		}
		if s.off < 0 || s.n <= 0 || s.off+s.n <= s.off || length >= 0 && s.off+s.n > length {
			t.Errorf("%q of %d bytes: got %d bytes from %d", h, length, s.n, s.off)
		}
	})
}
