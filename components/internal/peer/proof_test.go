package peer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
)

// checking is a download that takes proofs of a key, and knows the digests of the pieces without.
type checking struct {
	*download
	key proof.Key
}

func (c checking) Digest(ctx context.Context, i int, p *proof.Proof) (piece.Digest, error) {
	if p == nil || !c.key.Signed(p) {
		return c.download.Digest(ctx, i, nil)
	}
	return p.Digest, c.key.Verify(p, testID, i)
}

// proven is an answer for pieces [first, first+count) with a header of proofs.
func proven(d *download, first, count int, proofs string) string {
	off, end := bounds(d.Layout(), first, count)
	h := strings.TrimSuffix(head(off, end, len(d.body)), "\r\n")
	return fmt.Sprintf("%s%s: %s\r\n\r\n%s", h, api.HeaderProof, proofs, d.body[off:end])
}

func TestProofsOfAParent(t *testing.T) {
	t.Parallel()
	d := newDownload(t, 4)
	signer, stranger := proof.NewSigner(), proof.NewSigner()
	of := func(s *proof.Signer, task string, i, as int) *proof.Proof {
		sum, _ := d.Digest(t.Context(), i, nil)
		p := s.Sign(task, as, sum)
		return &p
	}
	good := func(i int) *proof.Proof { return of(signer, testID, i, i) }
	lie := *good(1)
	lie.Digest = piece.Sum([]byte("else"))
	elsewhere := signer.Sign(testID, 1, piece.Sum([]byte("else")))
	list := func(p ...*proof.Proof) string { return proof.FormatList(p) }
	both := []string{"piece 1 65536 true", "piece 2 65536 true", "ended 1 0 131072"}
	wrong := []string{"wrong 1", "ended 1 3 0"}
	for _, tc := range []struct {
		name, proofs string
		want         []string
	}{
		{"of each piece", list(good(1), good(2)), both},
		{"none", "", both},
		{"of the first alone", list(good(1)), both},
		{"of the last alone", list(nil, good(2)), both},
		{"by another key", list(of(stranger, testID, 1, 1), good(2)), both},
		{"of another piece", list(good(2), good(1)), wrong},
		{"signed for another piece", list(of(signer, testID, 1, 2), good(2)), wrong},
		{"of another task", list(of(signer, strings.Repeat("f", 64), 1, 1), good(2)), wrong},
		{"of another digest", list(&lie, good(2)), wrong},
		{"of other bytes", list(&elsewhere, good(2)), []string{"wrong 1", "ended 1 3 65536"}},
		{"wrong for the second piece", list(good(1), good(1)), []string{"piece 1 65536 true", "wrong 2", "ended 1 3 65536"}},
		{"of more than the run", list(good(1), good(2), good(3)), wrong},
		{"truncated", list(good(1), good(2))[:250], wrong},
		{"no base64", "?", wrong},
		{"commas", ",,,,", wrong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			fresh := newDownload(t, 4)
			p, e := newParent(t, proven(d, 1, 2, tc.proofs)), make(events, 64)
			l := Open(Config{Self: "me", Log: slog.New(slog.DiscardHandler)}, api.Parent{Peer: "p", Addrs: []string{p.Addr().String()}, Seed: true},
				checking{fresh, proof.ParseKey(signer.Key())}, e)
			t.Cleanup(l.Close)
			l.Send(Request{ID: 1, First: 1, Count: 2})
			e.expect(t, tc.want...)
		})
	}
}

func TestTheProofsOfTheLongestRunFitIntoAHead(t *testing.T) {
	t.Parallel()
	all := make([]*proof.Proof, proof.MaxList)
	for i := range all {
		all[i] = &proof.Proof{}
	}
	if n := len(proof.FormatList(all)); n > maxHead/2 {
		t.Errorf("%d proofs are %d bytes, want at most half of a head of %d", proof.MaxList, n, maxHead)
	}
}
