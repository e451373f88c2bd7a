package upload

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
)

// signing is a Prover that proves all but piece 1, and a Picker that gives pieces 0 to 2.
type signing struct{ *proof.Signer }

func (s signing) Prove(task string, i int, d piece.Digest) *proof.Proof {
	if i == 1 {
		return nil
	}
	p := s.Sign(task, i, d)
	return &p
}

func (signing) Pick(context.Context, string, int64) (off, n int64, err error) {
	return 0, 3 * piece.MinSize, nil
}

func (signing) Return(string, int64, int64) {}

func TestAnswersBringTheProofsOfTheirPieces(t *testing.T) {
	t.Parallel()
	signer := proof.NewSigner()
	key := proof.ParseKey(signer.Key())
	run := fmt.Sprintf("bytes=0-%d", 3*piece.MinSize-1)
	peer := func(r *rig) { // it got proofs with pieces 0 and 2
		for _, i := range []int{0, 2, 3} {
			d, _ := r.task.Digest(i)
			p := signer.Sign(testID, i, d)
			r.task.Prove(i, &p)
		}
	}
	seed := func(r *rig) { r.deps.Prover, r.deps.Picker = signing{signer}, signing{signer} }
	for _, tc := range []struct {
		name   string
		make   func(*rig)
		path   string
		rng    string
		status int
		want   []int // the pieces that are proven, -1 for a gap
	}{
		{"a peer passes on what it got", peer, api.DownloadPath(testID), run, http.StatusPartialContent, []int{0, -1, 2}},
		{"a peer that got none has none", func(*rig) {}, api.DownloadPath(testID), run, http.StatusPartialContent, nil},
		{"a seed signs a range", seed, api.DownloadPath(testID), run, http.StatusPartialContent, []int{0, -1, 2}},
		{"a seed signs its choice", seed, api.PickPath(testID, 1<<20), "", http.StatusPartialContent, []int{0, -1, 2}},
		{"a range within pieces has none", seed, api.DownloadPath(testID), "bytes=5-70000", http.StatusPartialContent, nil},
		{"a refusal has none", seed, api.DownloadPath(testID), "bytes=196608-196609", http.StatusNotFound, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			tc.make(r)
			resp, _ := r.get(t, tc.path, tc.rng, "good")
			if resp.StatusCode != tc.status {
				t.Fatalf("got %s, want %d", resp.Status, tc.status)
			}
			list, err := proof.ParseList(resp.Header.Get(api.HeaderProof), 3)
			if err != nil || len(list) != len(tc.want) {
				t.Fatalf("got %d proofs, %v; want %v", len(list), err, tc.want)
			}
			for k, i := range tc.want {
				switch p := list[k]; {
				case i < 0 && p != nil:
					t.Errorf("piece %d has a proof", k)
				case i >= 0 && (p == nil || key.Verify(p, testID, i) != nil):
					t.Errorf("piece %d has no proof that holds", i)
				}
			}
		})
	}
}
