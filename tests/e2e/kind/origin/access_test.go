package origin

import (
	"os"
	"testing"
)

const line = `10.0.0.1 - - [24/Nov/2026:07:41:00 +0000] "`

func TestAccessLogIsRead(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		line, what string
		size       int64
		ok         bool
	}{
		"a whole blob":                   {line + `GET /v2/app/blobs/sha256:aa HTTP/1.1" 200 1234 "" "curl/8"`, "sha256:aa", 1234, true},
		"a part of a blob":               {line + `GET /v2/app/blobs/sha256:aa?ns=x HTTP/1.1" 206 10 "" "curl/8"`, "sha256:aa", 10, true},
		"a tag":                          {line + `GET /v2/a/b/manifests/1 HTTP/1.1" 200 527 "" "curl/8"`, "1", 527, true},
		"HTTP/2, over TLS":               {line + `GET /v2/a/b/manifests/1 HTTP/2.0" 200 527 "" "curl/8"`, "1", 527, true},
		"a question without a body":      {line + `HEAD /v2/app/blobs/sha256:aa HTTP/1.1" 200 1234 "" "curl/8"`, "", 0, false},
		"a refusal":                      {line + `GET /v2/app/blobs/sha256:aa HTTP/1.1" 404 157 "" "curl/8"`, "", 0, false},
		"a warning that is no access":    {`time="2026-11-24T07:41:00Z" level=warning msg="GET /v2/app/blobs/sha256:aa"`, "", 0, false},
		"a size that no number can hold": {line + `GET /v2/a/manifests/1 HTTP/1.1" 200 99999999999999999999 "" "x"`, "1", 1<<63 - 1, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			what, size, ok := parseAccess(tt.line)
			if what != tt.what || size != tt.size || ok != tt.ok {
				t.Errorf("parseAccess(%q) = %q, %d, %v; want %q, %d, %v", tt.line, what, size, ok, tt.what, tt.size, tt.ok)
			}
		})
	}
}

func TestOnlyWhatCameAfterTheMarkCounts(t *testing.T) {
	t.Parallel()
	o := New(Config{Name: "registry", Dir: t.TempDir(), Addr: "127.0.0.1:5000"})
	if err := os.MkdirAll(o.spec.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(s string) {
		f, err := os.OpenFile(o.spec.LogFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(s + "\n"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(line + `GET /v2/a/blobs/sha256:aa HTTP/1.1" 200 1 "" "x"`)
	mark, err := o.Mark()
	if err != nil {
		t.Fatal(err)
	}
	write(line + `GET /v2/a/blobs/sha256:aa HTTP/1.1" 206 10 "" "x"`)
	write(line + `GET /v2/a/blobs/sha256:aa HTTP/1.1" 206 20 "" "x"`)
	counts, err := o.Since(mark)
	if want := (Gets{2, 30}); err != nil || len(counts) != 1 || counts["sha256:aa"] != want {
		t.Errorf("counts = %v (%v), want %v", counts, err, want)
	}
}
