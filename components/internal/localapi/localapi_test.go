package localapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fetcherFunc is a Fetcher.
type fetcherFunc func(ctx context.Context, req api.FetchRequest) (*Content, error)

func (f fetcherFunc) Fetch(ctx context.Context, req api.FetchRequest) (*Content, error) {
	return f(ctx, req)
}

var quiet = slog.New(slog.DiscardHandler)

var idle = api.DaemonStatus{Version: "v1", Host: api.Host{ID: "h"}, Downloads: 2}

func status() api.DaemonStatus { return idle }

// listen serves h on a socket and returns its path. Temporary directories of tests are too long for one.
func listen(t *testing.T, h http.Handler) (socket string, srv *http.Server) {
	t.Helper()
	dir, err := os.MkdirTemp("", "df") //nolint:usetesting // a socket's path has at most 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv = &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // says that it was closed
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
		os.RemoveAll(dir)
	})
	return socket, srv
}

// dial returns a client of a daemon with this Fetcher.
func dial(t *testing.T, f Fetcher) (*Client, *http.Server) {
	t.Helper()
	socket, srv := listen(t, Handler(f, status, quiet))
	c := NewClient(socket)
	t.Cleanup(c.Close)
	return c, srv
}

// fake gives body and then err, in two reads, from the request's offset on.
func fake(body []byte, length int64, err error) fetcherFunc {
	return func(_ context.Context, req api.FetchRequest) (*Content, error) {
		rest := body[req.Offset:]
		ends := io.MultiReader(bytes.NewReader(rest), errorReader{err})
		return &Content{
			Task: "task", Length: length, Header: map[string]string{"Etag": `"e"`, "Content-Type": "text/plain"},
			Body: io.NopCloser(ends), Shares: func() api.Shares { return api.Shares{FromSeed: 1, FromPeers: 2, FromOrigin: 3} },
		}, nil
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) {
	if r.err == nil {
		return 0, io.EOF
	}
	return 0, r.err
}

func TestClientGivesWhatTheFetcherHas(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	for name, tc := range map[string]struct {
		length, offset int64
		body           []byte
	}{
		"all of it":         {int64(len(body)), 0, body},
		"from the middle":   {int64(len(body)), 12345, body},
		"nothing behind it": {int64(len(body)), int64(len(body)), body},
		"unknown length":    {-1, 7, body},
		"empty content":     {0, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked api.FetchRequest
			c, _ := dial(t, fetcherFunc(func(ctx context.Context, req api.FetchRequest) (*Content, error) {
				asked = req
				return fake(tc.body, tc.length, nil)(ctx, req)
			}))
			req := api.FetchRequest{
				URL: "http://x/y", Header: map[string][]string{"A": {"b", "c"}}, Digest: "md5:0", Tag: "t", Filters: []string{"f"},
				Pattern: api.PatternCDN, NoOrigin: true, Offset: tc.offset,
			}
			got, err := c.Fetch(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Body.Close()
			b, err := io.ReadAll(got.Body)
			if err != nil || !bytes.Equal(b, tc.body[tc.offset:]) {
				t.Errorf("body: got %d bytes, %v, want %d", len(b), err, len(tc.body[tc.offset:]))
			}
			if got.Length != tc.length || got.Task != "task" {
				t.Errorf("got length %d, task %q, want %d, task", got.Length, got.Task, tc.length)
			}
			if diff := cmp.Diff(map[string]string{"Etag": `"e"`, "Content-Type": "text/plain"}, got.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			if want := (api.Shares{FromSeed: 1, FromPeers: 2, FromOrigin: 3}); got.Shares() != want {
				t.Errorf("shares: got %+v, want %+v", got.Shares(), want)
			}
			if diff := cmp.Diff(req, asked); diff != "" {
				t.Errorf("request (-sent +arrived):\n%s", diff)
			}
		})
	}
}

func TestErrorsArrive(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want api.Error
	}{
		"the origin refused":   {&api.Error{Code: api.CodeOrigin, Message: "m", Status: 403}, api.Error{Code: api.CodeOrigin, Message: "m", Status: 403}},
		"the content is wrong": {&api.Error{Code: api.CodeInvalid, Message: "m"}, api.Error{Code: api.CodeInvalid, Message: "m"}},
		"a bad request":        {&api.Error{Code: api.CodeBadRequest, Message: "m"}, api.Error{Code: api.CodeBadRequest, Message: "m"}},
		"one of its own kind":  {errors.New("open /secret/path"), api.Error{Code: api.CodeInternal, Message: "dfdaemon failed; its log says why"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, _ := dial(t, fetcherFunc(func(context.Context, api.FetchRequest) (*Content, error) { return nil, tc.err }))
			_, err := before.Fetch(t.Context(), api.FetchRequest{})
			wantError(t, err, tc.want)

			amid, _ := dial(t, fake([]byte("begin"), 10, tc.err))
			content, err := amid.Fetch(t.Context(), api.FetchRequest{})
			if err != nil {
				t.Fatal(err)
			}
			defer content.Body.Close()
			b, err := io.ReadAll(content.Body)
			if string(b) != "begin" {
				t.Errorf("before the error came %q, want begin", b)
			}
			wantError(t, err, tc.want)
		})
	}
}

func wantError(t *testing.T, err error, want api.Error) {
	t.Helper()
	got, ok := errors.AsType[*api.Error](err)
	if !ok || *got != want {
		t.Errorf("got error %v, want %+v", err, want)
	}
}

func TestSharesOfARunningFetch(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	c, _ := dial(t, fetcherFunc(func(context.Context, api.FetchRequest) (*Content, error) {
		return &Content{Length: -1, Body: r, Shares: func() api.Shares { return api.Shares{FromPeers: 5} }}, nil
	}))
	content, err := c.Fetch(t.Context(), api.FetchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := content.Shares(); got.FromPeers != 5 {
		t.Errorf("in the middle: got %+v, want 5 bytes from peers", got)
	}
	go w.Close()
	if _, err := io.ReadAll(content.Body); err != nil {
		t.Fatal(err)
	}
	content.Body.Close()
	var none api.Shares
	if err := c.get(t.Context(), api.SharesPath("1"), &none); err == nil || errors.Is(err, ErrNoDaemon) {
		t.Errorf("shares of a fetch that ended: got %v, want the daemon's refusal", err)
	}
}

func TestAClientThatGoesAwayEndsItsFetch(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	c, _ := dial(t, fetcherFunc(func(ctx context.Context, _ api.FetchRequest) (*Content, error) {
		return &Content{Length: -1, Body: &endless{ctx: ctx, closed: closed}, Shares: func() api.Shares { return api.Shares{} }}, nil
	}))
	content, err := c.Fetch(t.Context(), api.FetchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(content.Body, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	content.Body.Close()
	<-closed
}

// endless is a body without an end.
type endless struct {
	ctx    context.Context
	closed chan struct{}
}

func (e *endless) Read(b []byte) (int, error) { return len(b), e.ctx.Err() }
func (e *endless) Close() error               { close(e.closed); return nil }
