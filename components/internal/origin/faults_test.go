package origin

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// claim answers with bytes 0 on of a content of 100,000, under a Content-Range and, unless negative, a Content-Length of its own.
func claim(contentRange string, length, body int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if contentRange != "" {
			w.Header().Set("Content-Range", contentRange)
		}
		if length >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(length))
		}
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(bytesOf(body))
		return true
	}
}

// always makes a server misbehave at every request.
func always(do func(http.ResponseWriter, *http.Request) bool) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, r *http.Request) bool { return do(w, r) }
}

func TestFetchDetectsLies(t *testing.T) {
	t.Parallel()
	lies := map[string]func(http.ResponseWriter, *http.Request) bool{
		"another range than asked for":       claim("bytes 1-16384/100000", -1, 16384),
		"more than asked for":                claim("bytes 0-16384/100000", -1, 16385),
		"a part without its range":           claim("", -1, 16384),
		"a range that is no range":           claim("bytes x-y/z", -1, 16384),
		"a length that is not the range's":   claim("bytes 0-16383/100000", 16000, 16000),
		"more bytes than promised, no size":  claim("bytes 0-16383/100000", -1, 16390),
		"fewer bytes than promised, no size": claim("bytes 0-16383/100000", -1, 16000),
		"several ranges at once":             answerWith(206, "Content-Type", "multipart/byteranges; boundary=x"),
	}
	var cases []fetchCase
	for name, lie := range lies {
		cases = append(cases, fetchCase{name: name + ", once, is asked again", origin: &server{do: once(0, lie)}, tries: 5})
		forever := fetchCase{name: name + ", always, is an error", origin: &server{do: always(lie)}, err: errLie, tries: 4}
		if strings.HasPrefix(name, "more bytes") || strings.HasPrefix(name, "fewer") {
			forever.tries = 0 // found out at the end of a part, when others are under way
		}
		cases = append(cases, forever)
	}
	cases = append(cases, fetchCase{
		name: "a part where everything was asked for", err: errLie, code: 206,
		origin: &server{do: func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				return answerWith(416)(w, r)
			}
			return claim("bytes 0-16383/100000", -1, 16384)(w, r)
		}},
	})
	runCases(t, cases)
}

func TestFetchResumesAtTheExactOffset(t *testing.T) {
	t.Parallel()
	var cases []fetchCase
	for _, at := range []int{0, 1, 4096, 16382, 16383} {
		o := &server{}
		o.do = once(0, func(w http.ResponseWriter, r *http.Request) bool {
			if at == 0 {
				panic(http.ErrAbortHandler)
			}
			return o.breakAt(at, w, r)
		})
		want := append([]string{fmt.Sprintf("%d-16383", at)}, fourParts[1:]...)
		if at == 0 {
			want[0] = fourParts[0]
		}
		cases = append(cases, fetchCase{
			name: fmt.Sprintf("first part broken at byte %d", at), origin: o,
			ranges: append([]string{fourParts[0]}, want...),
		})
	}
	plain := &server{plain: true}
	plain.do = once(0, func(w http.ResponseWriter, r *http.Request) bool { return plain.breakAt(70_000, w, r) })
	mute := &server{}
	mute.do = once(0, func(w http.ResponseWriter, _ *http.Request) bool {
		_ = http.NewResponseController(w).Flush() // chunked
		_, _ = w.Write(mute.data[:70_000])
		panic(http.ErrAbortHandler)
	})
	plainAlways := &server{plain: true}
	plainAlways.do = always(func(w http.ResponseWriter, r *http.Request) bool { return plainAlways.breakAt(70_000, w, r) })
	ignored := &server{}
	ignored.do = once(2, func(w http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("Range")
		return false
	})
	runCases(t, append(cases,
		fetchCase{name: "an origin without ranges sends all again", origin: plain, ranges: []string{"0-16383", "70000-99999"}},
		fetchCase{name: "an origin that breaks at the same byte for ever", origin: plainAlways, tries: 4, err: io.ErrUnexpectedEOF},
		fetchCase{name: "a stream without length goes on as a part", origin: mute, length: -1, ranges: []string{"0-16383", "70000-"}},
		fetchCase{name: "an origin that ignores one range sends all there", origin: ignored, ranges: append([]string{"0-16383"}, fourParts[1:]...)},
	))
}

func TestFetchNoticesChange(t *testing.T) {
	t.Parallel()
	versions := func(_ int, w http.ResponseWriter, r *http.Request) bool { // a tag per range, heedless of If-Range
		r.Header.Del("If-Range")
		w.Header().Set("Etag", fmt.Sprintf("%q", r.Header.Get("Range")))
		return false
	}
	start := func(r *http.Request) int { return firstOf(strings.TrimPrefix(r.Header.Get("Range"), "bytes=")) }
	dates := func(_ int, w http.ResponseWriter, r *http.Request) bool {
		first := start(r)
		w.Header().Set("Last-Modified", time.Unix(int64(first), 0).UTC().Format(http.TimeFormat))
		return claim(fmt.Sprintf("bytes %d-%d/100000", first, first+9), -1, 10)(w, r)
	}
	replaced := &server{etag: `"a"`}
	replaced.do = func(i int, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Etag", `"b"`)
		return i > 0 && r.Header.Get("If-Range") == `"a"` && answerWith(200)(w, r)
	}
	grown := func(i int, w http.ResponseWriter, r *http.Request) bool {
		first := start(r)
		return i > 0 && claim(fmt.Sprintf("bytes %d-%d/100001", first, first+9), -1, 10)(w, r)
	}
	longer := &server{plain: true}
	longer.do = func(i int, w http.ResponseWriter, r *http.Request) bool {
		if i == 0 {
			return longer.breakAt(70_000, w, r)
		}
		_ = http.NewResponseController(w).Flush() // chunked
		_, _ = w.Write(bytesOf(100_005))
		return true
	}
	runCases(t, []fetchCase{
		{name: "longer than it was, but not saying so", origin: longer, err: errLie, tries: 4},
		{name: "another ETag in each part", origin: &server{do: versions}, err: ErrChanged},
		{name: "another ETag in each part of an immutable content", origin: &server{do: versions}, req: Request{Immutable: true}},
		{name: "another date in each part", origin: &server{do: dates}, err: ErrChanged},
		{name: "replaced, and everything sent because of If-Range", origin: replaced, err: ErrChanged},
		{name: "another length", err: ErrChanged, req: Request{Immutable: true}, origin: &server{do: grown}},
	})
}

func TestFetchStatus(t *testing.T) {
	t.Parallel()
	soon := time.Date(2000, 1, 1, 0, 0, 9, 0, time.UTC).Format(http.TimeFormat) // the bubble's clock starts at 2000-01-01
	runCases(t, []fetchCase{
		{name: "403 is final", origin: &server{do: always(answerWith(403))}, code: 403, tries: 1},
		{name: "404 is final", origin: &server{do: always(answerWith(404))}, code: 404, tries: 1},
		{name: "304 makes no sense", origin: &server{do: always(answerWith(304))}, code: 304, tries: 1},
		{name: "401 of a later part is final", origin: &server{do: once(1, answerWith(401))}, code: 401},
		{name: "500 once is asked again", origin: &server{do: once(0, answerWith(500))}, tries: 5},
		{name: "408 once is asked again", origin: &server{do: once(0, answerWith(408))}, tries: 5},
		{name: "502 for ever is an error in the end", origin: &server{do: always(answerWith(502))}, code: 502, tries: 4},
		{name: "429 waits as told", origin: &server{do: once(0, answerWith(429, "Retry-After", "7"))}, tries: 5, took: 7 * time.Second},
		{name: "503 waits until the date", origin: &server{do: once(0, answerWith(503, "Retry-After", soon))}, tries: 5, took: 9 * time.Second},
		{
			name: "429 waits no longer than half a minute", tries: 5, took: 30 * time.Second,
			origin: &server{do: once(0, answerWith(429, "Retry-After", "86400"))},
		},
		{
			name: "429 for ever is an error in the end", origin: &server{do: always(answerWith(429, "Retry-After", "1"))}, code: 429, tries: 4,
			took: 4 * time.Second,
		}, // 3 s, and 700 ms of jitter
		{
			name: "503 without a word backs off", origin: &server{do: always(answerWith(503))}, code: 503, tries: 4,
			took: 1 * time.Second,
		}, // 100 + 200 + 400 ms
	})
}

func TestFetchStalls(t *testing.T) {
	t.Parallel()
	body, header, twice := &server{}, &server{}, &server{plain: true}
	body.do = once(0, func(w http.ResponseWriter, r *http.Request) bool { return body.stallAt(5000, w, r) })
	header.do = once(1, func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
	twice.do = func(i int, w http.ResponseWriter, r *http.Request) bool { return i < 2 && twice.stallAt(30_000, w, r) }
	runCases(t, []fetchCase{
		{
			name: "a silent body is left and resumed", origin: body, took: 10 * time.Second,
			ranges: append([]string{"0-16383", "5000-16383"}, fourParts[1:]...),
		},
		{name: "a silent header is left", origin: header, tries: 5, took: 10 * time.Second},
		{name: "a silent body without ranges is left twice", origin: twice, tries: 3, took: 20 * time.Second},
	})
}
