package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// small is a Config under which the 100,000 bytes of most tests are four parts: 0, 16384, 49152, 81920.
var small = Config{FirstPart: 16384, MinPart: 32768, Retries: 3}

var fourParts = []string{"0-16383", "16384-49151", "49152-81919", "81920-99999"}

// once makes a server misbehave at request i only.
func once(i int, do func(w http.ResponseWriter, r *http.Request) bool) func(int, http.ResponseWriter, *http.Request) bool {
	return func(n int, w http.ResponseWriter, r *http.Request) bool { return n == i && do(w, r) }
}

func answerWith(code int, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		return true
	}
}

// fetchCase is one Fetch from http://o/x, an origin in memory.
type fetchCase struct {
	name   string
	origin *server
	size   int // of the content, 100,000 if zero
	req    Request
	need   []Range
	// what must come of it
	err    error    // nil: all that was needed came
	code   int      // of a StatusError, instead of err
	ranges []string // asked for, sorted; nil: whatever
	tries  int      // number of requests, 0: whatever
	length int64    // told to the sink, 0: the size
	took   time.Duration
}

func (tc fetchCase) run(t *testing.T) {
	if tc.size == 0 {
		tc.size = 100_000
	}
	tc.origin.data = bytesOf(max(tc.size, 0))
	tc.origin.seen = nil
	c, _ := newClient(t, small, map[string]http.Handler{"o": tc.origin})
	s := &sink{t: t}
	tc.req.URL = "http://o/x"
	begin := time.Now()
	err := c.Fetch(t.Context(), tc.req, tc.need, s)
	took := time.Since(begin)

	status, _ := errors.AsType[*StatusError](err)
	switch {
	case tc.code != 0 && (status == nil || status.Code != tc.code):
		t.Errorf("error: got %v, want status %d", err, tc.code)
	case tc.code == 0 && !errors.Is(err, tc.err):
		t.Errorf("error: got %v, want %v", err, tc.err)
	case tc.code == 0 && tc.err == nil:
		s.check(tc.origin.data, tc.need)
		if want := max(tc.length, int64(tc.size)); tc.length >= 0 && s.info.Length != max(0, want) {
			t.Errorf("length: got %d, want %d", s.info.Length, want)
		}
		if tc.length < 0 && s.info.Length != -1 {
			t.Errorf("length: got %d, want unknown", s.info.Length)
		}
	}
	if s.open != 0 {
		t.Errorf("sink: %d parts left open", s.open)
	}
	asked := tc.origin.ranges()
	slices.SortFunc(asked, func(a, b string) int { return firstOf(a) - firstOf(b) })
	if tc.ranges != nil && !slices.Equal(asked, tc.ranges) {
		t.Errorf("asked for: got %q, want %q", asked, tc.ranges)
	}
	if tc.tries != 0 && len(asked) != tc.tries {
		t.Errorf("requests: got %d, want %d: %q", len(asked), tc.tries, asked)
	}
	if tc.took != 0 && took.Round(time.Second) != tc.took {
		t.Errorf("took %v, want about %v", took, tc.took)
	}
}

func firstOf(r string) int {
	var first int
	_, _ = fmt.Sscanf(r, "%d-", &first)
	return first
}

func runCases(t *testing.T, cases []fetchCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, tc.run)
		})
	}
}

func TestFetchKindsOfOrigins(t *testing.T) {
	t.Parallel()
	capped := func(_ int, w http.ResponseWriter, r *http.Request) bool {
		var first, last int
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, min(last, first+11_999)))
		return false
	}
	chunked := func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(bytesOf(100_000))
		return true
	}
	runCases(t, []fetchCase{
		{name: "ranges are fetched in parts", origin: &server{etag: `"a"`}, ranges: fourParts},
		{name: "content of the first part's length takes one request", origin: &server{}, size: 16384, tries: 1},
		{name: "one byte takes one request", origin: &server{}, size: 1, tries: 1},
		{name: "one byte more than the first part takes two requests", origin: &server{}, size: 16385, tries: 2},
		{name: "no ranges is one stream", origin: &server{plain: true}, ranges: []string{"0-16383"}},
		{name: "no length is one stream", origin: &server{do: chunked}, tries: 1, length: -1},
		{name: "empty content", origin: &server{}, size: -1, tries: 1},
		{name: "empty content of an origin that refuses ranges of it", size: -1, tries: 2, origin: &server{
			do: func(_ int, w http.ResponseWriter, r *http.Request) bool {
				return r.Header.Get("Range") != "" && answerWith(416, "Content-Range", "bytes */0")(w, r)
			},
		}},
		{name: "empty content without length", size: -1, length: -1, tries: 1, origin: &server{
			do: func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				_ = http.NewResponseController(w).Flush()
				return true
			},
		}},
		{name: "an origin that minds ranges past the end is asked for all", tries: 2, size: 900, origin: &server{
			do: func(_ int, w http.ResponseWriter, r *http.Request) bool {
				return r.Header.Get("Range") != "" && answerWith(416)(w, r)
			},
		}},
		{name: "an origin that tells no total is asked for all", tries: 2, origin: &server{
			do: func(_ int, w http.ResponseWriter, r *http.Request) bool {
				return r.Header.Get("Range") != "" && answerWith(206, "Content-Range", "bytes 0-16383/*")(w, r)
			},
		}},
		{name: "an origin that bounds its answers is asked on", origin: &server{do: capped}, tries: 2 + 3 + 3 + 2},
		{name: "weak validators are good enough where nothing else is there", origin: &server{etag: `W/"a"`}, ranges: fourParts},
		{name: "an origin that packs is told not to", tries: 4, origin: &server{
			do: func(_ int, w http.ResponseWriter, r *http.Request) bool {
				return r.Header.Get("Accept-Encoding") != "identity" && answerWith(400)(w, r)
			},
		}},
		{name: "an origin that says it packed anyhow is taken at its bytes", tries: 4, origin: &server{
			do: func(_ int, w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Content-Encoding", "gzip")
				return false
			},
		}},
	})
}

func TestFetchNeed(t *testing.T) {
	t.Parallel()
	runCases(t, []fetchCase{
		{name: "one range", origin: &server{}, need: []Range{{20_000, 5000}}, ranges: []string{"20000-24999"}},
		{
			name: "several ranges, cut at multiples of the first part", origin: &server{},
			need:   []Range{{0, 10}, {20_000, 60_000}, {90_000, -1}},
			ranges: []string{"0-9", "20000-65535", "65536-79999", "90000-99999"},
		},
		{
			name: "several ranges of an origin without", origin: &server{plain: true},
			need: []Range{{5, 10}, {20_000, 60_000}, {90_000, -1}}, tries: 1,
		},
		{name: "from the middle to the end", origin: &server{}, need: []Range{{50_000, -1}}, ranges: []string{"50000-81919", "81920-99999"}},
		{name: "from the very end to the end", origin: &server{}, need: []Range{{100_000, -1}}, ranges: []string{"100000-131071"}},
		{name: "a range from the very end", origin: &server{}, need: []Range{{100_000, 1}}, err: ErrChanged, tries: 1},
		{name: "past the end", origin: &server{}, need: []Range{{100_001, -1}}, err: ErrChanged, tries: 1},
		{name: "longer than the content", origin: &server{}, need: []Range{{0, 100_001}}, err: ErrChanged, tries: 1},
		{name: "longer than content without ranges", origin: &server{plain: true}, need: []Range{{0, 100_001}}, err: ErrChanged, tries: 1},
		{name: "a later range past the end", origin: &server{}, need: []Range{{0, 5}, {99_999, 2}}, err: ErrChanged, tries: 1},
	})
}

func TestFetchOfNothing(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, small, nil) // any request would fail
	if err := c.Fetch(t.Context(), Request{URL: "http://o/x"}, []Range{}, nil); err != nil {
		t.Errorf("got %v, want nothing done", err)
	}
}

func TestFetchRefusesBadNeed(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, small, nil)
	for _, need := range [][]Range{{{-1, 5}}, {{0, 0}}, {{5, 5}, {9, 1}}, {{5, 5}, {1, 1}}, {{0, -1}, {9, 1}}, {{1 << 62, 1 << 62}, {1, 1}}} {
		if err := c.Fetch(t.Context(), Request{URL: "http://o/x"}, need, &sink{t: t}); err == nil || !strings.Contains(err.Error(), "range") {
			t.Errorf("need %v: got %v, want an error about the range", need, err)
		}
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &server{data: bytesOf(100_000)}
		o.do = func(_ int, w http.ResponseWriter, r *http.Request) bool { return o.stallAt(5000, w, r) }
		c, _ := newClient(t, small, map[string]http.Handler{"o": o})
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("client went away")
		time.AfterFunc(time.Second, func() { cancel(why) })
		s := &sink{t: t}
		begin := time.Now()
		err := c.Fetch(ctx, Request{URL: "http://o/x"}, nil, s)
		if !errors.Is(err, why) || time.Since(begin) != time.Second {
			t.Errorf("got %v after %v, want %v after 1s", err, time.Since(begin), why)
		}
		if s.open != 0 || len(s.ends) != 4 || slices.ContainsFunc(s.ends, func(err error) bool { return !errors.Is(err, why) }) {
			t.Errorf("parts: %d open, ended with %v; want four ended with %v", s.open, s.ends, why)
		}
	})
}

func TestFetchEndsWithItsSink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		o := &server{data: bytesOf(100_000)}
		c, _ := newClient(t, small, map[string]http.Handler{"o": o})
		s := &sink{t: t, fail: full}
		if err := c.Fetch(t.Context(), Request{URL: "http://o/x"}, nil, s); !errors.Is(err, full) {
			t.Errorf("got %v, want %v", err, full)
		}
		if s.open != 0 {
			t.Errorf("%d parts left open", s.open)
		}
	})
}

func TestFetchWaitsForASlowSink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &server{data: bytesOf(100_000)}
		c, _ := newClient(t, small, map[string]http.Handler{"o": o})
		s := &sink{t: t, slow: time.Minute} // far longer than the stall timeout
		if err := c.Fetch(t.Context(), Request{URL: "http://o/x"}, nil, s); err != nil {
			t.Fatal(err)
		}
		s.check(o.data, nil)
		if len(o.seen) != 4 {
			t.Errorf("requests: got %q, want no retry", o.ranges())
		}
	})
}
