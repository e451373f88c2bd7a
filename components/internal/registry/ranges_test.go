package registry

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// FuzzRange checks every answer to a Range against the content: whatever is asked, what is sent is what Content-Range says it is.
func FuzzRange(f *testing.F) {
	for _, s := range []string{
		"bytes=0-3", "bytes=-3", "bytes=4-", "bytes=0-1,4-5", "bytes=-0", "bytes=-0,-1", "bytes=9-99", "bytes=10-", "bytes=0-0,0-0,0-0", "items=1-2",
		"bytes=1-0", "bytes= 1 - 2 ", "bytes=00000-00001", "bytes=+1-2", "BYTES=1-2", "bytes=9223372036854775807-", "bytes=-9223372036854775808", "bytes=- 0", "bytes= - +0",
	} {
		f.Add(s)
	}
	const content = "0123456789"
	f.Fuzz(func(t *testing.T, rng string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Range"] = []string{rng}
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "x/y")
		http.ServeContent(w, ranges(r), "", lastModified(&opened{}), strings.NewReader(content))
		switch media, params, _ := mime.ParseMediaType(w.Header().Get("Content-Type")); {
		case w.Code == 416:
		case w.Code == 200:
			if w.Body.String() != content {
				t.Errorf("Range %q: 200 with %q", rng, w.Body)
			}
		case w.Code == 206 && media == "multipart/byteranges":
			parts := multipart.NewReader(bytes.NewReader(w.Body.Bytes()), params["boundary"])
			for {
				p, err := parts.NextPart()
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Fatalf("Range %q: %v", rng, err)
				}
				body, _ := io.ReadAll(p)
				checkRange(t, rng, p.Header.Get("Content-Range"), string(body), content)
			}
		case w.Code == 206:
			checkRange(t, rng, w.Header().Get("Content-Range"), w.Body.String(), content)
		default:
			t.Errorf("Range %q: status %d", rng, w.Code)
		}
	})
}

func checkRange(t *testing.T, asked, told, body, content string) {
	t.Helper()
	first, rest, _ := strings.Cut(strings.TrimPrefix(told, "bytes "), "-")
	last, total, _ := strings.Cut(rest, "/")
	a, err1 := strconv.Atoi(first)
	b, err2 := strconv.Atoi(last)
	if err1 != nil || err2 != nil || total != strconv.Itoa(len(content)) || a > b || b >= len(content) || body != content[a:b+1] {
		t.Errorf("Range %q: Content-Range %q with body %q", asked, told, body)
	}
}
