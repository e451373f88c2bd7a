package origin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// contentRange is a Content-Range header: bytes first to last, inclusive, of total. first is -1 in "bytes */total", total is -1 in
// "bytes first-last/*".
type contentRange struct{ first, last, total int64 }

// parseContentRange reads the header per RFC 9110 section 14.4.
func parseContentRange(text string) (contentRange, error) {
	bad := contentRange{}
	unit, rest, ok := strings.Cut(text, " ")
	span, size, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 || !strings.EqualFold(unit, "bytes") {
		return bad, fmt.Errorf("content range %.64q: want bytes first-last/total", text)
	}
	r := contentRange{first: -1, last: -1, total: -1}
	if size != "*" {
		if r.total = digits(size); r.total < 0 {
			return bad, fmt.Errorf("content range %.64q: bad total", text)
		}
	}
	if span == "*" {
		if r.total < 0 {
			return bad, fmt.Errorf("content range %.64q: neither range nor total", text)
		}
		return r, nil
	}
	first, last, _ := strings.Cut(span, "-")
	r.first, r.last = digits(first), digits(last)
	if r.first < 0 || r.last < r.first || (r.total >= 0 && r.last >= r.total) {
		return bad, fmt.Errorf("content range %.64q: bad range", text)
	}
	return r, nil
}

// digits is a non-negative decimal number without sign, else -1. Numbers near the limit of int64 are refused, so that sums with
// lengths can't overflow.
func digits(text string) int64 {
	n, err := strconv.ParseUint(text, 10, 62)
	if err != nil || text[0] == '+' {
		return -1
	}
	return int64(n)
}

// maxRetryAfter bounds how long an origin can make us wait: longer, and the caller had better look elsewhere.
const maxRetryAfter = 30 * time.Second

// retryAfter reads the header of that name, seconds or a date, from 0 to maxRetryAfter.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0, false
	}
	if secs := digits(text); secs >= 0 {
		return min(time.Duration(min(secs, 3600))*time.Second, maxRetryAfter), true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return max(0, min(at.Sub(now), maxRetryAfter)), true
}
