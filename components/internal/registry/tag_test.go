package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTagsComeFromTheOrigin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	img := r.push("team/app", "v1", 1000, 1)
	for _, method := range []string{"GET", "HEAD"} {
		got := r.do(method, "/v2/team/app/manifests/v1")
		if got.StatusCode != http.StatusOK || got.Header.Get(headerDigest) != img.digest.String() || got.ContentLength != int64(len(img.manifest)) ||
			got.Header.Get("Docker-Distribution-Api-Version") != "registry/2.0" || got.Header.Get(headerSource) != sourceOrigin {
			t.Errorf("%s: got %d, length %d, %v", method, got.StatusCode, got.ContentLength, got.Header)
		}
		if method == "GET" && string(got.body) != string(img.manifest) {
			t.Errorf("got %q", got.body)
		}
	}
	newer := r.push("team/app", "v1", 1000, 1)
	if got := r.do("HEAD", "/v2/team/app/manifests/v1"); got.Header.Get(headerDigest) != newer.digest.String() {
		t.Errorf("a moved tag: got %s, want %s", got.Header.Get(headerDigest), newer.digest)
	}
	if got := r.do("GET", "/v2/team/app/manifests/v2"); got.StatusCode != http.StatusNotFound || !strings.Contains(string(got.body), "errors") {
		t.Errorf("no such tag: got %d %q, want the origin's 404", got.StatusCode, got.body)
	}
}

// doFunc is an Origin without a network, for bubbles of synctest.
type doFunc func(*http.Request) (*http.Response, error)

func (f doFunc) Do(ctx context.Context, req *http.Request) (*http.Response, error) {
	return f(req.WithContext(ctx))
}

func (doFunc) Stream(context.Context, string, http.Header, int64, int64) (int64, io.ReadCloser, error) {
	return 0, nil, errors.New("no streams here")
}

type openGuard struct{}

func (openGuard) CheckHost(context.Context, string) error { return nil }

// ask the mirror without a network.
func ask(ctx context.Context, m *Mirror, path string, headers []string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(ctx, "GET", path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, req)
	return w
}

// held is a mirror whose origin answers "manifest" to everything once release is closed, or the request's context ends.
func held(t *testing.T, requests *atomic.Int64, release <-chan struct{}) *Mirror {
	t.Helper()
	m, err := New(Config{}, Deps{Guard: openGuard{}, Log: slog.New(slog.DiscardHandler), Origin: doFunc(func(req *http.Request) (*http.Response, error) {
		requests.Add(1)
		select {
		case <-release:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
		return &http.Response{StatusCode: http.StatusOK, Request: req, Header: http.Header{}, ContentLength: 8, Body: io.NopCloser(strings.NewReader("manifest"))}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEqualTagRequestsAreOneAndOthersAreNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		release := make(chan struct{})
		m := held(t, &requests, release)
		variants := [][]string{nil, auth(mine), auth(yours), {"Accept", "application/x"}, {"If-None-Match", `"x"`}}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				w := ask(t.Context(), m, "/v2/team/app/manifests/v1", variants[i%len(variants)])
				if w.Code != 200 || w.Body.String() != "manifest" {
					t.Errorf("got %d %q", w.Code, w.Body)
				}
			})
		}
		wg.Go(func() { ask(t.Context(), m, "/v2/team/app/manifests/v2", nil) })
		wg.Go(func() { ask(t.Context(), m, "/v2/team/other/manifests/v1", nil) })
		wg.Go(func() { ask(t.Context(), m, "/v2/team/app/manifests/v1?ns=ghcr.io", nil) })
		synctest.Wait()
		close(release)
		wg.Wait()
		if n, want := requests.Load(), int64(len(variants)+3); n != want {
			t.Errorf("origin requests of 23 clients that want %d things: got %d", want, n)
		}
	})
}

func TestTheFirstClientLeavingDoesNotHurtTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		release := make(chan struct{})
		m := held(t, &requests, release)
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if w := ask(ctx, m, "/v2/app/manifests/v1", nil); w.Body.Len() > 0 {
				t.Errorf("the client that left was answered %d %q", w.Code, w.Body)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if w := ask(t.Context(), m, "/v2/app/manifests/v1", nil); w.Code != 200 || w.Body.String() != "manifest" {
				t.Errorf("the client that stayed: got %d %q", w.Code, w.Body)
			}
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		wg.Wait()
		if n := requests.Load(); n != 1 {
			t.Errorf("origin requests: got %d, want 1", n)
		}
	})
}

func TestASharedRequestEndsEvenIfTheOriginNeverAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		m := held(t, &requests, nil)
		start := time.Now()
		w := ask(t.Context(), m, "/v2/app/manifests/v1", nil)
		if took := time.Since(start); w.Code != 502 || took != flightTimeout {
			t.Errorf("got %d after %v, want 502 after %v", w.Code, took, flightTimeout)
		}
	})
}

func TestAManifestTooLargeToHoldPassesByTag(t *testing.T) {
	t.Parallel()
	for _, chunked := range []bool{false, true} {
		t.Run(fmt.Sprintf("chunked %v", chunked), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *Config) { c.MaxManifest = 1000 })
			body := strings.Repeat("x", 5000)
			r.origin.hook = func(w http.ResponseWriter, _ *http.Request) bool {
				if !chunked {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				}
				_, _ = w.Write([]byte(body))
				return true
			}
			if got := r.do("GET", "/v2/app/manifests/v1"); got.StatusCode != http.StatusOK || string(got.body) != body {
				t.Errorf("got %d with %d bytes, %v", got.StatusCode, len(got.body), got.err)
			}
		})
	}
}

func TestAManifestUnlikeItsDigestProvesNothing(t *testing.T) {
	t.Parallel()
	r := guarded(t, map[string][]string{mine: {"team/app"}, yours: {"team/other"}})
	img := r.push("team/app", "v1", 20_000, 1)
	r.warm("team/app", img)
	r.origin.set(func() {
		r.origin.hook = func(w http.ResponseWriter, req *http.Request) bool {
			if req.URL.Path == "/v2/team/other/manifests/v1" {
				w.Header().Set(headerDigest, sum256)
				_, _ = w.Write(img.manifest)
				return true
			}
			w.WriteHeader(http.StatusForbidden)
			return true
		}
	})
	if got := r.do("GET", "/v2/team/other/manifests/v1", auth(yours)...); got.StatusCode != http.StatusOK {
		t.Fatalf("got %d", got.StatusCode)
	}
	if got := r.do("GET", "/v2/team/other/blobs/"+img.layer.String(), auth(yours)...); got.StatusCode != http.StatusForbidden {
		t.Errorf("got %d, want 403", got.StatusCode)
	}
}

func TestStaleTags(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		stale  []string
		tag    string
		status int // of the origin when it fails; 0: gone
		want   int
	}{
		{"are off by default", nil, "v1", 0, 502},
		{"answer when the origin is gone", []string{"*"}, "v1", 0, 200},
		{"answer when the origin fails", []string{"v*"}, "v1", 503, 200},
		{"answer when the origin has had enough", []string{"v*"}, "v1", 429, 200},
		{"do not answer for what the origin denies", []string{"*"}, "v1", 404, 404},
		{"do not answer for other tags", []string{"w*"}, "v1", 503, 503},
		{"do not answer for latest", []string{"*", "l*"}, "latest", 0, 502},
		{"answer for latest where it is listed", []string{"latest"}, "latest", 0, 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *Config) { c.StaleTags = row.stale })
			img := r.push("app", row.tag, 1000, 1)
			for _, path := range []string{row.tag, img.digest.String()} {
				if got := r.do("GET", "/v2/app/manifests/"+path); got.StatusCode != http.StatusOK {
					t.Fatalf("%s: got %d", path, got.StatusCode)
				}
			}
			if row.status == 0 {
				r.origin.Close()
			}
			r.origin.set(func() {
				r.origin.hook = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(row.status); return true }
			})
			for _, method := range []string{"GET", "HEAD"} {
				got := r.do(method, "/v2/app/manifests/"+row.tag)
				if got.StatusCode != row.want {
					t.Fatalf("%s: got %d %s, want %d", method, got.StatusCode, got.body, row.want)
				}
				if row.want == 200 && (got.Header.Get("Warning") == "" || got.Header.Get(headerDigest) != img.digest.String()) {
					t.Errorf("%s: headers %v, want a warning and the digest", method, got.Header)
				}
			}
		})
	}
}

func TestAStaleTagIsUnderTheRuleOfAccessToo(t *testing.T) {
	t.Parallel()
	r := guarded(t, map[string][]string{mine: {"team/app"}}, func(c *Config) { c.StaleTags = []string{"*"} })
	img := r.push("team/app", "v1", 1000, 1)
	r.warm("team/app", img)
	r.origin.Close()
	for cred, want := range map[string]int{mine: 200, yours: 502, nobody: 502} {
		if got := r.do("GET", "/v2/team/app/manifests/v1", auth(cred)...); got.StatusCode != want {
			t.Errorf("credential %q: got %d, want %d", cred, got.StatusCode, want)
		}
	}
	r.pass(6 * time.Minute)
	if got := r.do("GET", "/v2/team/app/manifests/v1", auth(mine)...); got.StatusCode != http.StatusBadGateway {
		t.Errorf("after the proof's time: got %d, want 502", got.StatusCode)
	}
}
