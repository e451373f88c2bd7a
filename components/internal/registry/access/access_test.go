package access

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

var (
	one = digest.FromString("one")
	two = digest.FromString("two")
)

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func TestAProofOpensJustWhatItWasGivenFor(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	b, err := NewBook(10, time.Minute, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	given := Proof{b.Credential(bearer("mine")), "https://a/v2", "team/app", Manifest, one}
	b.Grant(given)
	for _, row := range []struct {
		name   string
		change func(*Proof)
		want   bool
	}{
		{"the same", func(p *Proof) { p.Credential = b.Credential(bearer("mine")) }, true},
		{"another credential", func(p *Proof) { p.Credential = b.Credential(bearer("yours")) }, false},
		{"no credential", func(p *Proof) { p.Credential = b.Credential(http.Header{}) }, false},
		{"another upstream", func(p *Proof) { p.Upstream = "https://b/v2" }, false},
		{"another repository", func(p *Proof) { p.Repo = "team/other" }, false},
		{"another kind", func(p *Proof) { p.Kind = Blob }, false},
		{"another digest", func(p *Proof) { p.Digest = two }, false},
		{"the same letters cut elsewhere", func(p *Proof) { p.Upstream, p.Repo = "https://a/v2team", "/app" }, false},
	} {
		p := given
		row.change(&p)
		if got := b.Granted(p); got != row.want {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
	b.Revoke(given)
	if b.Granted(given) {
		t.Error("a revoked proof still opens")
	}
	b.Grant(given)
	now = now.Add(time.Minute)
	if b.Granted(given) {
		t.Error("a proof opens after its time to live")
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	a, err := NewBook(1, time.Minute, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBook(1, time.Minute, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Credential(http.Header{"Accept": {"x"}}).Anonymous() {
		t.Error("a request without Authorization is not anonymous")
	}
	if a.Credential(http.Header{"Authorization": {""}}).Anonymous() {
		t.Error("an empty Authorization counts as none: the origin may see it otherwise")
	}
	if a.Credential(bearer("x")) == b.Credential(bearer("x")) {
		t.Error("two processes hash a credential alike: the key is not random")
	}
	if a.Credential(http.Header{"Authorization": {"a", "b"}}) == a.Credential(http.Header{"Authorization": {"a"}}) {
		t.Error("a second Authorization line makes no difference")
	}
}

func TestTheBookIsBounded(t *testing.T) {
	t.Parallel()
	b, err := NewBook(2, time.Minute, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, repo := range []string{"a", "b", "c"} {
		b.Grant(Proof{Repo: repo})
	}
	if b.Granted(Proof{Repo: "a"}) || !b.Granted(Proof{Repo: "c"}) {
		t.Error("of three proofs in a book of two, want the first gone and the last there")
	}
}

func TestReferences(t *testing.T) {
	t.Parallel()
	d := func(s string) string { return digest.FromString(s).String() }
	for _, row := range []struct {
		name, body string
		want       []string
	}{
		{"an image lists layers and config", `{"config":{"digest":"` + d("c") + `"},"layers":[{"digest":"` + d("l") + `"}]}`, []string{"l", "c"}},
		{"what an index lists need not exist", `{"manifests":[{"digest":"` + d("m") + `"},{"digest":"` + d("n") + `"}]}`, nil},
		{"what an artifact lists need not exist", `{"blobs":[{"digest":"` + d("b") + `"}]}`, nil},
		{"schema 1 lists fsLayers", `{"fsLayers":[{"blobSum":"` + d("f") + `"}]}`, []string{"f"}},
		{"a subject proves nothing", `{"subject":{"digest":"` + d("s") + `"},"layers":[{"digest":"` + d("l") + `"}]}`, []string{"l"}},
		{"a layer from elsewhere proves nothing", `{"layers":[{"digest":"` + d("x") + `","urls":["https://x"]}]}`, nil},
		{"a foreign layer proves nothing", `{"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"` + d("x") + `"}]}`, nil},
		{"a layer not to distribute proves nothing", `{"layers":[{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"` + d("x") + `"}]}`, nil},
		{"an invalid digest is left out", `{"layers":[{"digest":"sha256:../../x"},{"digest":""},{"digest":"` + d("l") + `"}]}`, []string{"l"}},
		{"no JSON", `<html>`, nil},
		{"JSON of another shape", `{"layers":{"digest":"x"}}`, nil},
		{"an array", `[]`, nil},
		{"nothing", ``, nil},
		{"deep nesting", strings.Repeat(`{"config":`, 100_000), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var want []digest.Digest
			for _, s := range row.want {
				want = append(want, digest.FromString(s))
			}
			if got := References([]byte(row.body)); !slices.Equal(got, want) {
				t.Errorf("References(%.200s): got %v, want %v", row.body, got, want)
			}
		})
	}
}

func TestAManifestCantFillTheBook(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"layers":[`)
	for i := range 5000 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"digest":"` + digest.FromString(strings.Repeat("x", i)).String() + `"}`)
	}
	b.WriteString(`]}`)
	if got := len(References([]byte(b.String()))); got != maxReferences {
		t.Errorf("5000 layers: got %d references, want %d", got, maxReferences)
	}
}

func TestMediaType(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, body, want string }{
		{"what it says", `{"mediaType":"application/x"}`, "application/x"},
		{"an index by its fields", `{"manifests":[]}`, "application/vnd.oci.image.index.v1+json"},
		{"an image by its fields", `{"config":{},"layers":[]}`, "application/vnd.oci.image.manifest.v1+json"},
		{"a schema 1 image by its fields", `{"fsLayers":[]}`, "application/vnd.docker.distribution.manifest.v1+prettyjws"},
		{"no manifest", `{}`, ""},
		{"no JSON", `x`, ""},
	} {
		if got := MediaType([]byte(row.body)); got != row.want {
			t.Errorf("%s: MediaType(%s): got %q, want %q", row.name, row.body, got, row.want)
		}
	}
}

func FuzzReferences(f *testing.F) {
	f.Add([]byte(`{"config":{"digest":"` + one.String() + `"},"layers":[{"digest":"` + two.String() + `","urls":["x"]}]}`))
	f.Add([]byte(`{"manifests":[{"digest":"sha256:zz"}],"mediaType":3}`))
	f.Add([]byte(`{"subject":{"digest":"` + one.String() + `"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		refs := References(body)
		if len(refs) > maxReferences {
			t.Errorf("%d references", len(refs))
		}
		for _, d := range refs {
			if d.Validate() != nil || !strings.Contains(strings.ToLower(string(body)), d.Encoded()[:8]) && !strings.Contains(string(body), `\u`) {
				t.Errorf("reference %q is not from the body", d)
			}
		}
		_ = MediaType(body)
	})
}
