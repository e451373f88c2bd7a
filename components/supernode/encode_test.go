package supernode

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func pieceList(n int) []api.Piece {
	var list []api.Piece
	for i := range n {
		d := make([]byte, 32)
		d[0], d[31] = byte(i), 0xff
		list = append(list, api.Piece{Index: i, SHA256: d})
	}
	return list
}

func TestAnUpdateReadsAsItWasWritten(t *testing.T) {
	t.Parallel()
	for name, u := range map[string]api.Update{
		"a sign of life":          {},
		"pieces alone":            {Pieces: pieceList(3)},
		"one piece and its count": {Pieces: pieceList(1), Seq: 1},
		"everything": {
			Meta:   &api.Meta{Length: 5, PieceSize: 64 << 10, Header: map[string]string{"Etag": `"<&>"`}, Public: true},
			Pieces: pieceList(1024), Seq: 7, Content: []byte("content"), Parents: []api.Parent{{Peer: "p", Addrs: []string{"10.0.0.1:1"}}},
			More: []api.Parent{{Peer: "q", Addrs: []string{"10.0.0.2:1"}}}, Less: []string{"p"},
			Signed: "0-17,19", Key: []byte("key"), Ticket: "t", Source: true, Complete: true, Failed: &api.Error{Code: "X", Message: `say "no"`, Status: 404},
		},
	} {
		line, err := appendUpdate([]byte("before"), u)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got api.Update
		if err := json.Unmarshal(line[len("before"):], &got); err != nil {
			t.Errorf("%s: %.200s is not read: %v", name, line, err)
		}
		if diff := cmp.Diff(u, got); diff != "" {
			t.Errorf("%s: written and read (-want +got):\n%s", name, diff)
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	u := api.Update{Pieces: pieceList(1024), Seq: 1024}
	b.ReportAllocs()
	for b.Loop() {
		if err := withUpdate(&u, func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
