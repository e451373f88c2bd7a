package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

func sums(indices ...int) Pieces {
	var p Pieces
	for _, i := range indices {
		p = append(p, Piece{Index: i, SHA256: bytes.Repeat([]byte{byte(i + 1)}, sumSize)})
	}
	return p
}

func TestPiecesReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		pieces  Pieces
		objects int
	}{
		"one":                     {sums(7), 1},
		"a row":                   {sums(3, 4, 5, 6), 1},
		"two rows":                {sums(3, 4, 9, 10), 2},
		"in falling order":        {sums(5, 4, 3), 3},
		"the same again":          {sums(5, 5), 2},
		"a row, and back into it": {sums(1, 2, 3, 2, 3), 2},
	} {
		b, err := json.Marshal(struct{ P Pieces }{tt.pieces})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got struct{ P Pieces }
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %s is not read: %v", name, b, err)
		}
		if !reflect.DeepEqual(got.P, tt.pieces) {
			t.Errorf("%s: got %v, want %v", name, got.P, tt.pieces)
		}
		if n := bytes.Count(b, []byte(`"i":`)); n != tt.objects {
			t.Errorf("%s: %d objects, want %d: %s", name, n, tt.objects, b)
		}
	}
}

func TestPiecesThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no digest":           `[{"i":0}]`,
		"half a digest":       `[{"i":0,"d":"AAAA"}]`,
		"one and a half":      `[{"i":0,"d":"` + string(bytes.Repeat([]byte("AAAA"), 16)) + `"}]`,
		"an index below zero": `[{"i":-1,"d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]`,
		"no list":             `{"i":0}`,
		"no base64":           `[{"i":0,"d":"?"}]`,
	} {
		var p Pieces
		if err := json.Unmarshal([]byte(text), &p); err == nil {
			t.Errorf("%s: %s was taken as %v", name, text, p)
		}
	}
}

func FuzzPieces(f *testing.F) {
	for _, p := range []Pieces{sums(0), sums(1, 2, 3), sums(4, 1, 2)} {
		f.Add(p.AppendJSON(nil))
	}
	f.Add([]byte(`[{"i":9223372036854775807,"d":"AAAA"}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Pieces
		if json.Unmarshal(b, &p) != nil || len(p) == 0 {
			return
		}
		var again Pieces
		if err := json.Unmarshal(p.AppendJSON(nil), &again); err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%v was written and read as %v, %v", p, again, err)
		}
	})
}
