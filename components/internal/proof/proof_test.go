package proof

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

const (
	task  = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	other = "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

func TestAProofHoldsForItsPieceAndForNothingElse(t *testing.T) {
	t.Parallel()
	s := NewSigner()
	key := ParseKey(s.Key())
	sum := piece.Sum([]byte("content"))
	for _, tc := range []struct {
		name   string
		task   string
		index  int
		change func(*Proof)
		signed bool // claims to be of the key
		err    error
	}{
		{"as it was signed", task, 7, func(*Proof) {}, true, nil},
		{"for another piece", task, 8, func(*Proof) {}, true, ErrWrong},
		{"for another task", other, 7, func(*Proof) {}, true, ErrWrong},
		{"for another digest", task, 7, func(p *Proof) { p.Digest[0] ^= 1 }, true, ErrWrong},
		{"with a bit of the signature turned", task, 7, func(p *Proof) { p.signature[9] ^= 1 }, true, ErrWrong},
		{"without signature", task, 7, func(p *Proof) { p.signature = [64]byte{} }, true, ErrWrong},
		{"that names another key", task, 7, func(p *Proof) { p.keyID[0] ^= 1 }, false, ErrWrong},
		{"of another signer", task, 7, func(p *Proof) { *p = NewSigner().Sign(task, 7, sum) }, false, ErrWrong},
		{"of another signer that claims to be of this one", task, 7, func(p *Proof) {
			id := p.keyID
			*p = NewSigner().Sign(task, 7, sum)
			p.keyID = id
		}, true, ErrWrong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := s.Sign(task, 7, sum)
			tc.change(&p)
			if got := key.Signed(&p); got != tc.signed {
				t.Errorf("Signed = %v, want %v", got, tc.signed)
			}
			if err := key.Verify(&p, tc.task, tc.index); !errors.Is(err, tc.err) {
				t.Errorf("Verify = %v, want %v", err, tc.err)
			}
			if err := (Key{}).Verify(&p, tc.task, tc.index); !errors.Is(err, ErrWrong) {
				t.Errorf("without a key: %v, want ErrWrong", err)
			}
		})
	}
}

func TestOnlyWhatHasTheLengthOfAKeyIsOne(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, KeySize - 1, KeySize + 1, 4096} {
		if !ParseKey(make([]byte, n)).IsZero() {
			t.Errorf("%d bytes were taken as a key", n)
		}
	}
	if ParseKey(NewSigner().Key()).IsZero() {
		t.Error("a key was not taken")
	}
}

func list(n int, holes ...int) []*Proof {
	s := NewSigner()
	var all []*Proof
	for i := range n {
		p := s.Sign(task, i, piece.Sum([]byte{byte(i)}))
		all = append(all, &p)
	}
	for _, i := range holes {
		all[i] = nil
	}
	return all
}

func TestListsReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		list []*Proof
		want int // words
	}{
		"none":               {nil, 0},
		"one":                {list(1), 1},
		"three":              {list(3), 3},
		"a hole in front":    {list(3, 0), 3},
		"a hole between":     {list(3, 1), 3},
		"a hole at the end":  {list(3, 2), 2},
		"nothing but holes":  {list(3, 0, 1, 2), 0},
		"as many as may be":  {list(MaxList), MaxList},
		"holes on both ends": {list(4, 0, 3), 3},
	} {
		text := FormatList(tc.list)
		got, err := ParseList(text, len(tc.list))
		if err != nil || len(got) != tc.want {
			t.Errorf("%s: got %d proofs, %v; want %d", name, len(got), err, tc.want)
			continue
		}
		for i, p := range got {
			if (p == nil) != (tc.list[i] == nil) || p != nil && *p != *tc.list[i] {
				t.Errorf("%s: proof %d is another one", name, i)
			}
		}
	}
}

func TestListsThatNobodyOfOursSendsAreWrong(t *testing.T) {
	t.Parallel()
	good := FormatList(list(2))
	first, _, _ := strings.Cut(good, ",")
	for name, tc := range map[string]struct {
		text  string
		count int
	}{
		"more than pieces":            {good, 1},
		"commas without end":          {strings.Repeat(",", 1<<20), 1 << 24},
		"more than a head may have":   {FormatList(list(MaxList)) + "," + first, 1 << 24},
		"truncated":                   {good[:len(good)-3], 2},
		"a byte too long":             {first + "AA", 2},
		"two proofs without a comma":  {first + first, 2},
		"padded":                      {first + "=", 2},
		"another alphabet":            {"+/+/" + first[4:], 2},
		"no base64":                   {"?", 2},
		"bits behind the last byte":   {first[:len(first)-1] + "_", 2},
		"a word of something shorter": {good + "," + "AAAA", 3},
	} {
		if got, err := ParseList(tc.text, tc.count); !errors.Is(err, ErrWrong) {
			t.Errorf("%s: got %d proofs, %v; want ErrWrong", name, len(got), err)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add("", 0)
	f.Add(",", 2)
	f.Add(FormatList(list(1)), 1)
	f.Add(FormatList(list(3, 1)), 3)
	f.Add(FormatList(list(2))+",x", 9)
	f.Fuzz(func(t *testing.T, text string, count int) {
		got, err := ParseList(text, count)
		if err != nil {
			return
		}
		if len(got) > max(0, count) || len(got) > MaxList {
			t.Fatalf("%d proofs of %d pieces", len(got), count)
		}
		again, err := ParseList(FormatList(got), count)
		if err != nil || len(again) > len(got) {
			t.Fatalf("read again as %d proofs, %v; were %d", len(again), err, len(got))
		}
		same := slices.EqualFunc(again, got[:len(again)], func(a, b *Proof) bool {
			return (a == nil) == (b == nil) && (a == nil || *a == *b && bytes.Equal(a.bytes(), b.bytes()))
		})
		if !same {
			t.Fatal("read again as other proofs")
		}
	})
}

func BenchmarkSign(b *testing.B) {
	s, sum := NewSigner(), piece.Sum(nil)
	for b.Loop() {
		s.Sign(task, 1, sum)
	}
}

func BenchmarkVerify(b *testing.B) {
	s := NewSigner()
	p, key := s.Sign(task, 1, piece.Sum(nil)), ParseKey(s.Key())
	for b.Loop() {
		if err := key.Verify(&p, task, 1); err != nil {
			b.Fatal(err)
		}
	}
}
