package registry

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/internal/registry/upstream"
)

const (
	sum256 = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sum512 = "sha512:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" +
		"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func policy(tb testing.TB) *upstream.Policy {
	tb.Helper()
	p, err := upstream.New(upstream.Config{Registry: "https://default.test", Hosts: map[string]upstream.Host{"plain.test:5000": {PlainHTTP: true}}})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestPathsAndTheirUpstreams(t *testing.T) {
	t.Parallel()
	p := policy(t)
	const def, hub = "https://default.test/v2", "https://registry-1.docker.io/v2"
	for _, row := range []struct {
		name, uri string
		kind      kind
		base      string
		path      string // upstream
	}{
		{"the API's root", "/v2/", ping, def, ""},
		{"the API's root without slash", "/v2", ping, def, ""},
		{"the root of a host in the path", "/v2/ghcr.io/", ping, "https://ghcr.io/v2", ""},
		{"the root with ns", "/v2/?ns=ghcr.io", ping, "https://ghcr.io/v2", ""},
		{"a tag", "/v2/library/nginx/manifests/latest", tag, def, "library/nginx/manifests/latest"},
		{"a tag with ns", "/v2/library/nginx/manifests/latest?ns=docker.io", tag, hub, "library/nginx/manifests/latest"},
		{"a tag with a host in the path", "/v2/docker.io/library/nginx/manifests/1.2", tag, hub, "library/nginx/manifests/1.2"},
		{"a listed plain host with a port in the path", "/v2/plain.test:5000/app/manifests/v1", tag, "http://plain.test:5000/v2", "app/manifests/v1"},
		{"localhost is a host", "/v2/localhost/app/manifests/v1", tag, "https://localhost/v2", "app/manifests/v1"},
		{"ns wins over a host in the path", "/v2/a.b/app/manifests/v1?ns=ghcr.io", tag, "https://ghcr.io/v2", "a.b/app/manifests/v1"},
		{"a repository with a dot that can be no host", "/v2/my.app/manifests/v1", tag, def, "my.app/manifests/v1"},
		{"its tags", "/v2/my.app/tags/list", list, def, "my.app/tags/list"},
		{"a manifest by digest", "/v2/app/manifests/" + sum256, manifest, def, "app/manifests/" + sum256},
		{"a blob", "/v2/a/b/c/blobs/" + sum256, blob, def, "a/b/c/blobs/" + sum256},
		{"a blob with an escaped colon", "/v2/app/blobs/" + strings.Replace(sum256, ":", "%3A", 1), blob, def, "app/blobs/" + sum256},
		{"a blob by sha512", "/v2/app/blobs/" + sum512, blob, def, "app/blobs/" + sum512},
		{"tags", "/v2/app/tags/list?n=2", list, def, "app/tags/list"},
		{"referrers", "/v2/app/referrers/" + sum256, list, def, "app/referrers/" + sum256},
		{"the catalog", "/v2/_catalog", list, def, "_catalog"},
		{"the catalog of a host", "/v2/ghcr.io/_catalog", list, "https://ghcr.io/v2", "_catalog"},
		{"a repository called blobs", "/v2/app/blobs/manifests/v1", tag, def, "app/blobs/manifests/v1"},
		{"a repository called manifests", "/v2/manifests/manifests/manifests", tag, def, "manifests/manifests/manifests"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			rt, up, err := resolve(p, httptest.NewRequest(http.MethodGet, row.uri, nil))
			if err != nil || rt.kind != row.kind || up.Base != row.base || rt.path != row.path {
				t.Errorf("resolve(%q): got %v %q at %q, %v; want %v %q at %q", row.uri, rt.kind, rt.path, up.Base, err, row.kind, row.path, row.base)
			}
		})
	}
}

func TestPathsThatAreNone(t *testing.T) {
	t.Parallel()
	p := policy(t)
	for _, uri := range []string{
		"/", "/v1/", "/v2x", "//v2/", "/healthz", "/v2/app", "/v2/app/", "/v2/manifests/v1", "/v2//manifests/v1", "/v2/app/manifests/",
		"/v2/app/blobs/uploads/", "/v2/app/blobs/uploads/x", "/v2/app/blobs/latest", "/v2/app/blobs/sha256:abc",
		"/v2/app/blobs/sha256:" + strings.Repeat("A", 64), "/v2/app/blobs/md5:" + strings.Repeat("a", 32), "/v2/app/manifests/-tag",
		"/v2/app/manifests/" + strings.Repeat("a", 129), "/v2/app/manifests/a%20b", "/v2/app/manifests/a%2Fb", "/v2/App/manifests/v1",
		"/v2/../app/manifests/v1", "/v2/app/../x/manifests/v1", "/v2/a%00b/manifests/v1", "/v2/a%0d%0ab/manifests/v1", "/v2/app/tags/all",
		"/v2/" + strings.Repeat("a/", 200) + "manifests/v1", "/v2/app/manifests/v1?ns=a&ns=b", "/v2/app/manifests/v1?ns=", "/v2/app/manifests/v1?ns=a/b",
		"/v2/app/manifests/v1?ns=user:pw@host", "/v2/user@host.x/app/manifests/v1", "/v2/a:b:c/app/manifests/v1", "/v2/app/referrers/v1",
		"/v2/ghcr.io/App/manifests/v1", "/v2/_catalog/", "/v2/app/_catalog",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		if rt, up, err := resolve(p, r); err == nil {
			t.Errorf("resolve(%.100q): got %+v at %q, want an error", uri, rt, up.Base)
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, s := range []string{
		"/v2/", "/v2/app/manifests/v1", "/v2/ghcr.io/app/blobs/" + sum256, "/v2/a:1/b/tags/list", "/v2/../x/manifests/v1", "/v2/%2e%2e/manifests/v1",
	} {
		f.Add(s, "")
		f.Add(s, "docker.io")
		f.Add(s, "a@b/c")
	}
	p := policy(f)
	f.Fuzz(func(t *testing.T, path, ns string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL = &url.URL{Path: path}
		if ns != "" {
			r.URL.RawQuery = url.Values{"ns": {ns}}.Encode()
		}
		rt, up, err := resolve(p, r)
		if err != nil {
			return
		}
		// What goes upstream is a URL below the API's root of the host chosen, whatever came in.
		got, err := url.Parse(up.URL(rt.path, ""))
		if err != nil {
			t.Fatalf("resolve(%q, ns %q): URL %q: %v", path, ns, up.URL(rt.path, ""), err)
		}
		if got.Host != up.Host || got.User != nil || got.RawQuery != "" || got.Fragment != "" || !strings.HasPrefix(got.Path, "/v2/") ||
			strings.Contains(got.Path, "..") || strings.ContainsAny(got.Path, "%\\ \r\n") || strings.Contains(got.Path[4:], "//") {
			t.Errorf("resolve(%q, ns %q): URL %q", path, ns, got)
		}
	})
}
