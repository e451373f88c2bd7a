package origin

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestParseContentRange(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]contentRange{
		"bytes 0-0/1":        {0, 0, 1},
		"bytes 5-9/10":       {5, 9, 10},
		"Bytes 5-9/*":        {5, 9, -1},
		"bytes */0":          {-1, -1, 0},
		"bytes */4611686018": {-1, -1, 4611686018},
	} {
		if got, err := parseContentRange(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "bytes", "bytes 0-0", "bytes */*", "bytes 5-4/10", "bytes 5-10/10", "bytes -5/10", "bytes 5-/10",
		"bytes 0-+1/10", "bytes +0-1/10", "bytes 0-1/+10", "bytes  0-1/10", "bytes 0-1/10 ", "bytes 0 -1/10", "items 0-1/10", "bytes=0-1/10",
		"bytes 0-1/-1", "bytes 0x0-0x1/10", "bytes 0-9223372036854775807/*", "bytes 0-99999999999999999999999/*", "bytes 0-1/2/3",
		"bytes 0-1-2/10", "bytes 0-1,3-4/10", "bytes */",
	} {
		if got, err := parseContentRange(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, row := range []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"", 0, false},
		{"soon", 0, false},
		{"-5", 0, false},
		{"1.5", 0, false},
		{"+5", 0, false},
		{"0", 0, true},
		{"7", 7 * time.Second, true},
		{" 7 ", 7 * time.Second, true},
		{"31", maxRetryAfter, true},
		{"99999999999999", maxRetryAfter, true},
		{"99999999999999999999999999", 0, false},
		{date(9 * time.Second), 9 * time.Second, true},
		{date(-time.Hour), 0, true},
		{date(time.Hour), maxRetryAfter, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", maxRetryAfter, true},
		{"Mon, 01 Jan 0001 00:00:00 GMT", 0, true},
	} {
		if got, ok := retryAfter(http.Header{"Retry-After": {row.text}}, now); got != row.want || ok != row.ok {
			t.Errorf("%q: got %v, %v, want %v, %v", row.text, got, ok, row.want, row.ok)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	for _, text := range []string{"bytes 0-0/1", "bytes */9", "bytes 1-2/*", "bytes 0-4611686018427387904/4611686018427387905", "x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseContentRange(text)
		if err != nil {
			return
		}
		if r.first < 0 && (r.first != -1 || r.last != -1 || r.total < 0) || r.first >= 0 && r.last < r.first || r.total >= 0 && r.last >= r.total ||
			r.last+1 < r.last || r.total < -1 {
			t.Errorf("%q: accepted as %v", text, r)
		}
		size, span := "*", "*"
		if r.total >= 0 {
			size = fmt.Sprint(r.total)
		}
		if r.first >= 0 {
			span = fmt.Sprintf("%d-%d", r.first, r.last)
		}
		if again, err := parseContentRange("bytes " + span + "/" + size); err != nil || again != r {
			t.Errorf("%q: got %v, written again %v, %v", text, r, again, err)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, text := range []string{"0", "30", "-1", "Fri, 31 Dec 1999 23:59:59 GMT", "Friday, 31-Dec-99 23:59:59 GMT"} {
		f.Add(text, int64(946684799))
	}
	f.Fuzz(func(t *testing.T, text string, now int64) {
		got, ok := retryAfter(http.Header{"Retry-After": {text}}, time.Unix(now, 0))
		if got < 0 || got > maxRetryAfter || !ok && got != 0 {
			t.Errorf("%q: got %v, %v", text, got, ok)
		}
	})
}
