package store

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

func TestRecord(t *testing.T) {
	t.Parallel()
	for _, r := range []record{
		{kind: recordHeld, index: 0, bytes: 1, epoch: 1, digest: piece.Sum(nil)},
		{kind: recordHeld, index: piece.MaxCount - 1, bytes: piece.MaxSize, epoch: 1<<64 - 1},
		{kind: recordDropped, index: 7},
	} {
		b := r.encode()
		if got, ok := decodeRecord(b); len(b) != recordSize || !ok || got != r {
			t.Errorf("%+v: %d bytes, read back as %+v, %v", r, len(b), got, ok)
		}
		for i := range b {
			b[i] ^= 1
			if got, ok := decodeRecord(b); ok {
				t.Errorf("%+v with byte %d changed is taken for %+v", r, i, got)
			}
			b[i] ^= 1
		}
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "zero bytes": make([]byte, recordSize), "too short": record{kind: recordHeld}.encode()[1:],
		"an unknown kind": record{kind: 3}.encode(),
	} {
		if r, ok := decodeRecord(b); ok {
			t.Errorf("%s: taken for %+v", name, r)
		}
	}
}

// held is a record of a full piece, verified in epoch 5.
func held(index int) record {
	return record{kind: recordHeld, index: index, bytes: testSize, epoch: 5, digest: piece.Sum([]byte{byte(index)})}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	short := func(index int) record { r := held(index); r.bytes = 100; return r }
	old := func(index int) record { r := held(index); r.epoch = 4; return r }
	drop := func(index int) record { return record{kind: recordDropped, index: index} }
	other := held(1)
	other.digest = piece.Sum([]byte("other"))
	for _, row := range []struct {
		name    string
		length  int64
		records []record
		held    []int
		suspect []int
		end     int64
	}{
		{"nothing", -1, nil, nil, nil, -1},
		{"in the order gained", 4 * testSize, []record{held(2), held(0)}, []int{0, 2}, nil, -1},
		{"dropped", 4 * testSize, []record{held(2), held(0), drop(2)}, []int{0}, nil, -1},
		{"dropped and gained again", 4 * testSize, []record{held(2), drop(2), held(2)}, []int{2}, nil, -1},
		{"dropped without being held", 4 * testSize, []record{drop(2)}, nil, nil, -1},
		{"from an earlier epoch", 4 * testSize, []record{old(2), held(1)}, []int{1, 2}, []int{2}, -1},
		{"verified again in this one", 4 * testSize, []record{old(2), held(2)}, []int{2}, nil, -1},
		{"the last record counts", 4 * testSize, []record{held(1), old(1)}, []int{1}, []int{1}, -1},
		{"a last piece of known length", 3*testSize + 100, []record{short(3), held(0)}, []int{0, 3}, nil, -1},
		{"a short piece before the end", 4 * testSize, []record{short(3)}, nil, nil, -1},
		{"behind the end", 2 * testSize, []record{held(2), held(1 << 20)}, nil, nil, -1},
		{"a short piece ends what has no length", -1, []record{held(0), short(3)}, []int{0, 3}, nil, 3*testSize + 100},
		{"a short piece told twice", -1, []record{short(3), held(0), short(3)}, []int{0, 3}, nil, 3*testSize + 100},
		{"a short piece dropped", -1, []record{short(3), drop(3), held(4)}, []int{4}, nil, -1},
		{"behind a short piece", -1, []record{short(3), held(4), short(2)}, []int{3}, nil, 3*testSize + 100},
		{"outside the file", -1, []record{held(99), held(98)}, []int{98}, nil, -1},
		{"no bytes", -1, []record{{kind: recordHeld, index: 1}}, nil, nil, -1},
	} {
		var b bytes.Buffer
		for _, r := range row.records {
			b.Write(r.encode())
		}
		b.WriteString("a torn tail")
		l := newLedger(api.Meta{Length: row.length, PieceSize: testSize})
		end, err := l.replay(&b, 99*testSize, 5)
		if err != nil || end != int64(len(row.records))*recordSize {
			t.Errorf("%s: replay = %d, %v", row.name, end, err)
		}
		list := func(is []int) []int { return append([]int{}, is...) }
		var suspect []int
		for i := range l.suspect.EachSet() {
			suspect = append(suspect, int(i))
		}
		if d := cmp.Diff(list(row.held), list(l.log)); d != "" || l.count != len(row.held) || l.end != row.end {
			t.Errorf("%s: held (-want +got), count %d, end %d, want end %d:\n%s", row.name, l.count, l.end, row.end, d)
		}
		if d := cmp.Diff(list(row.suspect), list(suspect)); d != "" {
			t.Errorf("%s: suspect (-want +got):\n%s", row.name, d)
		}
	}
}

// Whatever a journal holds, what is read of it fits the content and the file, and is told by a record that is whole.
func FuzzReplay(f *testing.F) {
	good := append(held(0).encode(), held(1).encode()...)
	short := held(2)
	short.bytes = 9
	f.Add(good, int64(2*testSize))
	f.Add(append(good, short.encode()...), int64(-1))
	f.Add(good[:recordSize+7], int64(testSize+1))
	f.Add(append(record{kind: recordDropped, index: 1}.encode(), good...), int64(-1))
	f.Fuzz(func(t *testing.T, journal []byte, length int64) {
		meta := api.Meta{Length: length, PieceSize: testSize}
		if checkMeta(meta) != nil {
			return
		}
		resum(journal)
		const size = 1000 * testSize
		l := newLedger(meta)
		end, err := l.replay(bytes.NewReader(journal), size, 5)
		if err != nil || end > int64(len(journal)) || len(journal)-int(end) >= recordSize {
			t.Fatalf("replay of %d bytes = %d, %v", len(journal), end, err)
		}
		if len(l.digests) != l.count || int(l.held.Count()) != l.count || len(l.log) != l.count || !l.held.IsSuperSet(&l.suspect) {
			t.Fatalf("count %d, %d digests, held %v, log %v, suspect %v", l.count, len(l.digests), &l.held, l.log, &l.suspect)
		}
		for _, i := range l.log {
			off, _ := l.layout().Range(i)
			if n := l.size(i); n < 1 || off+n > size || length >= 0 && off+n > length || l.end >= 0 && off+n > l.end {
				t.Fatalf("piece %d of %d bytes at %d: length %d, end %d", i, n, off, length, l.end)
			}
		}
		if l.count > 0 {
			ready, _, _ := l.span(int64(l.log[0])*testSize, 1<<40)
			if suspect := l.suspect.Test(uint(l.log[0])); suspect != (ready == 0) {
				t.Fatalf("span of the first held piece = %d, suspect %v", ready, suspect)
			}
		}
	})
}

// resum gives most records of a fuzzed journal a right checksum, as no fuzzer finds one.
func resum(journal []byte) {
	for at := 0; at+recordSize <= len(journal); at += recordSize {
		b := journal[at : at+recordSize]
		if b[recordSize-1]%8 == 0 {
			continue
		}
		r := record{kind: recordKind(b[3]%2 + 1), index: int(b[0]), bytes: int64(b[4]) | int64(b[5])<<8 | int64(b[6])<<16, epoch: uint64(b[8] % 8)}
		copy(b, r.encode())
	}
}

func FuzzParseMeta(f *testing.F) {
	id := testID("a")
	f.Add(`{"version":1,"id":"` + id + `","meta":{"length":5,"piece_size":65536,"header":{"Etag":"x"}},"complete":true}`)
	f.Add(`{"version":2}`)
	f.Add(`{"version":1,"id":"` + id + `","meta":{"length":9223372036854775807,"piece_size":1}}`)
	f.Add("\x00\x00")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMeta(strings.NewReader(text), id)
		if err != nil {
			return
		}
		if m.ID != id || m.Version != metaVersion || checkMeta(m.Meta) != nil {
			t.Fatalf("%q is taken for %+v", text, m)
		}
		l := newLedger(m.Meta)
		if n := l.layout().Count(); n > piece.MaxCount {
			t.Fatalf("%q has %d pieces", text, n)
		}
		_, _, _ = l.span(rand.Int64N(1<<50), 1<<30)
	})
}
