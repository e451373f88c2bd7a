package origin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// answer is a response that holds the content's bytes from start on.
type answer struct {
	start, end int64 // end is exclusive, -1 while unknown
	whole      bool  // a 200: everything from byte 0 on
	body       io.ReadCloser
}

// try makes one attempt at the bytes from off to end, exclusive, -1 for the end of the content. A range that the origin can't make sense
// of is asked for once more without. A nil answer without an error says that the content ends at off.
func (ct *content) try(ctx context.Context, off, end int64) (*answer, error) {
	resp, err := ct.get(ctx, rangeHeader(off, end))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		resp.Body.Close()
		cr, err := parseContentRange(resp.Header.Get("Content-Range"))
		if err == nil && off > 0 && cr.total == off {
			return nil, ct.learn(Info{Length: off, Ranges: true, Header: http.Header{}})
		}
		if err == nil && cr.total >= 0 && cr.total <= off && off > 0 {
			return nil, fmt.Errorf("%w: it has %d bytes, byte %d was asked for", ErrChanged, cr.total, off)
		}
		return ct.plain(ctx)
	}
	if resp.StatusCode == http.StatusPartialContent && ct.length() < 0 && off == 0 &&
		strings.HasSuffix(resp.Header.Get("Content-Range"), "/*") {
		resp.Body.Close()
		return ct.plain(ctx)
	}
	return ct.read(resp, off, end, true)
}

func (ct *content) plain(ctx context.Context) (*answer, error) {
	resp, err := ct.get(ctx, "")
	if err != nil {
		return nil, err
	}
	return ct.read(resp, 0, -1, false)
}

// read checks what resp claims against what was asked and what is known. It closes resp's body unless it returns an answer.
func (ct *content) read(resp *http.Response, off, end int64, ranged bool) (*answer, error) {
	var a *answer
	var err error
	info := infoOf(resp)
	switch {
	case resp.StatusCode == http.StatusOK:
		a = &answer{end: resp.ContentLength, whole: true}
		info.Length = resp.ContentLength
		info.Ranges = strings.EqualFold(resp.Header.Get("Accept-Ranges"), "bytes")
	case resp.StatusCode == http.StatusPartialContent && ranged:
		info.Ranges = true
		a, info.Length, err = partial(resp, off, end)
	default:
		return nil, statusError(resp)
	}
	if err == nil {
		err = ct.learn(info)
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	if a.end < 0 {
		a.end = ct.length()
	}
	a.body = resp.Body
	if a.end >= 0 {
		a.body = struct {
			io.Reader
			io.Closer
		}{&exact{resp.Body, a.end - a.start}, resp.Body}
	}
	return a, nil
}

// partial checks a 206. An origin may send less than it was asked for, but not other bytes or more.
func partial(resp *http.Response, off, end int64) (*answer, int64, error) {
	cr, err := parseContentRange(resp.Header.Get("Content-Range"))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errLie, err)
	}
	if cr.first != off || (end >= 0 && cr.last >= end) {
		return nil, 0, fmt.Errorf("%w: asked for %s, got bytes %d-%d", errLie, rangeHeader(off, end), cr.first, cr.last)
	}
	n := cr.last + 1 - cr.first
	if resp.ContentLength >= 0 && resp.ContentLength != n {
		return nil, 0, fmt.Errorf("%w: a range of %d bytes in a body of %d", errLie, n, resp.ContentLength)
	}
	return &answer{start: off, end: cr.last + 1}, cr.total, nil
}

// statusError keeps the beginning of resp's body and closes it. Only for answers of follow, whose body is a guard.
func statusError(resp *http.Response) error {
	defer resp.Body.Close()
	return &StatusError{Code: resp.StatusCode, Header: resp.Header, Body: resp.Body.(*guard).start(), URL: redact(resp.Request.URL)}
}

// repeated lists the representation headers of Info.Header.
var repeated = []string{
	"Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Docker-Content-Digest", "Etag",
	"Last-Modified",
}

func infoOf(resp *http.Response) Info {
	h := http.Header{}
	for _, name := range repeated {
		if v := resp.Header.Get(name); v != "" {
			h.Set(name, v)
		}
	}
	return Info{Length: -1, ETag: h.Get("Etag"), LastModified: h.Get("Last-Modified"), Header: h}
}
