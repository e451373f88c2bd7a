package dfget

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/localapi"
)

// lender is a source whose content is in a file of its own.
type lender struct {
	t    *testing.T
	path string
	// fail ends the content behind 10 bytes, move is what Move returns.
	fail, move error
	fetched    []int64
	moved      bool
}

// lenderFile passes over ten bytes at a time.
type lenderFile struct {
	*lender
	at int64
}

func (l *lender) Fetch(_ context.Context, req api.FetchRequest) (*localapi.Content, error) {
	l.fetched = append(l.fetched, req.Offset)
	replace(l.t, l.path, text)
	return &localapi.Content{
		Task: "task", Length: int64(len(text)), Header: map[string]string{"Etag": `"v1"`}, File: &lenderFile{lender: l},
		Body: io.NopCloser(strings.NewReader(text[req.Offset:])), Shares: func() api.Shares { return api.Shares{FromPeers: int64(len(text))} },
	}, nil
}

func (f *lenderFile) Held() int64 { return int64(len(text)) }

func (f *lenderFile) Skip() (int64, error) {
	if f.fail != nil && f.at > 0 {
		return 0, f.fail
	}
	n := min(10, int64(len(text))-f.at)
	f.at += n
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (f *lenderFile) Move(path string, perm os.FileMode) error {
	if f.move != nil {
		return f.move
	}
	f.moved = true
	if err := os.Chmod(f.path, perm); err != nil {
		return err
	}
	return os.Rename(f.path, path)
}

func TestAFileOfASourceBecomesTheOutput(t *testing.T) {
	t.Parallel()
	right := "sha256:d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592" // of text
	for name, tc := range map[string]struct {
		lender  lender
		digests []string
		begun   string // of an earlier call
		moved   bool
		offsets []int64 // asked for
		code    int
	}{
		"at once":                        {moved: true, offsets: []int64{0}},
		"where its digest is right":      {digests: []string{right}, moved: true, offsets: []int64{0}},
		"not where its digest is wrong":  {digests: []string{emptySHA}, offsets: []int64{0}, code: ExitDigest},
		"not where it can't be moved":    {lender: lender{move: errors.ErrUnsupported}, offsets: []int64{0, 0}},
		"not where moving it fails":      {lender: lender{move: errors.New("disk")}, offsets: []int64{0}, code: ExitOutput},
		"not where a beginning is there": {begun: text[:20], offsets: []int64{20}},
		"not where it ends early":        {lender: lender{fail: &api.Error{Code: api.CodeOrigin, Status: 500}}, offsets: []int64{0}, code: ExitUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, out := t.TempDir(), t.TempDir()
			l := tc.lender
			l.t, l.path = t, filepath.Join(dir, "data")
			c := Config{URL: "http://h/f", Output: filepath.Join(out, "f"), Pattern: api.PatternP2P, Digests: tc.digests}
			if tc.begun != "" {
				o := open(t, c.Output)
				begin(t, o, identity{Task: "task", Length: int64(len(text)), ETag: `"v1"`}, tc.begun)
				o.Close(true)
			}
			g := &get{cfg: &c, streams: Streams{Err: io.Discard}, log: quiet, sources: []source{{name: "lender", open: func(context.Context) (localapi.Fetcher, func(bool), error) {
				return &l, func(bool) {}, nil
			}}}}
			err := g.run(t.Context())
			if e, _ := errors.AsType[*Error](err); tc.code == 0 && err != nil || tc.code != 0 && (e == nil || e.Code != tc.code) {
				t.Fatalf("got %v, want exit code %d", err, tc.code)
			}
			if l.moved != tc.moved {
				t.Errorf("moved: %v, want %v", l.moved, tc.moved)
			}
			if len(l.fetched) != len(tc.offsets) || l.fetched[0] != tc.offsets[0] {
				t.Errorf("asked for offsets %v, want %v", l.fetched, tc.offsets)
			}
			if tc.code != 0 {
				if got := files(t, out); len(got) != 0 {
					t.Errorf("left %q", got)
				}
				return
			}
			wantFile(t, c.Output, text)
			info, err := os.Stat(c.Output)
			plain, err2 := os.Create(filepath.Join(dir, "plain"))
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			defer plain.Close()
			if want, err := plain.Stat(); err != nil || info.Mode() != want.Mode() {
				t.Errorf("permissions %v, want those of any new file, %v", info.Mode(), want.Mode())
			}
		})
	}
}

func TestTheNextSourceDoesNotTrustAFileThatItDoesNotHave(t *testing.T) {
	t.Parallel()
	l := &lender{t: t, path: filepath.Join(t.TempDir(), "data"), fail: &api.Error{Code: api.CodeInternal}}
	next := &fake{t: t, steps: []step{{}}}
	var kept []bool
	first := source{name: "lender", open: func(context.Context) (localapi.Fetcher, func(bool), error) {
		return l, func(keep bool) { kept = append(kept, keep) }, nil
	}}
	c := Config{URL: "http://h/f", Output: filepath.Join(t.TempDir(), "f"), Pattern: api.PatternP2P}
	g := &get{cfg: &c, streams: Streams{Err: io.Discard}, log: quiet, sources: []source{first, next.source("next")}}
	if err := g.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(next.asked) != 1 || next.asked[0] != 0 {
		t.Errorf("the next source was asked for offsets %v, want 0", next.asked)
	}
	if len(kept) != 1 || kept[0] {
		t.Errorf("the first was told to keep %v; its pieces take the room that the file needs", kept)
	}
	wantFile(t, c.Output, text)
}
