package registry

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/dragonfly-kube/dragonfly/components/internal/registry/upstream"
)

func TestTheMirrorIsReadOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, row := range []struct{ method, path string }{
		{"POST", "/v2/app/blobs/uploads/"},
		{"PUT", "/v2/app/manifests/v1"},
		{"PATCH", "/v2/app/blobs/uploads/x"},
		{"DELETE", "/v2/app/manifests/" + sum256},
		{"DELETE", "/v2/app/blobs/" + sum256},
		{"POST", "/v2/"},
		{"PUT", "/v2"},
		{"OPTIONS", "/v2/"},
		{"TRACE", "/v2/x"},
	} {
		got := r.do(row.method, row.path)
		if got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "GET, HEAD" || !strings.HasPrefix(string(got.body), `{"errors":[{"code":"UNSUPPORTED",`) {
			t.Errorf("%s %s: got %d, Allow %q, %s", row.method, row.path, got.StatusCode, got.Header.Get("Allow"), got.body)
		}
	}
	if n := r.origin.count(""); n != 0 {
		t.Errorf("the origin saw %d requests, want none", n)
	}
}

func TestErrorsAreInTheOCIShape(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) {
		c.Upstreams.Allow = []string{"allowed.test", "127.0.0.1:9", "*.nip.test", "169.254.*"}
	})
	for _, row := range []struct {
		name, path, code, says string
		status                 int
	}{
		{"no API path", "/v2/app/thing/x", codeUnknown, "no such path", 404},
		{"outside of the API", "/", codeUnknown, "no such path", 404},
		{"a bad name", "/v2/App/manifests/v1", codeName, "App", 400},
		{"a bad tag", "/v2/app/manifests/-", codeTag, "-", 400},
		{"a bad digest", "/v2/app/blobs/sha256:x", codeDigest, "sha256:x", 400},
		{"a bad upstream", "/v2/app/manifests/v1?ns=a/b", codeName, "a/b", 400},
		{"an upstream not allowed", "/v2/app/manifests/v1?ns=ghcr.io", codeDenied, "list of allowed upstreams", 403},
		{"an upstream not allowed, in the path", "/v2/ghcr.io/app/manifests/v1", codeDenied, "list of allowed upstreams", 403},
		{"the metadata service, by a pattern that allows it", "/v2/169.254.169.254/app/manifests/v1", codeDenied, "link-local", 403},
	} {
		got := r.do("GET", row.path)
		if got.StatusCode != row.status || !strings.HasPrefix(string(got.body), `{"errors":[{"code":"`+row.code+`"`) || !strings.Contains(string(got.body), row.says) {
			t.Errorf("%s: got %d %s; want %d %s with %q", row.name, got.StatusCode, got.body, row.status, row.code, row.says)
		}
	}
}

func TestTheMirrorIsNoWayIntoTheNode(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, host := range []string{
		"127.0.0.1:65003", "localhost:10248", "[::1]:6443", "169.254.169.254", "0.0.0.0:22", "[::ffff:7f00:1]:80", "100.100.100.200", "[fd00:ec2::254]",
		strings.TrimPrefix(r.server.URL, "http://"), // itself
	} {
		for _, path := range []string{"/v2/?ns=" + host, "/v2/" + host + "/app/manifests/v1", "/v2/app/blobs/" + sum256 + "?ns=" + host, "/v2/app/tags/list?ns=" + host} {
			if strings.HasPrefix(host, "localhost") {
				continue // resolved by no resolver in this test: see package egress
			}
			if got := r.do("GET", path); got.StatusCode != http.StatusForbidden || !strings.Contains(string(got.body), "--allow-upstream") {
				t.Errorf("%s: got %d %s, want 403 and what to do", path, got.StatusCode, got.body)
			}
		}
	}
	if n := r.swarm.opens(); n != 0 {
		t.Errorf("%d downloads were opened", n)
	}
}

func TestUpstreamsByQueryByPathAndByDefaultAreOneTask(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	img := r.push("team/app", "v1", 10_000, 1)
	for _, path := range []string{"/v2/team/app/%s", "/v2/team/app/%s?ns=origin.test", "/v2/origin.test/team/app/%s", "/v2/team/app/%s?ns=" + r.origin.host()} {
		for _, what := range []string{"manifests/v1", "manifests/" + img.digest.String(), "blobs/" + img.layer.String()} {
			if got := r.do("GET", strings.Replace(path, "%s", what, 1)); got.StatusCode != http.StatusOK {
				t.Errorf("%s of %s: got %d %s", path, what, got.StatusCode, got.body)
			}
		}
	}
	if n := r.origin.count("GET", "/blobs/"); n != 1 {
		t.Errorf("origin GETs of the blob: got %d, want 1", n)
	}
	if n := r.origin.count("ns="); n != 0 {
		t.Error("ns went on to the origin")
	}
}

func TestWhatIsNoContentPassesThrough(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	img := r.push("team/app", "v1", 1000, 1)
	var seen http.Header
	r.origin.set(func() {
		r.origin.hook = func(w http.ResponseWriter, req *http.Request) bool {
			r.origin.set(func() { seen = req.Header.Clone() })
			w.Header().Set("Set-Cookie", "session=1")
			w.Header().Set("X-Kept", "yes")
			w.Header().Set("Connection", "X-Hop")
			w.Header().Set("X-Hop", "no")
			w.Header().Set(headerSource, "made up")
			return false
		}
	})
	for path, want := range map[string]string{
		"/v2/team/app/tags/list":                        `"v1"`,
		"/v2/_catalog":                                  "team/app",
		"/v2/origin.test/_catalog?n=10":                 "team/app",
		"/v2/team/app/referrers/" + img.digest.String(): "manifests",
		"/v2/":                      "",
		"/v2/team/app/manifests/v1": "layers",
		"/v2/team/app/tags/list?n=1&ns=origin.test&last=v0": `"v1"`,
	} {
		got := r.do("GET", path, "Cookie", "a=b", "X-Forwarded-For", "1.2.3.4", "Authorization", mine, "User-Agent", "test/1", "Accept", "a/b", "Accept-Encoding", "gzip")
		if got.StatusCode != http.StatusOK || !strings.Contains(string(got.body), want) {
			t.Errorf("%s: got %d %s", path, got.StatusCode, got.body)
		}
		for _, name := range []string{"Set-Cookie", "X-Hop"} {
			if v := got.Header.Get(name); v != "" {
				t.Errorf("%s: header %s: %s reached the client", path, name, v)
			}
		}
		if got.Header.Get("X-Kept") != "yes" || got.Header.Get(headerSource) != sourceOrigin {
			t.Errorf("%s: headers %v", path, got.Header)
		}
		if seen.Get("Cookie") != "" || seen.Get("X-Forwarded-For") != "" || seen.Get("Accept-Encoding") != "" ||
			seen.Get("Authorization") != mine || seen.Get("User-Agent") != "test/1" || seen.Get("Accept") != "a/b" {
			t.Errorf("%s: the origin saw %v", path, seen)
		}
	}
}

func TestLinksToTheNextPageLeadThroughTheMirror(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, row := range []struct{ name, path, link, want string }{
		{"relative", "/v2/app/tags/list", `</v2/app/tags/list?last=a&n=1>; rel="next"`, `</v2/app/tags/list?last=a&n=1>; rel="next"`},
		{"absolute", "/v2/app/tags/list", `<` + r.origin.URL + `/v2/app/tags/list?last=a>; rel="next"`, `</v2/app/tags/list?last=a>; rel="next"`},
		{"by ns", "/v2/app/tags/list?ns=origin.test", `</v2/app/tags/list?last=a>; rel="next"`, `</v2/app/tags/list?last=a&ns=origin.test>; rel="next"`},
		{"by host in the path", "/v2/origin.test/app/tags/list", `<http://origin.test/v2/app/tags/list?last=a>; rel="next"`, `</v2/origin.test/app/tags/list?last=a>; rel="next"`},
		{"of the catalog", "/v2/origin.test/_catalog", `</v2/_catalog?last=a>; rel="next"`, `</v2/origin.test/_catalog?last=a>; rel="next"`},
		{"relative to the request", "/v2/origin.test/app/tags/list", `<list?last=a>; rel="next"`, `</v2/origin.test/app/tags/list?last=a>; rel="next"`},
		{"elsewhere stays", "/v2/app/tags/list", `<https://elsewhere.test/v2/>; rel="next"`, `<https://elsewhere.test/v2/>; rel="next"`},
		{"no link stays", "/v2/app/tags/list", `next`, `next`},
	} {
		r.origin.set(func() {
			r.origin.hook = func(w http.ResponseWriter, _ *http.Request) bool { w.Header().Set("Link", row.link); return true }
		})
		if got := r.do("GET", row.path).Header.Get("Link"); got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

func TestTooManyRequestsAreTurnedAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.MaxRequests = 1 })
	release, arrived := make(chan struct{}), make(chan struct{})
	r.origin.hook = func(http.ResponseWriter, *http.Request) bool { arrived <- struct{}{}; <-release; return false }
	var wg sync.WaitGroup
	wg.Go(func() { r.do("GET", "/v2/") })
	<-arrived
	if got := r.do("GET", "/v2/"); got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || !strings.Contains(string(got.body), codeTooMany) {
		t.Errorf("got %d, Retry-After %q, %s", got.StatusCode, got.Header.Get("Retry-After"), got.body)
	}
	close(release)
	wg.Wait()
	r.origin.set(func() { r.origin.hook = nil })
	if got := r.do("GET", "/v2/"); got.StatusCode != http.StatusOK {
		t.Errorf("afterwards: got %d", got.StatusCode)
	}
}

func TestBadConfigurationIsAnError(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"a registry that is none":  {Upstreams: upstream.Config{Registry: "ftp://x"}},
		"a pattern that is none":   {StaleTags: []string{"["}},
		"a negative time to live":  {ProofTTL: -1},
		"a negative bound":         {MaxRequests: -1},
		"a negative manifest size": {MaxManifest: -1},
	} {
		if m, err := New(cfg, Deps{}); err == nil {
			t.Errorf("%s: got %v, want an error", name, m)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	m, err := newMetrics(reg, func() float64 { return 1 })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newMetrics(reg, func() float64 { return 1 }); err == nil {
		t.Error("the same metrics twice in one registry: got no error")
	}
	m.requests.WithLabelValues("blob", "2xx").Inc()
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}
