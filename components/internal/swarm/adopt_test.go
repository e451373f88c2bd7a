package swarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

// holding is a registration of a peer that has pieces already.
func holdingRequest(name string, indices ...int) *api.RegisterRequest {
	r := request(name)
	meta := taskMeta()
	r.Meta, r.Held = &meta, pieces(indices...)
	return r
}

func TestAfterARestartOnlyWhatNobodyHoldsIsFetched(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		start := time.Now()
		u := w.register(holdingRequest("p1", 0, 1, 2))
		if took := time.Since(start); took > 0 {
			t.Errorf("the answer took %v although the peer brought the length", took)
		}
		if len(u.Pieces) != 3 || u.Meta == nil || u.Meta.Length != taskLength {
			t.Errorf("the answer has %d pieces and meta %+v, want what the peer brought", len(u.Pieces), u.Meta)
		}
		w.listen("p1", u.Seq)
		after(100 * time.Millisecond)
		second := w.join(holdingRequest("p2", 2, 3, 4))
		if n := len(w.seed.fetches()); n != 0 {
			t.Fatal("the seed fetched before the grace was over")
		}
		after(time.Second)
		jobs := w.seed.fetches()
		if len(jobs) != 1 {
			t.Fatalf("the seed fetched %d times, want once", len(jobs))
		}
		for i := range pieceCount {
			if got, want := jobs[0].Skip.Test(uint(i)), i <= 4; got != want {
				t.Errorf("piece %d is left out: %v, want %v", i, got, want)
			}
		}
		if len(jobs[0].Known) != 5 {
			t.Errorf("the seed knows %d digests, want 5", len(jobs[0].Known))
		}
		if got := second.heard(); !got.Complete || len(got.Pieces) != pieceCount {
			t.Errorf("the second peer heard of %d pieces, complete %v", len(got.Pieces), got.Complete)
		}
		w.checkCounts()
	})
}

func TestAPieceHeldOnlyByOneWhoLeftIsFetched(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		first := w.join(holdingRequest("p1", 0, 1))
		w.join(request("p2"))
		after(time.Second)
		first.hangUp()
		after(4 * time.Second)
		if n := len(w.seed.fetches()); n != 1 {
			t.Fatalf("the seed fetched %d times while the first peer may come back, want once", n)
		}
		after(2 * time.Second)
		jobs := w.seed.fetches()
		if len(jobs) != 2 {
			t.Fatalf("the seed fetched %d times after the first peer is gone, want twice", len(jobs))
		}
		if jobs[1].Skip.Test(0) {
			t.Error("piece 0 is left out of the second fetch")
		}
		w.checkCounts()
	})
}

func TestWhatContradictsIsNotTaken(t *testing.T) {
	t.Parallel()
	wrongPiece := func(r *api.RegisterRequest, i int) {
		r.Held = append(r.Held, api.Piece{Index: i, SHA256: make([]byte, 32)})
	}
	for name, tc := range map[string]struct {
		change func(*api.RegisterRequest)
		held   string // by the peer, as counted
	}{
		"another digest of a piece known": {func(r *api.RegisterRequest) { wrongPiece(r, 3) }, "0-1"},
		"a piece behind the end":          {func(r *api.RegisterRequest) { wrongPiece(r, pieceCount) }, "0-1"},
		"a negative piece":                {func(r *api.RegisterRequest) { wrongPiece(r, -1) }, "0-1"},
		"a short digest":                  {func(r *api.RegisterRequest) { r.Held = append(r.Held, api.Piece{Index: 5, SHA256: []byte("x")}) }, "0-1"},
		"another length":                  {func(r *api.RegisterRequest) { r.Meta.Length++ }, ""},
		"another piece size":              {func(r *api.RegisterRequest) { r.Meta.PieceSize *= 2 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, bring)
				w.register(request("p1"))
				settle()
				r := holdingRequest("p2", 0, 1)
				tc.change(r)
				u := w.register(r)
				if len(u.Pieces) != pieceCount || u.Meta.Length != taskLength {
					t.Errorf("the answer has %d pieces and length %d, want the truth", len(u.Pieces), u.Meta.Length)
				}
				list, err := w.Peers(taskID, "", 10)
				if err != nil {
					t.Fatal(err)
				}
				if got := list.Peers[1].Pieces; got != map[string]int{"0-1": 2, "": 0}[tc.held] {
					t.Errorf("the peer counts as holding %d pieces, want %q", got, tc.held)
				}
				w.checkCounts()
			})
		})
	}
}

func TestWrongDigestsOfPeersAreNotTakenTwice(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(ctx context.Context, n int, job seed.Job, p seed.Progress) error {
			if len(job.Known) > 0 {
				return fmt.Errorf("%w: a piece differs", seed.ErrInvalid)
			}
			return bring(ctx, n, job, p)
		})
		l := w.join(holdingRequest("p1", 0, 1))
		after(time.Second)
		if f := l.heard().Failed; f == nil || f.Code != api.CodeInvalid {
			t.Fatalf("heard failure %v, want INVALID", f)
		}
		after(time.Second)
		again := w.join(holdingRequest("p1", 0, 1))
		after(time.Second)
		if got := again.heard(); got.Failed != nil || len(got.Pieces) != pieceCount {
			t.Errorf("then heard failure %v and %d pieces, want all from the seed", got.Failed, len(got.Pieces))
		}
	})
}

func TestAPeerMayProveTheDigestsOfPeersWrong(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		w.join(holdingRequest("liar", 0, 1, 2, 3, 4, 5, 6, 7))
		l := w.join(request("p2"))
		after(time.Second)
		if n := len(w.seed.fetches()); n != 0 {
			t.Fatalf("the seed fetched what a peer holds")
		}
		w.report("p2", api.Report{SourceFailed: &api.Error{Code: api.CodeInvalid}})
		after(time.Second)
		if f := l.heard().Failed; f == nil || f.Code != api.CodeInvalid {
			t.Fatalf("heard failure %v, want INVALID", f)
		}
		after(time.Second)
		w.join(holdingRequest("liar", 0, 1, 2, 3, 4, 5, 6, 7))
		after(time.Second)
		if n := len(w.seed.fetches()); n != 1 {
			t.Errorf("the seed fetched %d times after peers' digests were proven wrong, want once", n)
		}
		w.report("liar", api.Report{SourceFailed: &api.Error{Code: api.CodeInvalid}})
		if info, err := w.Task(taskID); err != nil || info.State != api.TaskReady {
			t.Errorf("a peer's word made what the seed proved invalid: %+v, %v", info, err)
		}
	})
}

func beat(host string, revision uint64, inventory ...string) *api.Heartbeat {
	b := &api.Heartbeat{Host: api.Host{ID: host, Addrs: []string{"10.1.0.1:65002"}}, Revision: revision}
	for _, id := range inventory {
		b.Inventory = append(b.Inventory, api.HeldTask{ID: id, Length: taskLength})
	}
	return b
}

func (w *world) beat(b *api.Heartbeat) (need bool) {
	w.t.Helper()
	a, err := w.Heartbeat(b)
	if err != nil {
		w.t.Fatalf("heartbeat of %s: %v", b.Host.ID, err)
	}
	return a.NeedInventory
}

func manifest(api.Host) (api.TaskManifest, error) {
	return api.TaskManifest{Meta: taskMeta(), Pieces: allPieces()}, nil
}

func whole(_ context.Context, h api.Host) (api.TaskManifest, error) { return manifest(h) }

func TestAHostThatHoldsTheTaskIsAskedBeforeTheOrigin(t *testing.T) {
	t.Parallel()
	short := func(api.Host) (api.TaskManifest, error) {
		return api.TaskManifest{Meta: taskMeta(), Pieces: pieces(0, 1)}, nil
	}
	other := func(h api.Host) (api.TaskManifest, error) {
		m, _ := manifest(h)
		m.Meta.Length++
		return m, nil
	}
	for name, tc := range map[string]struct {
		answer  func(api.Host) (api.TaskManifest, error)
		fetches int
		parents []string
	}{
		"it tells the digests":           {manifest, 0, []string{"@h1", "@seed"}},
		"it is gone":                     {func(api.Host) (api.TaskManifest, error) { return api.TaskManifest{}, errors.New("gone") }, 1, []string{"@seed"}},
		"it tells a part of the digests": {short, 1, []string{"@seed"}},
		"it tells another length":        {other, 1, []string{"@seed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, bring)
				w.manifests.answer = func(_ context.Context, h api.Host) (api.TaskManifest, error) { return tc.answer(h) }
				w.beat(beat("h1", 1, taskID))
				l := w.join(request("p1"))
				after(time.Second)
				got := l.heard()
				if len(got.Pieces) != pieceCount || !got.Complete {
					t.Errorf("heard of %d pieces, complete %v", len(got.Pieces), got.Complete)
				}
				if !slices.Equal(names(got.Parents), tc.parents) {
					t.Errorf("has parents %v, want %v", names(got.Parents), tc.parents)
				}
				if n := len(w.seed.fetches()); n != tc.fetches {
					t.Errorf("the seed fetched %d times, want %d", n, tc.fetches)
				}
				w.checkCounts()
			})
		})
	}
}

func TestTheOriginIsReadWhenTheOnlyHolderDies(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		w.manifests.answer = whole
		w.beat(beat("h1", 1, taskID))
		l := w.join(request("p1"))
		after(14 * time.Second)
		if n := len(w.seed.fetches()); n != 0 {
			t.Fatalf("the seed fetched %d times while the holder lives", n)
		}
		after(3 * time.Second)
		if n := len(w.seed.fetches()); n != 1 {
			t.Errorf("the seed fetched %d times after the holder was not heard of, want once", n)
		}
		if got := names(l.heard().Parents); !slices.Equal(got, []string{"@seed"}) {
			t.Errorf("has parents %v, want the seed alone", got)
		}
		w.checkCounts()
	})
}

func TestAHostLivesForThreeTimesWhatItToldOfItsHeartbeats(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		idle, busy := beat("idle", 1), beat("busy", 1)
		busy.Every = 15
		w.beat(idle)
		w.beat(busy)
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{14 * time.Second, 2}, {3 * time.Second, 1}, {27 * time.Second, 1}, {3 * time.Second, 0}} {
			if after(step.after); w.hosts.count() != step.want {
				t.Errorf("%v later: %d hosts, want %d", step.after, w.hosts.count(), step.want)
			}
		}
	})
}

func TestAHostIsAskedForItsInventoryWhenItChanged(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		for i, step := range []struct {
			beat    *api.Heartbeat
			need    bool
			holders int
		}{
			{beat("h1", 1), true, 0},
			{beat("h1", 1, taskID), false, 1},
			{beat("h1", 1), false, 1},
			{beat("h1", 2), true, 1},
			{beat("h1", 2), false, 0}, // an empty inventory is left out on the wire
			{beat("h1", 3, taskID), false, 1},
			{beat("h2", 7, taskID, idOf("other")), false, 2},
			{beat("h1", 4, idOf("other")), false, 1},
		} {
			if need := w.beat(step.beat); need != step.need {
				t.Errorf("step %d: asks for the inventory: %v, want %v", i, need, step.need)
			}
			if list, _ := w.hosts.holding(taskID, 10); len(list) != step.holders {
				t.Errorf("step %d: %d hosts hold the task, want %d", i, len(list), step.holders)
			}
		}
		after(16 * time.Second)
		if n, m := w.hosts.count(), len(w.hosts.holders); n != 0 || m != 0 {
			t.Errorf("%d hosts and %d tasks are remembered of hosts long gone", n, m)
		}
	})
}

func TestAHostThatMovedIsAParentAtItsNewAddress(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		l := w.join(request("p1"))
		w.beat(beat("h1", 1, taskID))
		after(time.Second)
		moved := beat("h1", 1, taskID)
		moved.Host.Addrs = []string{"10.9.9.9:65002"}
		if w.beat(moved) {
			t.Error("the host is asked for the inventory that it just sent")
		}
		after(time.Second)
		parents := l.heard().Parents
		if len(parents) != 2 || parents[0].Addrs[0] != "10.9.9.9:65002" {
			t.Errorf("has parents %+v, want the host at its new address", parents)
		}
		moved = beat("h1", 1)
		moved.Host.Addrs = []string{"10.9.9.8:65002"}
		if !w.beat(moved) {
			t.Error("a host that moved and sent no inventory is not asked for it")
		}
	})
}

func TestAHostThatGetsOrLosesTheTaskBecomesAndEndsAsParent(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		l := w.join(request("p1"))
		after(time.Second)
		w.beat(beat("h1", 1, taskID))
		after(time.Second)
		if got := names(l.heard().Parents); !slices.Equal(got, []string{"@h1", "@seed"}) {
			t.Errorf("has parents %v, want the host too", got)
		}
		w.beat(beat("h1", 2, idOf("other")))
		after(time.Second)
		if got := names(l.heard().Parents); !slices.Equal(got, []string{"@seed"}) {
			t.Errorf("has parents %v, want the seed alone", got)
		}
		w.checkCounts()
	})
}

func TestACompletePeerThatLeftStaysAParentWhileItsHostLives(t *testing.T) {
	t.Parallel()
	for name, lives := range map[string]bool{"its host lives": true, "its host sends no heartbeats": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, bring)
				if lives {
					w.beat(beat("host-p1", 1))
				}
				first := w.join(request("p1"))
				second := w.join(request("p2"))
				after(time.Second)
				w.report("p1", api.Report{Complete: true, Have: "0-7"})
				w.report("p1", api.Report{Left: true})
				first.hangUp()
				after(9 * time.Second)
				want := []string{"@seed"}
				if lives {
					want = []string{"@seed", "p1"}
				}
				if got := names(second.heard().Parents); !slices.Equal(got, want) {
					t.Errorf("has parents %v, want %v", got, want)
				}
				if err := w.Report(taskID, "p1", &api.Report{}); !errors.Is(err, ErrUnknownPeer) {
					t.Errorf("report of a peer that left: %v, want ErrUnknownPeer", err)
				}
				after(10 * time.Second)
				if got := names(second.heard().Parents); !slices.Equal(got, []string{"@seed"}) {
					t.Errorf("long after the last heartbeat: has parents %v, want the seed alone", got)
				}
				w.checkCounts()
			})
		})
	}
}

func TestAHostThatRegistersAgainSpeaksForItself(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		w.beat(beat("host-p1", 1))
		w.join(request("p1"))
		after(time.Second)
		w.report("p1", api.Report{Complete: true, Left: true})
		r := request("p1-again")
		r.Host.ID = "host-p1"
		w.join(r)
		list, err := w.Peers(taskID, "", 10)
		if err != nil || len(list.Peers) != 1 || list.Peers[0].Peer != "p1-again" || list.Peers[0].Complete {
			t.Fatalf("peers are %+v, %v; want the new one alone", list.Peers, err)
		}
		w.checkCounts()
	})
}
