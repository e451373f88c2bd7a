package piece_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

func TestBlobID(t *testing.T) {
	t.Parallel()
	hex := strings.Repeat("ab", 32)
	for _, row := range []struct {
		name string
		d    digest.Digest
		want string // "" where an error is wanted
	}{
		{"a sha256 is its own id", digest.Digest("sha256:" + hex), hex},
		{"a sha512 is hashed", digest.Digest("sha512:" + hex + hex), "5d63cbd323b4a3495d343daafb074843f5b270766171281d11f183416c265500"},
		{"an unknown algorithm is hashed", "blake3+b64:AAAA", "d363059ec7d27f3f031233e37515150a0da068c3d132cc9bb14f31bbe4e999ef"},
		{"upper case is no sha256", digest.Digest("sha256:" + strings.ToUpper(hex)), ""},
		{"a short sha256", digest.Digest("sha256:" + hex[1:]), ""},
		{"no algorithm", digest.Digest(hex), ""},
		{"empty", "", ""},
		{"a path", "sha256:../../../../etc/passwd", ""},
	} {
		got, err := piece.BlobID(row.d)
		if got != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%s: BlobID(%q) = %q, %v; want %q", row.name, row.d, got, err, row.want)
		}
	}
}

func urlID(t *testing.T, rawURL string, filters []string, tag, d string) string {
	t.Helper()
	id, err := piece.URLID(rawURL, filters, tag, d)
	if err != nil {
		t.Fatalf("URLID(%q): %v", rawURL, err)
	}
	return id
}

// The id is part of the protocol: peers of different releases share a task only while it stays the same. Without our code:
//
//	printf 'dragonfly task v1\n3\n5 https\n11 example.com\n4 /a/b\n1\n3 x=1\n2\n2 v1\n0 \n' | sha256sum
func TestURLIDStaysTheSame(t *testing.T) {
	t.Parallel()
	got := urlID(t, "https://example.com/a/b?x=1&y=2", []string{"y"}, "v1", "")
	if want := "69d86cf4c157a1058bb02516003c97e73c354ba68975ce975df27c392c1c7bdc"; got != want {
		t.Errorf("got %s, want %s: change urlVersion with the canonical form", got, want)
	}
}

func TestURLIDOfTheSame(t *testing.T) {
	t.Parallel()
	const base = "https://example.com/a/b?x=1&y=2"
	for name, same := range map[string]string{
		"scheme in upper case":             "HTTPS://example.com/a/b?x=1&y=2",
		"host in mixed case":               "https://Example.COM/a/b?x=1&y=2",
		"default port":                     "https://example.com:443/a/b?x=1&y=2",
		"port left empty":                  "https://example.com:/a/b?x=1&y=2",
		"fragment":                         base + "#part",
		"user and password":                "https://user:secret@example.com/a/b?x=1&y=2",
		"other order":                      "https://example.com/a/b?y=2&x=1",
		"filtered parameters":              "https://example.com/a/b?sig=abc&x=1&Expires=12&y=2",
		"an escaped filtered parameter":    base + "&s%69g=abc",
		"a filtered parameter, no value":   base + "&sig",
		"empty parameters":                 "https://example.com/a/b?&x=1&&y=2&",
		"a filtered parameter, many times": base + "&sig=1&sig=2",
	} {
		if urlID(t, base, []string{"sig", "Expires"}, "", "") != urlID(t, same, []string{"Expires", "sig"}, "", "") {
			t.Errorf("%s: %q has another id", name, same)
		}
	}
	if urlID(t, "http://example.com", nil, "", "") != urlID(t, "http://example.com:80/", nil, "", "") {
		t.Error("no path is the root")
	}
}

func TestURLIDOfOthers(t *testing.T) {
	t.Parallel()
	d := "sha256:" + strings.Repeat("0", 64)
	seen := make(map[string]string)
	for _, row := range []struct{ name, url, tag, digest string }{
		{"base", "https://example.com/a?x=1&y=2", "", ""},
		{"other scheme", "http://example.com/a?x=1&y=2", "", ""},
		{"other port", "https://example.com:80/a?x=1&y=2", "", ""},
		{"other host", "https://example.org/a?x=1&y=2", "", ""},
		{"path in upper case", "https://example.com/A?x=1&y=2", "", ""},
		{"escaped slash", "https://example.com/%2Fa?x=1&y=2", "", ""},
		{"double slash", "https://example.com//a?x=1&y=2", "", ""},
		{"other value", "https://example.com/a?x=1&y=3", "", ""},
		{"values swapped", "https://example.com/a?x=2&y=1", "", ""},
		{"same name twice", "https://example.com/a?x=1&x=2", "", ""},
		{"same name twice, swapped", "https://example.com/a?x=2&x=1", "", ""},
		{"escaped ampersand", "https://example.com/a?x=1%26y=2", "", ""},
		{"no value", "https://example.com/a?x", "", ""},
		{"empty value", "https://example.com/a?x=", "", ""},
		{"no query", "https://example.com/a", "", ""},
		{"query in the path", "https://example.com/a%3Fx=1&y=2", "", ""},
		{"tag", "https://example.com/a", "t", ""},
		{"another tag", "https://example.com/a", "t\n", ""},
		{"digest", "https://example.com/a", "", d},
		{"tag and digest", "https://example.com/a", "t", d},
		{"digest as tag", "https://example.com/a", d, ""},
		{"host and port run together", "https://example.com8443/a", "", ""},
		{"host and port", "https://example.com:8443/a", "", ""},
		{"an IPv6 address", "https://[::1]:8443/a", "", ""},
		{"another IPv6 address", "https://[::1:8443]/a", "", ""},
	} {
		id := urlID(t, row.url, nil, row.tag, row.digest)
		if other, ok := seen[id]; ok {
			t.Errorf("%q has the id of %q", row.name, other)
		}
		seen[id] = row.name
	}
}

func TestURLIDRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, url, digest string }{
		{"empty", "", ""},
		{"no scheme", "example.com/secret", ""},
		{"no host", "https:///secret", ""},
		{"port without host", "https://:443/secret", ""},
		{"a file", "file:///secret", ""},
		{"ftp", "ftp://example.com/secret", ""},
		{"opaque", "https:secret", ""},
		{"a bad port", "https://example.com:port/secret", ""},
		{"a bad escape in the path", "https://example.com/secret%zz", ""},
		{"a bad escape in a parameter's name", "https://example.com/?secret=1&%zz=1", ""},
		{"a control character", "https://example.com/secret\n", ""},
		{"a bad digest", "https://example.com/", "sha256:00"},
	} {
		id, err := piece.URLID(row.url, nil, "", row.digest)
		if err == nil {
			t.Errorf("%s: URLID(%q) = %s, want an error", row.name, row.url, id)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells a secret: %v", row.name, err)
		}
	}
}

func FuzzURLID(f *testing.F) {
	f.Add("https://user:pw@example.com:443/a/b?x=1&sig=2#f", "sig", "t")
	f.Add("http://[::1%25eth0]/%2f?%61=&&=", "a", "")
	f.Fuzz(func(t *testing.T, rawURL, filter, tag string) {
		id, err := piece.URLID(rawURL, []string{filter}, tag, "")
		if err != nil {
			return
		}
		if len(id) != 64 {
			t.Fatalf("URLID(%q) = %q, want 64 digits", rawURL, id)
		}
		again, err := piece.URLID(rawURL+"#other", []string{filter, filter}, tag, "")
		if err != nil || again != id {
			t.Fatalf("URLID(%q) = %s, with a fragment %s, %v", rawURL, id, again, err)
		}
		if other, _ := piece.URLID(rawURL, []string{filter}, tag+"x", ""); other == id {
			t.Fatalf("URLID(%q): another tag has the same id", rawURL)
		}
	})
}
