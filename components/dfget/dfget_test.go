package dfget

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/localapi"
)

var quiet = slog.New(slog.DiscardHandler)

const text = "The quick brown fox jumps over the lazy dog"

// step is one answer of a fake source: the content from the offset asked for, up to byte stop, and then err.
type step struct {
	err  error // before the content
	stop int   // 0 for the end
	then error // behind stop
	etag string
	text string // default text
}

// fake is a source that takes the steps one by one.
type fake struct {
	t       *testing.T
	steps   []step
	asked   []int64 // offsets
	openErr error
	kept    []bool // what shut was told
}

func (f *fake) source(name string) source {
	return source{name: name, open: func(context.Context) (localapi.Fetcher, func(bool), error) {
		if f.openErr != nil {
			return nil, nil, f.openErr
		}
		return f, func(keep bool) { f.kept = append(f.kept, keep) }, nil
	}}
}

func (f *fake) Fetch(_ context.Context, req api.FetchRequest) (*localapi.Content, error) {
	f.asked = append(f.asked, req.Offset)
	if len(f.steps) == 0 {
		f.t.Fatalf("asked for offset %d, one time too often", req.Offset)
	}
	s := f.steps[0]
	f.steps = f.steps[1:]
	if s.err != nil {
		return nil, s.err
	}
	if s.text == "" {
		s.text = text
	}
	if s.etag == "" {
		s.etag = `"v1"`
	}
	if s.stop == 0 {
		s.stop = len(s.text)
	}
	if s.then == nil {
		s.then = io.EOF
	}
	return &localapi.Content{
		Task: "task", Length: int64(len(s.text)), Header: map[string]string{"Etag": s.etag},
		Body:   io.NopCloser(io.MultiReader(strings.NewReader(s.text[req.Offset:s.stop]), failing{s.then})),
		Shares: func() api.Shares { return api.Shares{FromPeers: int64(s.stop) - req.Offset} },
	}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// download runs a get over the fakes, to a file or, with "-", to a buffer.
func download(t *testing.T, c Config, fakes ...*fake) (out, talk string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.URL = "http://h/f"
	if c.Pattern = api.PatternP2P; c.Output == "" {
		c.Output = "-"
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	g := &get{cfg: &c, streams: Streams{Out: &stdout, Err: &stderr}, log: quiet}
	for i, f := range fakes {
		f.t = t
		g.sources = append(g.sources, f.source(fmt.Sprint("source ", i)))
	}
	err = g.run(t.Context())
	return stdout.String(), stderr.String(), err
}

func TestSourcesTakeOver(t *testing.T) {
	t.Parallel()
	gone := fmt.Errorf("%w: it went away", localapi.ErrNoDaemon)
	for name, tc := range map[string]struct {
		first, second fake
		asked         [2]int // times
	}{
		"the first does it all":               {first: fake{steps: []step{{}}}, asked: [2]int{1, 0}},
		"the first is not there":              {first: fake{openErr: gone}, second: fake{steps: []step{{}}}, asked: [2]int{0, 1}},
		"the first goes away at once":         {first: fake{steps: []step{{err: gone}}}, second: fake{steps: []step{{}}}, asked: [2]int{1, 1}},
		"the first goes away in the middle":   {first: fake{steps: []step{{stop: 10, then: gone}}}, second: fake{steps: []step{{}}}, asked: [2]int{1, 1}},
		"the first has too much to do":        {first: fake{steps: []step{{err: &api.Error{Code: api.CodeOverloaded}}}}, second: fake{steps: []step{{}}}, asked: [2]int{1, 1}},
		"the first can't reach the origin":    {first: fake{steps: []step{{stop: 5, then: &api.Error{Code: api.CodeOrigin}}}}, second: fake{steps: []step{{}}}, asked: [2]int{1, 1}},
		"the first runs out of its own space": {first: fake{steps: []step{{stop: 5, then: &api.Error{Code: api.CodeInternal}}}}, second: fake{steps: []step{{}}}, asked: [2]int{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, talk, err := download(t, Config{}, &tc.first, &tc.second)
			if err != nil || out != text {
				t.Fatalf("got %q, %v, want the text", out, err)
			}
			if got := [2]int{len(tc.first.asked), len(tc.second.asked)}; got != tc.asked {
				t.Errorf("the sources were asked %v times, want %v", got, tc.asked)
			}
			if !strings.Contains(talk, "standard output: 43 B") || !strings.Contains(talk, "100 % from peers") {
				t.Errorf("the last line is missing in %q", talk)
			}
		})
	}
}

func TestASourceForOneKindOfFailureIsAskedAfterThatOnly(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err   error
		asked bool
	}{
		"no place for pieces":      {&api.Error{Code: api.CodeInternal}, true},
		"the origin is not there":  {&api.Error{Code: api.CodeOrigin}, false},
		"a source that left":       {localapi.ErrNoDaemon, false},
		"content that is not real": {&api.Error{Code: api.CodeInvalid}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, last := fake{t: t, steps: []step{{stop: 5, then: tc.err}}}, fake{t: t, steps: []step{{}}}
			final := last.source("last")
			final.after = noPlace
			var stdout, stderr bytes.Buffer
			c := Config{URL: "http://h/f", Output: "-", Pattern: api.PatternP2P}
			g := &get{cfg: &c, streams: Streams{Out: &stdout, Err: &stderr}, log: quiet, sources: []source{first.source("first"), final}}
			err := g.run(t.Context())
			if asked := len(last.asked) > 0; asked != tc.asked || asked != (err == nil) || asked && stdout.String() != text {
				t.Errorf("asked %v, got %q, %v; want asked %v", asked, stdout.String(), err, tc.asked)
			}
		})
	}
}

func TestEachFailureHasItsExitCode(t *testing.T) {
	t.Parallel()
	origin := func(status int) error {
		return fmt.Errorf("fetch: %w", &api.Error{Code: api.CodeOrigin, Status: status, Message: "m"})
	}
	for name, tc := range map[string]struct {
		config Config
		step   step
		code   int
		text   string
	}{
		"no such file at the origin":  {step: step{err: origin(404)}, code: ExitRefused, text: "(look at the URL)"},
		"not allowed at the origin":   {step: step{err: origin(401)}, code: ExitRefused, text: "--header"},
		"refused in the middle":       {step: step{stop: 5, then: origin(403)}, code: ExitRefused},
		"the origin is ill":           {step: step{err: origin(502)}, code: ExitUnreachable, text: "cannot get the content"},
		"the origin does not answer":  {step: step{err: origin(0)}, code: ExitUnreachable},
		"only the swarm, without it":  {step: step{err: &api.Error{Code: api.CodeNotFound}}, code: ExitUnreachable},
		"wrong content by the engine": {step: step{stop: 9, then: &api.Error{Code: api.CodeInvalid}}, code: ExitDigest, text: "nothing was saved"},
		"wrong content by our check":  {config: Config{Digests: []string{emptySHA}}, code: ExitDigest, text: "nothing was saved"},
		"a bad request":               {step: step{err: &api.Error{Code: api.CodeBadRequest, Message: "bad URL"}}, code: ExitUsage, text: "bad URL"},
		"anything else":               {step: step{err: errors.New("boom")}, code: ExitOther, text: "boom"},
		"something else of ours":      {step: step{err: &api.Error{Code: api.CodeOverloaded, Message: "busy"}}, code: ExitOther, text: "busy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.config.Output = filepath.Join(t.TempDir(), "f")
			_, _, err := download(t, tc.config, &fake{steps: []step{tc.step}})
			coded, ok := errors.AsType[interface {
				error
				ExitCode() int
			}](err)
			if !ok || coded.ExitCode() != tc.code || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v (%T), want exit code %d and %q", err, err, tc.code, tc.text)
			}
			if _, err := os.Stat(tc.config.Output); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("there is a file: %v", err)
			}
		})
	}
}

func TestAnInterruptedDownloadGoesOn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	c := Config{Output: path}
	lost := &fake{steps: []step{{stop: 20, then: &api.Error{Code: api.CodeOrigin}}}}
	if _, _, err := download(t, c, lost); err == nil || !strings.Contains(err.Error(), "the same call goes on from here") {
		t.Fatalf("first call: got %v", err)
	}
	if len(lost.kept) != 1 || !lost.kept[0] {
		t.Errorf("the source was told to keep %v, want true", lost.kept)
	}
	rest := &fake{steps: []step{{}}}
	if _, talk, err := download(t, c, rest); err != nil || !strings.Contains(talk, "from 20 B on") {
		t.Fatalf("second call: got %v, said %q", err, talk)
	}
	if len(rest.asked) != 1 || rest.asked[0] != 20 {
		t.Errorf("asked for offsets %v, want 20", rest.asked)
	}
	if rest.kept[0] {
		t.Error("the source was told to keep pieces after success")
	}
	wantFile(t, path, text)
}

func TestChangedContentIsFetchedAnew(t *testing.T) {
	t.Parallel()
	const other = "quite another text"
	for name, second := range map[string][]step{
		"its ETag differs":           {{etag: `"v2"`, text: text}, {etag: `"v2"`, text: other}},
		"it is shorter than we have": {{err: &api.Error{Code: api.CodeBadRequest}}, {etag: `"v2"`, text: other}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "f")
			_, _, err := download(t, Config{Output: path}, &fake{steps: []step{{stop: 20, then: &api.Error{Code: api.CodeOrigin}}}})
			if err == nil {
				t.Fatal("the first call succeeded")
			}
			f := &fake{steps: second}
			if _, _, err := download(t, Config{Output: path}, f); err != nil {
				t.Fatal(err)
			}
			if len(f.asked) != 2 || f.asked[0] != 20 || f.asked[1] != 0 {
				t.Errorf("asked for offsets %v, want 20 and 0", f.asked)
			}
			wantFile(t, path, other)
		})
	}
}

func TestRefusedContentIsNotKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := &fake{steps: []step{{stop: 20, then: &api.Error{Code: api.CodeOrigin, Status: 403}}}}
	if _, _, err := download(t, Config{Output: filepath.Join(dir, "f")}, f); err == nil {
		t.Fatal("it succeeded")
	}
	if got := files(t, dir); len(got) != 0 || f.kept[0] {
		t.Errorf("left %q, source told to keep %v", got, f.kept)
	}
}

// stuck is a source whose body waits for its context.
type stuck struct{}

func (stuck) Fetch(ctx context.Context, _ api.FetchRequest) (*localapi.Content, error) {
	return &localapi.Content{
		Task: "t", Length: 100, Header: map[string]string{"Etag": "e"}, Shares: func() api.Shares { return api.Shares{} },
		Body: io.NopCloser(io.MultiReader(strings.NewReader("begin"), waiting{ctx})),
	}, nil
}

type waiting struct{ ctx context.Context }

func (w waiting) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

func TestTimeoutAndInterruption(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			timeout time.Duration
			code    int
			text    string
		}{
			{time.Minute, ExitTimeout, "timed out after 1m0s; the same call goes on from here"},
			{0, ExitInterrupted, "interrupted; the same call goes on from here"},
		} {
			c := Config{URL: "http://h/f", Output: path, Pattern: api.PatternP2P, Timeout: tc.timeout}
			open := func(context.Context) (localapi.Fetcher, func(bool), error) { return stuck{}, func(bool) {}, nil }
			g := &get{cfg: &c, streams: Streams{Err: io.Discard}, log: quiet, sources: []source{{name: "stuck", open: open}}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			time.AfterFunc(2*time.Minute, cancel)
			err := g.run(ctx)
			cancel()
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != tc.code || e.Error() != tc.text {
				t.Errorf("got %v, want %q with code %d", err, tc.text, tc.code)
			}
		}
	})
}

func TestTheRateIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		body := strings.Repeat("x", 10_000)
		out, _, err := download(t, Config{Limit: 1000}, &fake{steps: []step{{text: body}}})
		if err != nil || out != body {
			t.Fatalf("got %d bytes, %v", len(out), err)
		}
		// The first second's worth is free.
		if took := time.Since(began); took < 9*time.Second || took > 10*time.Second {
			t.Errorf("10,000 bytes at 1,000 a second took %v, want 9 to 10 s", took)
		}
	})
}

// fileServer serves body with ranges, to those who have the password, and counts requests.
func fileServer(t *testing.T, body []byte, password string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, p, _ := r.BasicAuth(); password != "" && p != password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "f", time.Time{}, bytes.NewReader(body))
	}))
	t.Cleanup(s.Close)
	return s
}

// stopper cancels when a text is written to it.
type stopper struct {
	text   string
	cancel func()
}

func (s stopper) Write(b []byte) (int, error) {
	if strings.Contains(string(b), s.text) {
		s.cancel()
	}
	return len(b), nil
}

func TestARealDownloadGoesOnAfterAnInterruption(t *testing.T) {
	t.Parallel()
	body := make([]byte, 10<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(body)
	var healthy atomic.Bool
	var served atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		out := &partly{ResponseWriter: w, left: 5 << 20, served: &served}
		if healthy.Load() {
			out.left = len(body)
		}
		http.ServeContent(out, r, "f", time.Time{}, bytes.NewReader(body))
		if !healthy.Load() {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	defer s.Close()
	c := Default()
	c.URL, c.Socket, c.Output, c.Lines = s.URL+"/f", "", filepath.Join(t.TempDir(), "f"), true
	c.Digests = []string{fmt.Sprintf("sha256:%x", sha256.Sum256(body))}

	ctx, cancel := context.WithCancel(t.Context())
	err := Run(ctx, c, Streams{Err: stopper{"20 %", cancel}}, quiet)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != ExitInterrupted || !strings.Contains(err.Error(), "goes on from here") {
		t.Fatalf("interrupted: got %v, want exit code %d", err, ExitInterrupted)
	}
	healthy.Store(true)
	served.Store(0)
	var talk bytes.Buffer
	if err := Run(t.Context(), c, Streams{Err: &talk}, quiet); err != nil {
		t.Fatal(err)
	}
	wantFile(t, c.Output, string(body))
	if n := served.Load(); n > 8<<20 {
		t.Errorf("the second call read %d bytes of the origin, want at most the 8 MiB that the first had not", n)
	}
	if !strings.Contains(talk.String(), "MiB on\n") {
		t.Errorf("the second call said %q", talk.String())
	}
}

// partly sends the first bytes only, and swallows the rest.
type partly struct {
	http.ResponseWriter
	left   int
	served *atomic.Int64
}

func (h *partly) Write(b []byte) (int, error) {
	n, err := h.ResponseWriter.Write(b[:min(len(b), h.left)])
	h.left -= n
	h.served.Add(int64(n))
	if err != nil {
		return n, err
	}
	return len(b), nil
}

func TestRunWithoutDaemonAndSupernode(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	s := fileServer(t, body, "secret")
	dir := t.TempDir()
	c := Default()
	c.Output, c.Socket = filepath.Join(dir, "f"), filepath.Join(dir, "none.sock")
	c.URL = strings.Replace(s.URL, "http://", "http://user:wrong@", 1) + "/f"
	var talk bytes.Buffer
	streams := Streams{Out: io.Discard, Err: &talk}
	err := Run(t.Context(), c, streams, quiet)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != ExitRefused || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with the wrong password: got %v, want exit code %d and no password", err, ExitRefused)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left %q", got)
	}
	c.URL = strings.Replace(s.URL, "http://", "http://user:secret@", 1) + "/f"
	if err := Run(t.Context(), c, streams, quiet); err != nil {
		t.Fatal(err)
	}
	wantFile(t, c.Output, string(body))
	if !strings.Contains(talk.String(), "100 % from origin") {
		t.Errorf("said %q", talk.String())
	}
}

func TestWhatAnInterruptedCallLeftGoesWithTheFileInPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := Config{Output: filepath.Join(dir, "f")}
	if err := os.MkdirAll(filepath.Join(c.Output+storeSuffix, "tasks"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := download(t, c, &fake{steps: []step{{}}}); err != nil {
		t.Fatal(err)
	}
	wantFile(t, c.Output, text)
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("left %q, want the file alone", got)
	}
}
