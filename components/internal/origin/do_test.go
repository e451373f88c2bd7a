package origin

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDoPassesThrough(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, method, path string
		code               int
		body               string
		requests           int
	}{
		{"an answer", "GET", "/v2/", 200, "hello", 1},
		{"a HEAD", "HEAD", "/v2/", 200, "", 1},
		{"a refusal with its challenge", "GET", "/private", 401, "no", 1},
		{"a failure, which is not asked again", "GET", "/broken", 503, "no", 1},
		{"a redirect of a GET is followed", "GET", "/moved", 200, "hello", 2},
		{"a redirect of a HEAD is followed", "HEAD", "/moved", 200, "", 2},
		{"a redirect of a POST is not", "POST", "/moved", 307, "gone over there", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := &server{do: always(func(w http.ResponseWriter, r *http.Request) bool {
					w.Header().Set("Www-Authenticate", "Bearer realm=x")
					switch r.URL.Path {
					case "/moved":
						return to(307, "/v2/")(0, w, r)
					case "/private", "/broken":
						w.WriteHeader(map[string]int{"/private": 401, "/broken": 503}[r.URL.Path])
						_, _ = io.WriteString(w, "no")
					default:
						_, _ = io.WriteString(w, "hello")
					}
					return true
				})}
				c, n := newClient(t, small, map[string]http.Handler{"o": o})
				req, _ := http.NewRequestWithContext(t.Context(), row.method, "http://o"+row.path, nil)
				req.Host = "elsewhere"
				req.RequestURI = "/as/received"
				req.Header = http.Header{"Authorization": {"Basic x"}, "Range": {"bytes=0-1"}, "Te": {"trailers"}, "Accept-Encoding": {"gzip"}}
				resp, err := c.Do(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != row.code || string(body) != row.body || resp.Header.Get("Www-Authenticate") == "" {
					t.Errorf("got %d %q %v, want %d %q", resp.StatusCode, body, err, row.code, row.body)
				}
				if len(o.seen) != row.requests || n.dials.Load() != 1 {
					t.Errorf("got %d requests on %d connections, want %d on one", len(o.seen), n.dials.Load(), row.requests)
				}
				for _, r := range o.seen {
					h := r.Header
					if r.Host != "o" || h.Get("Authorization") != "Basic x" || h.Get("Range") != "bytes=0-1" || h.Get("Te") != "" ||
						h.Get("Accept-Encoding") != "identity" {
						t.Errorf("origin saw host %s, %v", r.Host, h)
					}
				}
				if req.Header.Get("Te") == "" || req.Header.Get("Accept-Encoding") != "gzip" {
					t.Errorf("the caller's request was changed: %v", req.Header)
				}
			})
		})
	}
}

func TestDoBodyDoesNotHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &server{data: bytesOf(1000)}
		o.do = always(func(w http.ResponseWriter, r *http.Request) bool { return o.stallAt(500, w, r) })
		c, _ := newClient(t, small, map[string]http.Handler{"o": o})
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://o/", nil)
		resp, err := c.Do(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		begin := time.Now()
		got, err := io.ReadAll(resp.Body)
		if len(got) != 500 || err == nil || time.Since(begin) != 10*time.Second {
			t.Errorf("got %d bytes, %v after %v, want 500 and an error after 10s", len(got), err, time.Since(begin))
		}
	})
}

func TestDoRefusesWhatIsNoURL(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, small, nil)
	for _, u := range []string{"/path", "ftp://o/", "//o/"} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
		if _, err := c.Do(t.Context(), req); err == nil {
			t.Errorf("%s: got no error", u)
		}
	}
}

// The body of an error is kept only in part, and an origin that drips it can't hold us.
func TestErrorBodiesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		endless := func(drip time.Duration) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				w.WriteHeader(http.StatusNotFound)
				for r.Context().Err() == nil {
					if _, err := io.WriteString(w, strings.Repeat("no ", 1000)); err != nil {
						return true
					}
					_ = http.NewResponseController(w).Flush()
					select {
					case <-time.After(drip):
					case <-r.Context().Done():
					}
				}
				return true
			}
		}
		c, n := newClient(t, small, map[string]http.Handler{
			"huge": &server{do: always(endless(0))}, "slow": &server{do: always(endless(9 * time.Second))},
		})
		for host, most := range map[string]int{"huge": bufferSize, "slow": 6000} {
			begin := time.Now()
			err := c.Fetch(t.Context(), Request{URL: "http://" + host + "/x"}, nil, &sink{t: t})
			status, ok := errors.AsType[*StatusError](err)
			if !ok || status.Code != 404 || len(status.Body) != most || time.Since(begin) > 10*time.Second {
				t.Errorf("%s: got %v after %v, want 404 with %d bytes of body", host, err, time.Since(begin), most)
			}
		}
		if n.sent.Load() > 2*bufferSize {
			t.Errorf("%d bytes were sent, want few more than %d", n.sent.Load(), bufferSize)
		}
	})
}
