package supernode

import (
	"io"
	"net/http"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
)

func TestDigestsTravelWithThePiecesOfARealSeed(t *testing.T) {
	t.Parallel()
	blob := content(4 << 20)
	id := idOf(blob)
	url, _ := serveOrigin(t, blob)
	s := start(t, nil)
	req := registration("p1", url, "sha256:"+id)
	req.Proofs = true
	var u api.Update
	call(t, http.MethodPost, base(s)+api.RegisterPath(id), req, &u)
	u = follow(t, s, id, "p1", u, complete)
	if len(u.Pieces) != 0 || u.Signed == "" || len(u.Key) != proof.KeySize {
		t.Fatalf("heard of %d digests, signed pieces %q and a key of %d bytes; want no digests", len(u.Pieces), u.Signed, len(u.Key))
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.DownloadAddr().String()+api.DownloadPath(id), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Range", "bytes=131072-327679") // pieces 2, 3 and 4
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != string(blob[131072:327680]) {
		t.Fatalf("got %d bytes, %v", len(body), err)
	}
	list, err := proof.ParseList(resp.Header.Get(api.HeaderProof), 3)
	if err != nil || len(list) != 3 {
		t.Fatalf("got %d proofs, %v; want 3", len(list), err)
	}
	for k, p := range list {
		i := 2 + k
		if err := proof.ParseKey(u.Key).Verify(p, id, i); err != nil || p.Digest != piece.Sum(blob[i*piece.MinSize:(i+1)*piece.MinSize]) {
			t.Errorf("piece %d: %v, digest %s", i, err, p.Digest)
		}
	}
	all := followAt(t, base(s)+api.AllDigestsPath(id, "p1"), api.Update{}, complete)
	if len(all.Pieces) != 64 || all.Signed != "" {
		t.Errorf("a stream of all digests told %d, signed pieces %q; want 64 and none", len(all.Pieces), all.Signed)
	}
}
