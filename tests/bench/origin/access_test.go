package origin

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

func TestAccessLogIsRead(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		line, hex string
		bytes     int64
		ok        bool
	}{
		"a whole blob":              {"GET 200 1234 /v2/bench/blobs/sha256:aa", "aa", 1234, true},
		"a part of a blob":          {"GET 206 10 /v2/bench/blobs/sha256:aa?ns=x", "aa", 10, true},
		"a question without a body": {"HEAD 200 1234 /v2/bench/blobs/sha256:aa", "aa", 0, true},
		"a refusal":                 {"GET 404 157 /v2/bench/blobs/sha256:aa", "aa", 0, true},
		"a manifest":                {"GET 200 157 /v2/bench/manifests/sha256:aa", "", 0, false},
		"the version":               {"GET 200 0 /v2/", "", 0, false},
		"no size":                   {"GET 200 - /v2/bench/blobs/sha256:aa", "", 0, false},
		"a line cut off":            {"GET 200", "", 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hex, bytes, ok := parseAccess(tt.line)
			if hex != tt.hex || ok != tt.ok || ok && bytes != tt.bytes {
				t.Errorf("parseAccess(%q) = %q, %d, %v; want %q, %d, %v", tt.line, hex, bytes, ok, tt.hex, tt.bytes, tt.ok)
			}
		})
	}
}

func TestOnlyTheBlobsAskedForCount(t *testing.T) {
	t.Parallel()
	o := &Origin{dir: t.TempDir()}
	const log = "GET 200 5 /v2/bench/blobs/sha256:aa\nHEAD 200 5 /v2/bench/blobs/sha256:aa\nGET 206 7 /v2/bench/blobs/sha256:bb\nGET 200 9 /v2/bench/blobs/sha256:cc\n"
	if err := os.WriteFile(filepath.Join(o.dir, "access.log"), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := o.Gets([]Blob{{Hex: "aa"}, {Hex: "bb"}})
	if want := (Gets{Requests: 3, Bytes: 12}); err != nil || got != want {
		t.Errorf("Gets = %+v, %v; want %+v", got, err, want)
	}
}

func TestContentHasItsDigestAndIsNew(t *testing.T) {
	t.Parallel()
	o := &Origin{dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(o.dir, "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	a, err := o.Add(3 << 20)
	if err != nil {
		t.Fatal(err)
	}
	b, err := o.Add(3 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if a.Hex == b.Hex || a.Path() != "/v2/bench/blobs/sha256:"+a.Hex {
		t.Errorf("blobs %+v and %+v, want two different ones", a, b)
	}
	content, err := os.ReadFile(o.File(a))
	if err != nil || len(content) != 3<<20 || sum(content) != a.Hex {
		t.Errorf("%d bytes with the digest %s (%v), want %+v", len(content), sum(content), err, a)
	}
	if err := o.Remove(a); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(o.File(a)); !os.IsNotExist(err) {
		t.Errorf("a removed blob is still there: %v", err)
	}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
