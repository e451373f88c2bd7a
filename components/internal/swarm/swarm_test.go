package swarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

func TestManyRegistrationsAtOnceCostOneFetch(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(ctx context.Context, n int, job seed.Job, p seed.Progress) error {
			pass(100 * time.Millisecond)
			return bring(ctx, n, job, p)
		})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				l := w.join(request(fmt.Sprint("p", i)))
				pass(time.Second)
				got := l.heard()
				if !got.Complete || len(got.Pieces) != pieceCount || got.Meta.Length != taskLength {
					t.Errorf("peer %d heard of %d pieces, complete %v, want %d, true", i, len(got.Pieces), got.Complete, pieceCount)
				}
				l.hangUp()
			})
		}
		wg.Wait()
		if n := len(w.seed.fetches()); n != 1 {
			t.Fatalf("the seed fetched %d times, want once", n)
		}
	})
}

func TestARegistrationWaitsForTheLengthButNotForLong(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		latency, wait time.Duration
		length        int64
	}{
		"a quick origin": {latency: 50 * time.Millisecond, wait: 50 * time.Millisecond, length: taskLength},
		"a slow origin":  {latency: time.Second, wait: 250 * time.Millisecond, length: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, func(ctx context.Context, n int, job seed.Job, p seed.Progress) error {
					pass(tc.latency)
					p.Meta(taskMeta())
					pass(time.Hour)
					return nil
				})
				start := time.Now()
				u := w.register(request("p1"))
				if took := time.Since(start); took != tc.wait {
					t.Errorf("the answer took %v, want %v", took, tc.wait)
				}
				if u.Meta == nil || u.Meta.Length != tc.length {
					t.Errorf("the answer has meta %+v, want length %d", u.Meta, tc.length)
				}
				if len(u.Parents) != 1 || !u.Parents[0].Seed || u.Parents[0].Addrs[0] != "192.0.2.1:8002" {
					t.Errorf("the answer has parents %+v, want the seed alone", u.Parents)
				}
				if u.Ticket == "" {
					t.Error("the answer has no ticket")
				}
				after(2 * time.Hour)
			})
		})
	}
}

func TestTinyContentComesInsideTheAnswer(t *testing.T) {
	t.Parallel()
	tiny := func(delay time.Duration) func(context.Context, int, seed.Job, seed.Progress) error {
		return func(_ context.Context, _ int, _ seed.Job, p seed.Progress) error {
			p.Meta(api.Meta{Length: 5, PieceSize: 64 << 10})
			pass(delay)
			p.Gained(digestOf(0))
			return nil
		}
	}
	t.Run("at once when it is there in time", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			w := newWorldWith(t, Config{}, &fakeSeed{fetch: tiny(100 * time.Millisecond), content: []byte("hello")})
			if u := w.register(request("p1")); string(u.Content) != "hello" || !u.Complete {
				t.Errorf("the answer has content %q, complete %v", u.Content, u.Complete)
			}
			if u := w.register(request("p2")); string(u.Content) != "hello" {
				t.Errorf("the answer to a second peer has content %q", u.Content)
			}
		})
	})
	t.Run("by event when it comes later", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			w := newWorldWith(t, Config{}, &fakeSeed{fetch: tiny(time.Second), content: []byte("hello")})
			l := w.join(request("p1"))
			if got := l.heard(); got.Content != nil {
				t.Errorf("the answer has content %q too early", got.Content)
			}
			after(2 * time.Second)
			if got := l.heard(); string(got.Content) != "hello" {
				t.Errorf("heard content %q", got.Content)
			}
		})
	})
}

func TestARefusalIsForThoseWhoCameWithTheCredentials(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(ctx context.Context, n int, job seed.Job, p seed.Progress) error {
			pass(100 * time.Millisecond)
			if job.Request.Header.Get("Authorization") != "Bearer good" {
				return &seed.Refused{Status: 401}
			}
			return bring(ctx, n, job, p)
		})
		with := func(name, token string) *api.RegisterRequest {
			r := request(name)
			if token != "" {
				r.Origin.Header = map[string][]string{"Authorization": {"Bearer " + token}}
			}
			return r
		}
		var wg sync.WaitGroup
		heard := make([]api.Update, 4)
		for i, token := range []string{"", "bad", "good", "bad"} {
			wg.Go(func() {
				l := w.join(with(fmt.Sprint("p", i), token))
				pass(time.Second)
				heard[i] = l.heard()
				l.hangUp()
			})
			settle() // in this order
		}
		wg.Wait()
		for _, i := range []int{0, 1, 3} {
			if f := heard[i].Failed; f == nil || f.Code != api.CodeOrigin || f.Status != 401 {
				t.Errorf("peer %d, whom the origin refuses, heard failure %v, want ORIGIN 401", i, f)
			}
		}
		if heard[2].Failed != nil || !heard[2].Complete {
			t.Errorf("peer 2, whom the origin serves, heard failure %v, complete %v", heard[2].Failed, heard[2].Complete)
		}
		if n := len(w.seed.fetches()); n != 3 {
			t.Errorf("the origin was asked %d times, want once for each kind of credentials", n)
		}
	})
}

func TestARefusalIsRememberedForAMoment(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, int, seed.Job, seed.Progress) error { return &seed.Refused{Status: 404} })
		for i := range 5 {
			if u := w.register(request(fmt.Sprint("p", i))); u.Failed == nil || u.Failed.Status != 404 {
				t.Errorf("peer %d got failure %v, want 404", i, u.Failed)
			}
		}
		if n := len(w.seed.fetches()); n != 1 {
			t.Errorf("the origin was asked %d times within a moment, want once", n)
		}
		after(1500 * time.Millisecond)
		w.register(request("late"))
		if n := len(w.seed.fetches()); n != 2 {
			t.Errorf("the origin was asked %d times after the moment, want twice", n)
		}
	})
}

func TestWithoutTheSeedOnePeerIsElected(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, down)
		first := w.join(request("p1"))
		second := w.join(request("p2"))
		third := w.join(request("p3"))
		settle()
		if !first.heard().Source || second.heard().Source || third.heard().Source {
			t.Fatal("want the first peer alone as source")
		}
		meta := taskMeta()
		w.report("p1", api.Report{Meta: &meta, Pieces: pieces(0, 1), Have: "0-1"})
		after(time.Second)
		if got := second.heard(); len(got.Pieces) != 2 || got.Meta.Length != taskLength {
			t.Errorf("the second peer heard of %d pieces, want 2", len(got.Pieces))
		}
		w.report("p2", api.Report{Meta: &meta, Pieces: pieces(7)}) // not the source
		w.report("p1", api.Report{Left: true})
		after(time.Second)
		if !second.heard().Source || third.heard().Source {
			t.Fatal("the first source left: want the second peer as source")
		}
		w.report("p2", api.Report{SourceFailed: &api.Error{Code: api.CodeOrigin}})
		after(time.Second)
		if !third.heard().Source {
			t.Fatal("the second source failed: want the third peer as source")
		}
		w.report("p3", api.Report{Pieces: pieces(0, 1, 2, 3, 4, 5, 6, 7), Have: "0-7", Complete: true})
		after(time.Second)
		if got := second.heard(); !got.Complete || len(got.Pieces) != pieceCount {
			t.Errorf("the second peer heard of %d pieces, complete %v", len(got.Pieces), got.Complete)
		}
		w.checkCounts()
	})
}

func TestWhenNobodyCanReadTheOriginAllAreTold(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, down)
		first, second := w.join(request("p1")), w.join(request("p2"))
		after(time.Second)
		w.report("p1", api.Report{SourceFailed: &api.Error{Code: api.CodeOrigin}})
		after(time.Second)
		w.report("p2", api.Report{SourceFailed: &api.Error{Code: api.CodeOrigin}})
		after(time.Second)
		for i, l := range []*listener{first, second} {
			if f := l.heard().Failed; f == nil || f.Code != api.CodeOrigin {
				t.Errorf("peer %d heard failure %v, want ORIGIN", i+1, f)
			}
		}
		w.seed.fetch = bring
		after(2 * time.Second)
		if got := w.join(request("p3")); got.heard().Failed != nil {
			t.Errorf("a later registration hears of the old failure: %v", got.heard().Failed)
		}
	})
}

func TestASourceThatBringsNothingIsReplaced(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, down)
		w.join(request("p1"))
		second := w.join(request("p2"))
		meta := taskMeta()
		after(9 * time.Second)
		w.report("p1", api.Report{Meta: &meta, Pieces: pieces(0), Have: "0"})
		after(9 * time.Second)
		if second.heard().Source {
			t.Fatal("the source was replaced although it brought something")
		}
		after(2 * time.Second)
		if !second.heard().Source {
			t.Fatal("the source brought nothing for more than ten seconds and is still alone")
		}
	})
}

func TestPrivateTasksAreReadByAPeer(t *testing.T) {
	t.Parallel()
	private := func(name string) *api.RegisterRequest {
		r := request(name)
		r.Private = true
		return r
	}
	t.Run("the first private peer is the source at once", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, bring)
			start := time.Now()
			if u := w.register(private("p1")); !u.Source {
				t.Error("the answer does not make the peer the source")
			}
			if took := time.Since(start); took > 0 {
				t.Errorf("the answer took %v", took)
			}
			if w.register(private("p2")).Source {
				t.Error("a second source")
			}
			w.register(request("p3"))
			if n := len(w.seed.fetches()); n != 0 {
				t.Errorf("the seed fetched %d times beside a source", n)
			}
		})
	})
	t.Run("the seed goes on when the only private peer fails and another has credentials", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, bring)
			w.join(private("p1"))
			l := w.join(request("p2"))
			w.report("p1", api.Report{SourceFailed: &api.Error{Code: api.CodeOrigin, Status: 403}})
			after(time.Second)
			if got := l.heard(); !got.Complete && got.Failed == nil {
				t.Errorf("the other peer heard neither success nor failure")
			}
		})
	})
}

func TestInvalidContentFailsAllAndTheNextRegistrationTriesAnew(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(ctx context.Context, n int, job seed.Job, p seed.Progress) error {
			if n > 1 {
				return bring(ctx, n, job, p)
			}
			p.Meta(taskMeta())
			p.Gained(digestOf(3))
			pass(time.Second)
			return fmt.Errorf("%w: wrong digest", seed.ErrInvalid)
		})
		l := w.join(request("p1"))
		after(1500 * time.Millisecond)
		if f := l.heard().Failed; f == nil || f.Code != api.CodeInvalid {
			t.Fatalf("heard failure %v, want INVALID", f)
		}
		late := w.listen("p1", 0)
		settle()
		if f := late.heard().Failed; f == nil || f.Code != api.CodeInvalid {
			t.Errorf("a stream opened after the failure heard %v, want INVALID", f)
		}
		after(time.Second)
		if err := w.Report(taskID, "p1", &api.Report{}); !errors.Is(err, ErrUnknownPeer) {
			t.Errorf("report to the failed swarm: %v, want ErrUnknownPeer", err)
		}
		again := w.join(request("p1"))
		after(time.Second)
		if got := again.heard(); got.Failed != nil || !got.Complete {
			t.Errorf("the next registration heard failure %v, complete %v", got.Failed, got.Complete)
		}
	})
}

func TestBoundsAreKept(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorldWith(t, Config{MaxTasks: 2, MaxPeers: 3, MaxHosts: 1}, &fakeSeed{fetch: bring})
		for i := range 3 {
			w.register(request(fmt.Sprint("p", i)))
		}
		if _, err := w.Register(t.Context(), taskID, request("p9"), ""); !errors.Is(err, ErrFull) {
			t.Errorf("a fourth peer: %v, want ErrFull", err)
		}
		w.register(request("p1")) // again, no more
		other := request("p1")
		other.Origin.Digest = ""
		if _, err := w.Register(t.Context(), idOf("second"), other, ""); err != nil {
			t.Errorf("a second task: %v", err)
		}
		if _, err := w.Register(t.Context(), idOf("third"), other, ""); !errors.Is(err, ErrFull) {
			t.Errorf("a third task: %v, want ErrFull", err)
		}
		if _, err := w.Heartbeat(&api.Heartbeat{Host: api.Host{ID: "h1"}}); err != nil {
			t.Errorf("a host: %v", err)
		}
		if _, err := w.Heartbeat(&api.Heartbeat{Host: api.Host{ID: "h2"}}); !errors.Is(err, ErrFull) {
			t.Errorf("a second host: %v, want ErrFull", err)
		}
	})
}

func TestATaskWithAnotherDigestIsRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		w.register(request("p1"))
		r := request("p2")
		r.Origin.Digest = "sha256:" + idOf("something else")
		if _, err := w.Register(t.Context(), taskID, r, ""); !errors.Is(err, ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
	})
}

func TestIdleTasksLeaveMemoryAndComeBackFromTheStore(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		l := w.join(request("p1"))
		after(10 * time.Minute)
		if _, err := w.Task(taskID); err != nil {
			t.Fatalf("a task with a listener left memory: %v", err)
		}
		l.hangUp()
		after(2 * time.Minute)
		if _, err := w.Task(taskID); !errors.Is(err, ErrUnknownTask) {
			t.Fatalf("an idle task is still in memory: %v", err)
		}
		if w.seed.opened != w.seed.closed {
			t.Errorf("the seed's task was opened %d times and closed %d times", w.seed.opened, w.seed.closed)
		}
		w.seed.holding = map[string]seed.Holding{taskID: {Meta: taskMeta(), Pieces: allPieces(), Complete: true}}
		u := w.register(request("p2"))
		if len(u.Pieces) != pieceCount || !u.Complete {
			t.Errorf("the answer has %d pieces, complete %v, want all from the store", len(u.Pieces), u.Complete)
		}
		if n := len(w.seed.fetches()); n != 1 {
			t.Errorf("the seed fetched %d times, want once", n)
		}
	})
}

func TestListingsAreInPagesAndTellNoSecret(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		for i := range 5 {
			w.register(request(fmt.Sprint("p", i)))
		}
		var seen []string
		for after, pages := "", 0; pages == 0 || after != ""; pages++ {
			list, err := w.Peers(taskID, after, 2)
			if err != nil || len(list.Peers) > 2 || pages > 3 {
				t.Fatalf("page %d: %d peers, %v", pages, len(list.Peers), err)
			}
			for _, p := range list.Peers {
				seen = append(seen, p.Peer)
				if len(p.Parents) != 4 {
					t.Errorf("%s has %d parents, want the 4 others", p.Peer, len(p.Parents))
				}
			}
			after = list.Next
		}
		if want := []string{"p0", "p1", "p2", "p3", "p4"}; !slices.Equal(seen, want) {
			t.Errorf("listed %v, want %v", seen, want)
		}
		tasks := w.Tasks("", 10)
		if len(tasks.Tasks) != 1 || tasks.Next != "" {
			t.Fatalf("listed %d tasks, next %q", len(tasks.Tasks), tasks.Next)
		}
		if got, want := tasks.Tasks[0].URL, "https://registry.example/v2/app/blobs/x"; got != want {
			t.Errorf("the URL is told as %q, want %q", got, want)
		}
		if got := tasks.Tasks[0]; got.State != api.TaskReady || got.Pieces != pieceCount || got.Peers != 5 || got.Seeded != pieceCount {
			t.Errorf("told %+v", got)
		}
		if list := w.Tasks(taskID, 10); len(list.Tasks) != 0 {
			t.Errorf("behind the last task there are %d", len(list.Tasks))
		}
	})
}

func TestCredentialsAreNotKeptLongerThanNeeded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		for i := range 3 {
			r := request(fmt.Sprint("p", i))
			r.Origin.Header = map[string][]string{"Authorization": {fmt.Sprint("Bearer ", i)}}
			w.register(r)
			settle()
			if ways := w.find(taskID).accesses; len(ways) > 0 {
				t.Errorf("after the content is there, %d ways to the origin with credentials are kept", len(ways))
			}
		}
	})
}
