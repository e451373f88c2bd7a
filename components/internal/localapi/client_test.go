package localapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	c, _ := dial(t, nil)
	got, err := c.Status(t.Context())
	if err != nil || got.Version != "v1" || got.Downloads != 2 || got.Host.ID != "h" {
		t.Errorf("Status: got %+v, %v", got, err)
	}
}

func TestNoDaemon(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	page := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "<html>")
		})
	}
	other, _ := listen(t, page(http.StatusNotFound))
	good, _ := listen(t, page(http.StatusOK))
	for name, socket := range map[string]string{
		"no such socket": filepath.Join(t.TempDir(), "none"),
		"a file":         file,
		"something else": other,
		"a web page":     good,
	} {
		c := NewClient(socket)
		defer c.Close()
		if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoDaemon) {
			t.Errorf("%s: Status: got %v, want ErrNoDaemon", name, err)
		}
		content, err := c.Fetch(t.Context(), api.FetchRequest{})
		if err == nil { // the page is content at first sight
			_, err = io.ReadAll(content.Body)
			content.Body.Close()
		}
		if !errors.Is(err, ErrNoDaemon) {
			t.Errorf("%s: Fetch: got %v, want ErrNoDaemon", name, err)
		}
	}
}

func TestADaemonThatIsFrozenFromTheStart(t *testing.T) {
	t.Parallel()
	// The kernel accepts for a stopped process.
	dir, err := os.MkdirTemp("", "df") //nolint:usetesting // a socket's path has at most 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := NewClient(l.Addr().String())
	defer c.Close()
	c.probeTime, c.silence = 20*time.Millisecond, 20*time.Millisecond
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("Status: got %v, want ErrNoDaemon", err)
	}
	if _, err := c.Fetch(t.Context(), api.FetchRequest{}); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("Fetch: got %v, want ErrNoDaemon", err)
	}
}

func TestADaemonThatGoesAwayInTheMiddle(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer w.Close()
	c, srv := dial(t, fetcherFunc(func(context.Context, api.FetchRequest) (*Content, error) {
		return &Content{Length: 10, Body: r, Shares: func() api.Shares { return api.Shares{} }}, nil
	}))
	content, err := c.Fetch(t.Context(), api.FetchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer content.Body.Close()
	srv.Close()
	if _, err := io.ReadAll(content.Body); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("got %v, want ErrNoDaemon", err)
	}
}

func TestADaemonThatFreezesInTheMiddle(t *testing.T) {
	t.Parallel()
	freeze, end := make(chan struct{}), make(chan struct{})
	r, w := io.Pipe()
	live := Handler(fetcherFunc(func(context.Context, api.FetchRequest) (*Content, error) {
		return &Content{Length: -1, Body: r, Shares: func() api.Shares { return api.Shares{} }}, nil
	}), status, quiet)
	socket, _ := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-freeze:
			<-end
		default:
			live.ServeHTTP(w, r)
		}
	}))
	defer close(end)
	defer w.Close()
	c := NewClient(socket)
	defer c.Close()
	c.probeTime, c.silence = 500*time.Millisecond, 5*time.Millisecond
	content, err := c.Fetch(t.Context(), api.FetchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer content.Body.Close()
	close(freeze)
	if _, err := io.ReadAll(content.Body); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("got %v, want ErrNoDaemon", err)
	}
}

func TestADaemonThatIsSlowButAliveIsWaitedFor(t *testing.T) {
	t.Parallel()
	probed := make(chan struct{}, 1000)
	r, w := io.Pipe()
	live := Handler(fetcherFunc(func(context.Context, api.FetchRequest) (*Content, error) {
		return &Content{Length: -1, Body: r, Shares: func() api.Shares { return api.Shares{} }}, nil
	}), func() api.DaemonStatus { probed <- struct{}{}; return idle }, quiet)
	socket, _ := listen(t, live)
	c := NewClient(socket)
	defer c.Close()
	c.silence = time.Millisecond
	content, err := c.Fetch(t.Context(), api.FetchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer content.Body.Close()
	go func() {
		for range 3 { // three pauses long enough for a probe
			<-probed
		}
		_, _ = io.WriteString(w, "late")
		w.Close()
	}()
	if b, err := io.ReadAll(content.Body); err != nil || string(b) != "late" {
		t.Errorf("got %q, %v, want late", b, err)
	}
}

func TestTheCallersContextEndsAFetch(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer w.Close()
	c, _ := dial(t, fetcherFunc(func(ctx context.Context, req api.FetchRequest) (*Content, error) {
		if req.Tag == "late" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &Content{Length: -1, Body: r, Shares: func() api.Shares { return api.Shares{} }}, nil
	}))
	mine := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	content, err := c.Fetch(ctx, api.FetchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	cancel(mine)
	if _, err := io.ReadAll(content.Body); !errors.Is(err, mine) {
		t.Errorf("in the middle: got %v, want the caller's cause", err)
	}
	content.Body.Close()
	if _, err := c.Fetch(ctx, api.FetchRequest{Tag: "late"}); !errors.Is(err, mine) || errors.Is(err, ErrNoDaemon) {
		t.Errorf("before the start: got %v, want the caller's cause", err)
	}
}
