package origin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
)

// to redirects every request there.
func to(code int, location string) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Location", location)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "gone over there")
		return true
	}
}

// credentials is a request that carries some of every kind.
func credentials(u string) Request {
	return Request{URL: u, Header: http.Header{
		"Authorization": {"Bearer s3cret-token"}, "Cookie": {"s3cret-cookie=1"}, "private-token": {"s3cret-key"},
		"Accept": {"application/x-test"}, "Range": {"bytes=7-8"}, "Connection": {"close"}, "If-None-Match": {`"a"`},
	}}
}

func TestRedirectsKeepCredentialsAtHome(t *testing.T) {
	t.Parallel()
	// hosts by name; each row says where "a" sends the client, "b" and "c" likewise if they don't serve.
	rows := []struct {
		name  string
		hops  map[string]string
		last  string // who serves
		trust bool   // may see the credentials
	}{
		{"the same host", map[string]string{"a/x": "http://a/y"}, "a", true},
		{"the same host, relative", map[string]string{"a/x": "/y?z=1"}, "a", true},
		{"the same host in capitals", map[string]string{"a/x": "http://A:80/y"}, "a", true},
		{"another host", map[string]string{"a/x": "http://b/y"}, "b", false},
		{"another host of the same domain", map[string]string{"a/x": "http://b.a/y"}, "b.a", false},
		{"another port", map[string]string{"a/x": "http://a:81/y"}, "a:81", false},
		{"away and back", map[string]string{"a/x": "http://b/y", "b/y": "http://a/y"}, "a", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				hosts := map[string]http.Handler{}
				for _, host := range []string{"a", "b", "b.a", "a:81"} {
					o := &server{data: bytesOf(100_000)}
					o.do = func(_ int, w http.ResponseWriter, r *http.Request) bool {
						next, ok := row.hops[host+r.URL.Path]
						return ok && to(307, next)(0, w, r)
					}
					hosts[host] = o
				}
				c, n := newClient(t, small, hosts)
				n.servers["a:81"], n.servers["A:80"] = n.servers["a:81:80"], n.servers["a:80"]
				s := &sink{t: t}
				if err := c.Fetch(t.Context(), credentials("http://a/x"), nil, s); err != nil {
					t.Fatal(err)
				}
				s.check(bytesOf(100_000), nil)
				if n := len(hosts["a"].(*server).seen); row.last != "a" && n != 1 {
					t.Errorf("the first host got %d requests, want 1: the redirect holds for all parts", n)
				}
				for _, r := range hosts[row.last].(*server).seen {
					checkHeader(t, r, row.trust || r.URL.Path == "/x")
				}
			})
		})
	}
}

func checkHeader(t *testing.T, r *http.Request, trust bool) {
	t.Helper()
	for _, name := range []string{"Authorization", "Cookie", "Private-Token"} {
		if got := r.Header.Get(name) != ""; got != trust {
			t.Errorf("%s %s: header %s present: got %v, want %v", r.Host, r.URL.Path, name, got, trust)
		}
	}
	if r.Header.Get("Accept") != "application/x-test" || r.Header.Get("Accept-Encoding") != "identity" {
		t.Errorf("%s: Accept is %q, Accept-Encoding %q", r.Host, r.Header.Get("Accept"), r.Header.Get("Accept-Encoding"))
	}
	if r.Header.Get("Range") == "bytes=7-8" || r.Header.Get("If-None-Match") != "" || r.Header.Get("Referer") != "" {
		t.Errorf("%s: a header went along that should not: %v", r.Host, r.Header)
	}
}

func TestSameHost(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		from, to string
		want     bool
	}{
		{"http://a/", "https://a/", true},
		{"https://a/", "http://a/", false},
		{"https://a/", "http://a:443/", false},
		{"http://a:8080/", "https://a/", false},
		{"http://a/", "https://a:8443/", false},
		{"https://a/", "https://a:443/", true},
		{"https://a.example/", "https://A.example/", true},
		{"https://a.example/", "https://a.example.evil/", false},
		{"https://[::1]:5000/", "https://[::1]:5000/", true},
	} {
		from, _ := url.Parse(row.from)
		to, _ := url.Parse(row.to)
		if got := sameHost(from, to); got != row.want {
			t.Errorf("sameHost(%s, %s): got %v, want %v", row.from, row.to, got, row.want)
		}
	}
}

func TestExpiredRedirectIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []int{400, 401, 403, 404, 410} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				signed := 0
				home := &server{do: func(i int, w http.ResponseWriter, r *http.Request) bool {
					signed = i
					return to(307, fmt.Sprintf("http://cdn/x?sig=%d", i))(i, w, r)
				}}
				cdn := &server{data: bytesOf(100_000)}
				cdn.do = func(i int, w http.ResponseWriter, r *http.Request) bool {
					if i == 2 {
						signed = -1 // what was signed so far is worn out
					}
					return r.URL.RawQuery != fmt.Sprintf("sig=%d", signed) && answerWith(code)(w, r)
				}
				cfg := small
				cfg.Parallel, cfg.Retries = 1, -1 // an expiry is no failure
				c, _ := newClient(t, cfg, map[string]http.Handler{"o": home, "cdn": cdn})
				s := &sink{t: t}
				if err := c.Fetch(t.Context(), Request{URL: "http://o/x"}, nil, s); err != nil {
					t.Fatal(err)
				}
				s.check(cdn.data, nil)
				if len(home.seen) != 2 || len(cdn.seen) != 5 {
					t.Errorf("requests: got %d at the origin and %d at its target, want 2 and 5", len(home.seen), len(cdn.seen))
				}
			})
		})
	}
}

func TestBrokenRedirectTargetIsLeft(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		retries int
		do      func(o *server, i int, w http.ResponseWriter, r *http.Request) bool
	}{
		{"no longer there, at the first failure", 1, func(_ *server, i int, _ http.ResponseWriter, _ *http.Request) bool {
			if i > 0 {
				panic(http.ErrAbortHandler)
			}
			return false
		}},
		{"breaking its bodies, at the second", 2, func(o *server, i int, w http.ResponseWriter, r *http.Request) bool {
			return i > 0 && o.breakAt(100, w, r)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				home := &server{do: func(i int, w http.ResponseWriter, r *http.Request) bool {
					return to(302, []string{"http://broken/x", "http://whole/x"}[min(i, 1)])(i, w, r)
				}}
				broken, whole := &server{data: bytesOf(100_000)}, &server{data: bytesOf(100_000)}
				broken.do = func(i int, w http.ResponseWriter, r *http.Request) bool { return row.do(broken, i, w, r) }
				cfg := small
				cfg.Parallel, cfg.Retries = 1, row.retries
				c, _ := newClient(t, cfg, map[string]http.Handler{"o": home, "broken": broken, "whole": whole})
				s := &sink{t: t}
				if err := c.Fetch(t.Context(), Request{URL: "http://o/x"}, nil, s); err != nil {
					t.Fatal(err)
				}
				s.check(whole.data, nil)
				if len(home.seen) != 2 || len(whole.seen) != 3 {
					t.Errorf("requests: got %d at the origin and %d at the good target, want 2 and 3", len(home.seen), len(whole.seen))
				}
			})
		})
	}
}

func TestBadRedirects(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, location string
		requests       int
	}{
		{"endless", "http://o/x?s3cret", 11},
		{"another scheme", "file:///etc/s3cret", 1},
		{"no host", "http:///s3cret", 1},
		{"no URL", "http://s3cret:pa ss@%zz/", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := &server{do: to(302, row.location)}
				c, _ := newClient(t, small, map[string]http.Handler{"o": o})
				err := c.Fetch(t.Context(), Request{URL: "http://o/x"}, nil, &sink{t: t})
				if !errors.Is(err, errRedirect) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("got %v, want a redirect error without the location", err)
				}
				if len(o.seen) != row.requests {
					t.Errorf("requests: got %d, want %d", len(o.seen), row.requests)
				}
			})
		})
	}
}

// Whatever fails, neither errors nor logs tell credentials, passwords or signed queries.
func TestSecretsStayOutOfErrorsAndLogs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faults := map[string]func(int, http.ResponseWriter, *http.Request) bool{
			"status":  always(answerWith(500)),
			"refusal": always(answerWith(403)),
			"break":   always(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }),
			"stall":   always(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }),
			"lie":     always(answerWith(206)),
			"onward":  to(307, "http://nowhere/?s3cret-sig"),
			"ftp":     to(307, "ftp://s3cret-host/"),
		}
		hosts := map[string]http.Handler{"o": &server{do: always(func(w http.ResponseWriter, r *http.Request) bool {
			return to(307, "http://user:s3cret-pass@"+r.URL.Path[1:]+"/x?X-Signature=s3cret-sig")(0, w, r)
		})}}
		for name, fault := range faults {
			hosts[name] = &server{do: fault}
		}
		c, _ := newClient(t, small, hosts)
		var logs bytes.Buffer
		c.log = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
		for name := range faults {
			req := credentials("http://me:s3cret-pass@o/" + name + "?token=s3cret-query#s3cret")
			err := c.Fetch(t.Context(), req, nil, &sink{t: t})
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: got %v, want an error without a secret", name, err)
			}
			if _, _, err := c.Stream(t.Context(), req, 0, -1); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: stream: got %v, want an error without a secret", name, err)
			}
		}
		for _, u := range []string{"http://me:s3cret@host:port/", "s3cret", "ftp://s3cret/", "http://%s3cret/", "://s3cret"} {
			if err := c.Fetch(t.Context(), Request{URL: u}, nil, nil); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("URL %s: got %v, want an error without it", u, err)
			}
		}
		if !strings.Contains(logs.String(), "origin failed") || strings.Contains(logs.String(), "s3cret") {
			t.Errorf("log: got %s, want retries without a secret", logs.String())
		}
	})
}

func TestUserInfoBecomesBasicAuthorization(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var user, password string
		o := &server{data: bytesOf(10)}
		o.do = func(_ int, _ http.ResponseWriter, r *http.Request) bool {
			user, password, _ = r.BasicAuth()
			return false
		}
		c, _ := newClient(t, small, map[string]http.Handler{"o": o})
		if err := c.Fetch(t.Context(), Request{URL: "http://me:p%40ss@o/x"}, nil, &sink{t: t}); err != nil {
			t.Fatal(err)
		}
		if user != "me" || password != "p@ss" {
			t.Errorf("got %q, %q, want me, p@ss", user, password)
		}
	})
}
