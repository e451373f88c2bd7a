package superclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// spoken is a supernode without a network: it notes heartbeats, and its event stream says what a test writes.
type spoken struct {
	start time.Time
	mu    sync.Mutex // guards beats
	beats []string   // when they came, and what they tell of the next
	lines *io.PipeReader
}

func (s *spoken) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Request: r}
	switch {
	case r.Method == http.MethodPut:
		var b api.Heartbeat
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.beats = append(s.beats, fmt.Sprintf("%d:%d", int(time.Since(s.start).Seconds()), b.Every))
		s.mu.Unlock()
	case strings.HasSuffix(r.URL.Path, "/events"):
		resp.StatusCode, resp.Body = http.StatusOK, s.lines
		context.AfterFunc(r.Context(), func() { _ = s.lines.CloseWithError(r.Context().Err()) })
	}
	return resp, nil
}

// speaking returns a client of one such supernode, a session there, and the stream's other end.
func speaking(t *testing.T) (*spoken, *Client, *Session, *io.PipeWriter) {
	t.Helper()
	s := &spoken{start: time.Now()}
	var say *io.PipeWriter
	s.lines, say = io.Pipe()
	c := newClient(t, Config{Addrs: []string{"127.0.0.1:1"}, Token: func() string { return "" }})
	c.resolve(t.Context())
	n := c.all()[0]
	n.http.Transport = s
	return s, c, &Session{client: c, node: n, task: testTask, peer: "p"}, say
}

func TestHeartbeatsAreFewerWhileAStreamIsFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c, session, say := speaking(t)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { c.Run(ctx, api.Host{ID: "h"}, "v1", &inventory{}) })
		time.Sleep(12 * time.Second)
		following, stop := context.WithCancel(ctx)
		wg.Go(func() { _ = session.Events(following, 0, func(*api.Update) {}) })
		wg.Go(func() {
			for following.Err() == nil {
				if _, err := io.WriteString(say, "{}\n"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		time.Sleep(40 * time.Second)
		stop()
		time.Sleep(12 * time.Second)
		cancel()
		wg.Wait()
		// The stream is there from 12 s to 52 s. What was told of the next heartbeat is kept.
		want := []string{"0:0", "5:0", "10:0", "15:15", "30:15", "45:15", "52:0", "57:0", "62:0"}
		if !slices.Equal(s.beats, want) {
			t.Errorf("heartbeats came at %q, want %q", s.beats, want)
		}
	})
}

func TestAStreamIsWaitedForAsLongAsItTold(t *testing.T) {
	t.Parallel()
	type line struct {
		after time.Duration
		text  string
	}
	for name, tc := range map[string]struct {
		lines []line
		want  time.Duration // when it counts as dead
	}{
		"nothing told":             {[]line{{0, `{}`}}, 1800 * time.Millisecond},
		"four seconds told":        {[]line{{0, `{"ping":4000}`}, {4 * time.Second, `{}`}, {4 * time.Second, `{}`}}, 12800 * time.Millisecond},
		"less told afterwards":     {[]line{{0, `{"ping":4000}`}, {4 * time.Second, `{"ping":1000}`}}, 5800 * time.Millisecond},
		"a time that nobody has":   {[]line{{0, `{"ping":99999999}`}}, 4800 * time.Millisecond},
		"a time that is no number": {[]line{{0, `{}`}, {time.Second, `{"ping":"long"}`}}, time.Second},
		"less than at first":       {[]line{{0, `{"ping":1}`}}, 1800 * time.Millisecond},
		"a time before the last":   {[]line{{0, `{"ping":-5000}`}}, 1800 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, c, session, say := speaking(t)
			var wg sync.WaitGroup
			wg.Go(func() {
				for _, l := range tc.lines {
					time.Sleep(l.after)
					_, _ = io.WriteString(say, l.text+"\n") // the client may have gone
				}
			})
			err := session.Events(t.Context(), 0, func(*api.Update) {})
			took := time.Since(s.start)
			wg.Wait()
			if err == nil || (took-tc.want).Abs() > 2*watchTick {
				t.Errorf("%s: the stream ended after %v with %v, want %v", name, took, err, tc.want)
			}
			if took > time.Second && !errors.Is(err, errSilent) {
				t.Errorf("%s: the stream ended with %v, want %v", name, err, errSilent)
			}
			if c.Nodes()[0].Alive {
				t.Errorf("%s: the supernode counts as alive", name)
			}
		})
	}
}
