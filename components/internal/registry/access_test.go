package registry

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry/upstream"
)

const (
	mine   = "Bearer mine"
	yours  = "Bearer yours"
	nobody = ""
)

// guarded is a mirror before an origin that shows repositories to these credentials only: "Bearer mine" → "team/app", "team/other".
func guarded(t *testing.T, who map[string][]string, change ...func(*Config)) *rig {
	t.Helper()
	r := newRig(t, change...)
	r.origin.scheme = "Bearer"
	r.origin.allow = func(auth, repo string) bool { return slices.Contains(who[auth], repo) }
	return r
}

// auth as a pair for rig.do.
func auth(credential string) []string {
	if credential == nobody {
		return nil
	}
	return []string{"Authorization", credential}
}

// warm has mine pull the manifest and the layer, so that the swarm holds both as private.
func (r *rig) warm(repo string, img image) {
	r.t.Helper()
	for _, path := range []string{"/manifests/v1", "/manifests/" + img.digest.String(), "/blobs/" + img.layer.String()} {
		if got := r.do("GET", "/v2/"+repo+path, auth(mine)...); got.StatusCode != http.StatusOK {
			r.t.Fatalf("warm %s: got %d %s", path, got.StatusCode, got.body)
		}
	}
	if meta, ok := r.swarm.Known(img.layer.Encoded()); !ok || meta.Public {
		r.t.Fatalf("the swarm has %+v, %v; want the layer as private", meta, ok)
	}
	r.origin.reset()
}

func TestACachedBlobIsShownToNobodyWhomTheOriginRefuses(t *testing.T) {
	t.Parallel()
	r := guarded(t, map[string][]string{mine: {"team/app"}, yours: {"team/other"}})
	img := r.push("team/app", "v1", 20_000, 1)
	r.warm("team/app", img)
	r.origin.set(func() {
		r.origin.hook = func(w http.ResponseWriter, req *http.Request) bool { // the registry of the tests has one bag of blobs for all
			lacks := req.Header.Get("Authorization") == yours && strings.HasPrefix(req.URL.Path, "/v2/team/other/")
			if lacks {
				w.WriteHeader(http.StatusNotFound)
			}
			return lacks
		}
	})
	manifest, blob := "/manifests/"+img.digest.String(), "/blobs/"+img.layer.String()
	for _, row := range []struct {
		name, method, repo, what, cred string
		status                         int
	}{
		{"who was allowed gets the blob", "GET", "team/app", blob, mine, 200},
		{"and its head", "HEAD", "team/app", blob, mine, 200},
		{"and the manifest", "GET", "team/app", manifest, mine, 200},
		{"nobody does not", "GET", "team/app", blob, nobody, 401},
		{"nor by HEAD", "HEAD", "team/app", blob, nobody, 401},
		{"nor the manifest", "GET", "team/app", manifest, nobody, 401},
		{"nor the manifest by HEAD", "HEAD", "team/app", manifest, nobody, 401},
		{"somebody else does not", "GET", "team/app", blob, yours, 401},
		{"nor by HEAD", "HEAD", "team/app", blob, yours, 401},
		{"nor the manifest", "GET", "team/app", manifest, yours, 401},
		{"nor by a repository of theirs that lacks it", "GET", "team/other", blob, yours, 404},
		{"nor the manifest by that", "GET", "team/other", manifest, yours, 404},
		{"not even a range of it", "GET", "team/other", blob, yours, 404},
		{"a credential that is nearly mine", "GET", "team/app", blob, mine + " ", 200}, // HTTP trims it: it is mine
		{"a credential that begins like mine", "GET", "team/app", blob, "Bearer min", 401},
	} {
		got := r.do(row.method, "/v2/"+row.repo+row.what, append(auth(row.cred), "Range", "bytes=0-9")...)
		ok := got.StatusCode == row.status || row.status == 200 && got.StatusCode == http.StatusPartialContent
		if !ok {
			t.Errorf("%s: got %d, want %d", row.name, got.StatusCode, row.status)
		}
		if row.status != 200 && strings.Contains(string(got.body), string(img.bytes[:10])) {
			t.Errorf("%s: the answer has the content", row.name)
		}
		if row.status == 401 && !strings.HasPrefix(got.Header.Get("WWW-Authenticate"), `Bearer realm="http://localhost:`) {
			t.Errorf("%s: challenge %q, want the origin's", row.name, got.Header.Get("WWW-Authenticate"))
		}
		if row.status == 401 && row.method == "GET" && !strings.Contains(string(got.body), "origin says no") {
			t.Errorf("%s: body %q, want the origin's", row.name, got.body)
		}
	}
}

func TestAManifestProvesWhatItListsInItsRepository(t *testing.T) {
	t.Parallel()
	r := guarded(t, map[string][]string{mine: {"team/app", "team/fork"}, yours: {"team/app"}})
	img := r.push("team/app", "v1", 20_000, 2)
	r.pushImage("team/fork", "v1", img.Image)
	r.warm("team/app", img)

	// The same layer in another repository of mine is asked for once, then remembered.
	for range 2 {
		if got := r.do("GET", "/v2/team/fork/blobs/"+img.layer.String(), auth(mine)...); got.StatusCode != http.StatusOK {
			t.Fatalf("the fork's layer: got %d", got.StatusCode)
		}
	}
	if n, m := r.origin.count("HEAD", "team/fork"), r.origin.count(""); n != 1 || m != 1 {
		t.Errorf("origin requests: got %d HEADs of %d requests, want one of one", n, m)
	}

	// Somebody else who may read costs a tag's HEAD, as containerd sends it, and nothing more.
	r.origin.reset()
	for _, path := range []string{"HEAD /manifests/v1", "GET /manifests/" + img.digest.String(), "GET /blobs/" + img.layer.String()} {
		method, path, _ := strings.Cut(path, " ")
		if got := r.do(method, "/v2/team/app"+path, auth(yours)...); got.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: got %d", method, path, got.StatusCode)
		}
	}
	if n := r.origin.count(""); n != 1 {
		t.Errorf("origin requests: got %d, want one: %q", n, r.origin.log)
	}
}

func TestARevokedCredentialStopsToOpenWithinTheTimeToLive(t *testing.T) {
	t.Parallel()
	who := map[string][]string{mine: {"team/app"}}
	r := guarded(t, who)
	img := r.push("team/app", "v1", 20_000, 1)
	r.warm("team/app", img)
	r.origin.set(func() { delete(who, mine) })
	blob := "/v2/team/app/blobs/" + img.layer.String()
	r.pass(4 * time.Minute)
	if got := r.do("GET", blob, auth(mine)...); got.StatusCode != http.StatusOK || r.origin.count("") != 0 {
		t.Errorf("within the time: got %d after %d origin requests, want 200 after none", got.StatusCode, r.origin.count(""))
	}
	r.pass(2 * time.Minute)
	if got := r.do("GET", blob, auth(mine)...); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("after the time: got %d, want 401", got.StatusCode)
	}
	r.origin.set(func() { who[mine] = []string{"team/app"} })
	if got := r.do("GET", blob, auth(mine)...); got.StatusCode != http.StatusOK {
		t.Errorf("allowed again: got %d, want 200", got.StatusCode)
	}
}

func TestPublicContentNeedsNoProof(t *testing.T) {
	t.Parallel()
	r := guarded(t, map[string][]string{nobody: {"open/app"}, mine: {"open/app", "team/app"}})
	img := r.push("open/app", "v1", 20_000, 1)
	blob := "/blobs/" + img.layer.String()
	if got := r.do("GET", "/v2/open/app"+blob); got.StatusCode != http.StatusOK {
		t.Fatalf("got %d", got.StatusCode)
	}
	if n := r.origin.count(""); n != 1 {
		t.Errorf("the first anonymous pull cost %d origin requests, want the one that fetches: %q", n, r.origin.log)
	}
	r.origin.reset()
	for _, cred := range []string{nobody, mine, yours} {
		if got := r.do("GET", "/v2/open/app"+blob, auth(cred)...); got.StatusCode != http.StatusOK {
			t.Errorf("credential %q: got %d", cred, got.StatusCode)
		}
	}
	if n := r.origin.count(""); n != 0 {
		t.Errorf("later pulls cost %d origin requests, want none: %q", n, r.origin.log)
	}
}

func TestContentFetchedWithACredentialMayStillBePublic(t *testing.T) {
	t.Parallel()
	r := guarded(t, map[string][]string{nobody: {"open/app"}, mine: {"open/app"}})
	img := r.push("open/app", "v1", 20_000, 1)
	r.warm("open/app", img)
	for range 2 {
		if got := r.do("GET", "/v2/open/app/blobs/"+img.layer.String()); got.StatusCode != http.StatusOK || got.Header.Get(headerSource) == sourceOrigin {
			t.Errorf("got %d from %q, want 200 from the cache", got.StatusCode, got.Header.Get(headerSource))
		}
	}
	if n := r.origin.count("HEAD"); n != 1 || r.origin.count("") != 1 {
		t.Errorf("origin requests: %q, want one HEAD", r.origin.log)
	}
}

func TestWithoutCredentialAClosedUpstreamIsAskedBeforeTheSwarm(t *testing.T) {
	t.Parallel()
	r := guarded(t, map[string][]string{mine: {"team/app"}})
	img := r.push("team/app", "v1", 20_000, 1)
	for range 3 {
		if got := r.do("GET", "/v2/team/app/blobs/"+img.layer.String()); got.StatusCode != http.StatusUnauthorized {
			t.Fatalf("got %d, want 401", got.StatusCode)
		}
	}
	if n := r.swarm.opens(); n != 1 {
		t.Errorf("downloads opened: got %d, want 1: the origin's no holds for a while", n)
	}
}

func TestCredentialsGoToTheSwarmOnlyAsPrivateUnlessTheWayIsSafe(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name          string
		cred          string
		forward, cert bool
		private       bool
	}{
		{"no credential is no secret", nobody, false, false, false},
		{"a credential stays on the host", mine, false, false, true},
		{"a credential may go over TLS", mine, true, false, false},
		{"a client certificate stays on the host", nobody, true, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *Config) {
				c.ForwardCredentials = row.forward
				c.Upstreams.Hosts["origin.test"] = upstream.Host{PlainHTTP: true, ClientCert: row.cert}
			})
			img := r.push("team/app", "v1", 1000, 1)
			if got := r.do("GET", "/v2/origin.test/team/app/blobs/"+img.layer.String(), append(auth(row.cred), "Cookie", "a=b", "X-Other", "c")...); got.StatusCode != http.StatusOK {
				t.Fatalf("got %d", got.StatusCode)
			}
			spec := r.swarm.specs[0]
			if spec.Private != row.private || spec.Header.Get("Authorization") != row.cred {
				t.Errorf("got %+v, want private %v", spec, row.private)
			}
			if spec.Header.Get("Cookie") != "" || spec.Header.Get("X-Other") != "" {
				t.Errorf("headers %v go on that nobody needs", spec.Header)
			}
		})
	}
}

// The attacker has a repository of their own in the registry, and tries to make what it may hold prove what it does not.
func TestForgedManifestsOpenNothing(t *testing.T) {
	t.Parallel()
	r := guarded(t, map[string][]string{mine: {"team/app"}, yours: {"team/own"}})
	img := r.push("team/app", "v1", 20_000, 1)
	r.warm("team/app", img)
	forged := []byte(`{"schemaVersion":2,"config":{"digest":"` + img.layer.String() + `"},"layers":[{"digest":"` + img.layer.String() + `"}]}`)
	index := []byte(`{"schemaVersion":2,"manifests":[{"digest":"` + img.digest.String() + `"},{"digest":"` + img.layer.String() + `"}]}`)
	// A registry takes any bytes as a blob, and sparse indexes as manifests.
	has := map[string][]byte{
		"/v2/team/own/blobs/" + digest.FromBytes(forged).String():    forged,
		"/v2/team/own/manifests/" + digest.FromBytes(index).String(): index,
		"/v2/team/own/manifests/index":                               index,
	}
	r.origin.set(func() {
		r.origin.hook = func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.HasPrefix(req.URL.Path, "/v2/team/own/") || req.Header.Get("Authorization") != yours {
				return false
			}
			if body, ok := has[req.URL.Path]; ok {
				_, _ = w.Write(body)
			} else {
				w.WriteHeader(http.StatusNotFound)
			}
			return true
		}
	})
	public := r.hold([]byte(`{"schemaVersion":2,"layers":[{"digest":"`+img.layer.String()+`"}]}`), "application/vnd.oci.image.manifest.v1+json")
	for _, step := range []struct {
		name, path, cred string
		status           int
	}{
		{"a blob that looks like a manifest", "/v2/team/own/blobs/" + digest.FromBytes(forged).String(), yours, 200},
		{"is no manifest", "/v2/team/own/manifests/" + digest.FromBytes(forged).String(), yours, 404},
		{"and proves nothing", "/v2/team/own/blobs/" + img.layer.String(), yours, 404},
		{"an index is what it is", "/v2/team/own/manifests/index", yours, 200},
		{"by its digest, too", "/v2/team/own/manifests/" + digest.FromBytes(index).String(), yours, 200},
		{"but opens no manifest of elsewhere", "/v2/team/own/manifests/" + img.digest.String(), yours, 404},
		{"nor a blob as a manifest", "/v2/team/own/manifests/" + img.layer.String(), yours, 404},
		{"nor a blob", "/v2/team/own/blobs/" + img.layer.String(), yours, 404},
		{"a public manifest is shown in any repository", "/v2/team/app/manifests/" + public.String(), yours, 200},
		{"and to anybody", "/v2/team/app/manifests/" + public.String(), nobody, 200},
		{"but proves nothing there", "/v2/team/app/blobs/" + img.layer.String(), yours, 401},
		{"nor to anybody", "/v2/team/app/blobs/" + img.layer.String(), nobody, 401},
	} {
		if got := r.do("GET", step.path, auth(step.cred)...); got.StatusCode != step.status {
			t.Errorf("%s: got %d, want %d", step.name, got.StatusCode, step.status)
		}
	}
}

// An attacker's registry says yes to everything; the blob is private elsewhere and in the swarm.
func TestAnUpstreamThatLiesOpensNothing(t *testing.T) {
	t.Parallel()
	r := guarded(t, map[string][]string{mine: {"team/app"}})
	img := r.push("team/app", "v1", 20_000, 1)
	r.warm("team/app", img)
	own := []byte("what the liar really has")
	liar := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set(headerDigest, img.digest.String())
		if strings.Contains(req.URL.Path, "/blobs/") {
			w.Header().Set(headerDigest, img.layer.String())
		}
		if strings.HasSuffix(req.URL.Path, "/v1") {
			_, _ = w.Write(img.manifest)
			return
		}
		_, _ = w.Write(own)
	}))
	t.Cleanup(liar.Close)
	r.names["liar.test:443"] = strings.TrimPrefix(liar.URL, "https://")
	for _, path := range []string{"/manifests/v1", "/manifests/" + img.digest.String(), "/blobs/" + img.layer.String()} {
		for _, cred := range []string{nobody, mine, yours} {
			for _, prefix := range []string{"/v2/liar.test/app", "/v2/app"} {
				uri := prefix + path
				if prefix == "/v2/app" {
					uri += "?ns=liar.test"
				}
				got := r.do("GET", uri, auth(cred)...)
				if strings.Contains(string(got.body), string(img.bytes[:20])) || strings.HasPrefix(path, "/manifests/sha256") && string(got.body) == string(img.manifest) {
					t.Fatalf("GET %s with %q: got the private content", uri, cred)
				}
			}
		}
	}
}

func TestEachUnknownUpstreamHasItsOwnTasks(t *testing.T) {
	t.Parallel()
	d := digest.FromString("x")
	ids := map[string]string{}
	for _, up := range []upstream.Upstream{
		{Base: "https://ghcr.io/v2", Shared: true},
		{Base: "https://quay.io/v2", Shared: true},
		{Base: "https://a.test/v2"},
		{Base: "https://b.test/v2"},
		{Base: "http://a.test/v2"},
	} {
		q := &request{route: route{digest: d}, up: up}
		id := q.task()
		if !api.ValidTaskID(id) {
			t.Errorf("task of %s: %q is no id", up.Base, id)
		}
		if up.Shared != (id == d.Encoded()) {
			t.Errorf("task of %s: got %s, want the digest only if shared", up.Base, id)
		}
		if other, ok := ids[id]; ok && !up.Shared {
			t.Errorf("%s and %s have one task", up.Base, other)
		}
		ids[id] = up.Base
	}
}

func TestEveryBlobCanBeChecked(t *testing.T) {
	t.Parallel()
	r := guarded(t, map[string][]string{mine: {"team/app"}}, func(c *Config) { c.CheckEveryBlob = true })
	img := r.push("team/app", "v1", 20_000, 1)
	r.warm("team/app", img)
	r.pass(6 * time.Minute)
	for _, path := range []string{"/manifests/v1", "/blobs/" + img.layer.String(), "/blobs/" + img.layer.String()} {
		if got := r.do("GET", "/v2/team/app"+path, auth(mine)...); got.StatusCode != http.StatusOK {
			t.Fatalf("%s: got %d", path, got.StatusCode)
		}
	}
	if n := r.origin.count("HEAD", "/blobs/"); n != 1 {
		t.Errorf("origin HEADs of the blob: got %d, want 1", n)
	}
}

func TestALoginPageIsNoProof(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		header map[string]string
	}{
		{"with the type of a page", map[string]string{"Content-Type": "text/html"}},
		{"with another length", map[string]string{"Content-Length": "7"}},
		{"with another digest", map[string]string{headerDigest: digest.FromString("page").String()}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := guarded(t, map[string][]string{mine: {"team/app"}})
			img := r.push("team/app", "v1", 20_000, 1)
			r.warm("team/app", img)
			r.origin.set(func() {
				r.origin.hook = func(w http.ResponseWriter, req *http.Request) bool {
					for k, v := range row.header {
						w.Header().Set(k, v)
					}
					w.WriteHeader(http.StatusOK)
					if req.Method == http.MethodGet {
						_, _ = w.Write([]byte("a page!"))
					}
					return true
				}
			})
			for range 2 {
				got := r.do("GET", "/v2/team/app/blobs/"+img.layer.String(), auth(yours)...)
				if strings.Contains(string(got.body), string(img.bytes[:20])) {
					t.Error("a page that answers everything opened the cache")
				}
			}
		})
	}
}
