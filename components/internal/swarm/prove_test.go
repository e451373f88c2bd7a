package swarm

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

func proving(name string) *api.RegisterRequest {
	r := request(name)
	r.Proofs = true
	return r
}

// told is what a peer heard of pieces: those signed, as ranges, and how many with their digests.
func told(u api.Update) (signed string, digests int) {
	return strings.TrimSpace(u.Signed), len(u.Pieces)
}

func TestAPeerThatChecksProofsIsToldPiecesWithoutDigests(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		old := w.join(request("old"))
		u := w.register(proving("p1"))
		if signed, digests := told(u); signed != "" || digests != 0 || len(u.Key) != proof.KeySize || u.Seq != 0 || u.Meta == nil || u.Parents == nil {
			t.Errorf("the answer tells of pieces %q, %d digests, a key of %d bytes, seq %d; want the key alone", signed, digests, len(u.Key), u.Seq)
		}
		l := w.listen("p1", u.Seq)
		settle()
		got := l.heard()
		if signed, digests := told(got); signed != "0-7" || digests != 0 || !got.Complete || got.Seq != pieceCount {
			t.Errorf("the stream told %q and %d digests, complete %v, seq %d; want all, without digests", signed, digests, got.Complete, got.Seq)
		}
		if got.Meta != nil || got.Parents != nil || got.Ticket != "" || got.Key != nil {
			t.Errorf("the stream told again what the answer had: %+v", got)
		}
		if signed, digests := told(old.heard()); signed != "" || digests != pieceCount || old.heard().Key != nil {
			t.Errorf("a peer that checks no proofs heard of %q and %d digests, want all digests and no key", signed, digests)
		}
		all := w.listenTo("p1", 0, true)
		settle()
		got = all.heard()
		if signed, digests := told(got); signed != "" || digests != pieceCount || got.Parents == nil || got.Meta == nil || got.Key == nil {
			t.Errorf("a stream of all digests told %q and %d digests, parents %v; want everything", signed, digests, got.Parents)
		}
	})
}

func TestSignedPiecesAreToldWithTheSignsOfLife(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(_ context.Context, _ int, _ seed.Job, p seed.Progress) error {
			p.Meta(taskMeta())
			for i := range pieceCount {
				p.Gained(digestOf(i))
				pass(950 * time.Millisecond)
			}
			return nil
		})
		l, old := w.join(proving("p1")), w.join(request("old"))
		settle()
		if signed, _ := told(l.heard()); signed != "0" {
			t.Errorf("at the start heard of %q, want the first piece at once", signed)
		}
		before := old.updates()
		after(3900 * time.Millisecond)
		if signed, _ := told(l.heard()); signed != "0" {
			t.Errorf("before 4 s heard of %q, want the first piece alone", signed)
		}
		if n := old.updates() - before; n != 4 {
			t.Errorf("who hears digests heard %d updates, want one a piece", n)
		}
		after(600 * time.Millisecond)
		if signed, _ := told(l.heard()); signed != "0 1-4" {
			t.Errorf("with the sign of life heard of %q, want what came meanwhile", signed)
		}
		after(2500 * time.Millisecond)
		if signed, _ := told(l.heard()); signed != "0 1-4 5-7" || !l.heard().Complete {
			t.Errorf("at the end heard of %q, complete %v; want all at once with the last piece", signed, l.heard().Complete)
		}
	})
}

func TestWhatTheSeedDidNotReadIsToldWithItsDigest(t *testing.T) {
	t.Parallel()
	t.Run("adopted from a peer, the rest fetched", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, bring)
			w.join(holdingRequest("holder", 0, 1, 2))
			after(time.Second)
			l := w.join(proving("p1"))
			settle()
			if signed, digests := told(l.heard()); signed != "3-7" || digests != 3 || l.heard().Key == nil {
				t.Errorf("heard of %q and %d digests, key %v; want those of the holder with digests", signed, digests, l.heard().Key)
			}
			if p := w.Prove(taskID, 1, piece.Digest(digestOf(1).SHA256)); p != nil {
				t.Error("a piece is proven that the seed does not have")
			}
		})
	})
	t.Run("read by an elected peer", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, down)
			w.join(proving("source"))
			l := w.join(proving("p1"))
			settle()
			meta := taskMeta()
			w.report("source", api.Report{Meta: &meta, Pieces: allPieces(), Have: "0-7"})
			after(time.Second)
			if signed, digests := told(l.heard()); signed != "" || digests != pieceCount || l.heard().Key != nil {
				t.Errorf("heard of %q and %d digests, key %v; want all digests and no key", signed, digests, l.heard().Key)
			}
		})
	})
	t.Run("tiny content", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			w := newWorldWith(t, Config{}, &fakeSeed{content: []byte("hello"), fetch: func(_ context.Context, _ int, _ seed.Job, p seed.Progress) error {
				p.Meta(api.Meta{Length: 5, PieceSize: piece.MinSize})
				p.Gained(digestOf(0))
				return nil
			}})
			if u := w.register(proving("p1")); string(u.Content) != "hello" || len(u.Pieces) != 1 || u.Key != nil || !u.Complete {
				t.Errorf("the answer has content %q, %d digests, key %v; want content and digest", u.Content, len(u.Pieces), u.Key)
			}
		})
	})
}

func TestProofsAreOfWhatTheSeedReadInThisLifeOfTheTask(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		l := w.join(proving("p1"))
		settle()
		key, sum := proof.ParseKey(l.heard().Key), piece.Digest(digestOf(3).SHA256)
		p := w.Prove(taskID, 3, sum)
		if p == nil || key.Verify(p, taskID, 3) != nil {
			t.Fatalf("piece 3 is not proven: %v", p)
		}
		if w.Prove(taskID, 3, sum) != p {
			t.Error("a piece is signed a second time")
		}
		for name, none := range map[string]*proof.Proof{
			"another digest":   w.Prove(taskID, 3, piece.Digest(digestOf(4).SHA256)),
			"another task":     w.Prove(idOf("else"), 3, sum),
			"no such piece":    w.Prove(taskID, pieceCount, sum),
			"below the pieces": w.Prove(taskID, -1, sum),
		} {
			if none != nil {
				t.Errorf("%s: a proof was given", name)
			}
		}
		l.hangUp()
		after(3 * time.Minute)
		u := w.register(proving("p2"))
		after(time.Second)
		again := w.Prove(taskID, 3, sum)
		if again == nil || key.Signed(again) || proof.ParseKey(u.Key).Verify(again, taskID, 3) != nil {
			t.Errorf("in another life of the task: %v, want a proof by another key", again)
		}
	})
}

func TestNothingIsProvenWhileTheOriginIsAsked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		check error
		same  bool // what the store has is proven after
	}{"it is the same": {nil, true}, "it changed": {seed.ErrInvalid, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				fs := keptSeed(func() error {
					pass(time.Second)
					return tc.check
				})
				fs.fetch = func(context.Context, int, seed.Job, seed.Progress) error { pass(time.Hour); return nil }
				w := newWorldWith(t, Config{}, fs)
				r := mutable("p1")
				r.Proofs = true
				l, sum := w.join(r), piece.Digest(digestOf(3).SHA256)
				settle()
				if l.heard().Key != nil || w.Prove(taskID, 3, sum) != nil {
					t.Error("before the origin answered there are a key or proofs")
				}
				after(2 * time.Second)
				if p := w.Prove(taskID, 3, sum); (p != nil) != tc.same {
					t.Errorf("after the answer: %v, want a proof: %v", p, tc.same)
				}
			})
		})
	}
}

func TestAPeerThatChecksProofsHearsChangesOfItsParents(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		l := w.join(proving("p1"))
		second := w.join(request("p2"))
		w.join(request("p3"))
		after(time.Second)
		got := l.heard()
		if whole, more := names(got.Parents), names(got.More); !slices.Equal(whole, []string{seedName}) || !slices.Equal(more, []string{"p2", "p3"}) || got.Less != nil {
			t.Errorf("heard of %v, more %v and less %v; want the seed, then the others", whole, more, got.Less)
		}
		second.hangUp()
		after(10 * time.Second)
		if got := l.heard(); !slices.Equal(got.Less, []string{"p2"}) || len(got.More) != 2 {
			t.Errorf("after one left heard of more %v and less %v, want it alone less", names(got.More), got.Less)
		}
		all := w.listenTo("p1", 0, true)
		settle()
		if got := names(all.heard().Parents); !slices.Equal(got, []string{seedName, "p3"}) {
			t.Errorf("a stream that begins anew told %v, want the whole list", got)
		}
	})
}

func TestAPeerThatRegistersAnewWithoutProofsHearsOfItsParentsOnItsOldStream(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, bring)
		l := w.join(proving("p1"))
		settle()
		w.register(request("p1"))
		for _, name := range []string{"p2", "p3", "p4"} {
			w.join(request(name))
		}
		after(time.Second)
		got := l.heard()
		list := slices.Concat(got.Parents, got.More)
		for _, name := range []string{"p2", "p3", "p4"} {
			if !slices.ContainsFunc(list, func(v api.Parent) bool { return v.Peer == name }) {
				t.Errorf("the stream did not tell of %s: %+v", name, got)
			}
		}
	})
}
