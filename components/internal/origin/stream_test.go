package origin

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestStream(t *testing.T) {
	t.Parallel()
	breaks := func(o *server) *server {
		o.do = func(i int, w http.ResponseWriter, r *http.Request) bool { return i < 2 && o.breakAt(1000, w, r) }
		return o
	}
	for _, row := range []struct {
		name   string
		origin *server
		off, n int64
		err    error
		ranges []string
	}{
		{"everything is a plain GET", &server{}, 0, -1, nil, []string{"-"}},
		{"from an offset to the end", &server{}, 99_000, -1, nil, []string{"99000-"}},
		{"a piece of it", &server{}, 500, 1000, nil, []string{"500-1499"}},
		{"a piece at the very end", &server{}, 99_999, 1, nil, []string{"99999-99999"}},
		{"nothing is left", &server{}, 100_000, -1, nil, []string{"100000-"}},
		{"past the end", &server{}, 100_001, -1, ErrChanged, []string{"100001-"}},
		{"more than there is", &server{}, 99_000, 1001, ErrChanged, []string{"99000-100000"}},
		{"an origin without ranges", &server{plain: true}, 99_000, 500, nil, []string{"99000-99499"}},
		{"more than an origin without ranges has", &server{plain: true}, 99_000, 1001, ErrChanged, []string{"99000-100000"}},
		{"past the end of an origin without ranges", &server{plain: true}, 100_001, -1, ErrChanged, []string{"100001-"}},
		{"everything, broken twice", breaks(&server{}), 0, -1, nil, []string{"-", "1000-99999", "2000-99999"}},
		{"a piece, broken twice", breaks(&server{}), 50_000, 9000, nil, []string{"50000-58999", "51000-58999", "52000-58999"}},
		{"broken twice while skipping", breaks(&server{plain: true}), 50_000, 9000, nil, []string{"50000-58999", "50000-58999", "50000-58999"}},
		{"refused", &server{do: always(answerWith(403))}, 0, -1, &StatusError{}, []string{"-"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := row.origin
				o.data = bytesOf(100_000)
				c, _ := newClient(t, small, map[string]http.Handler{"o": o})
				info, r, err := c.Stream(t.Context(), Request{URL: "http://o/x"}, row.off, row.n)
				var got []byte
				if err == nil {
					got, err = io.ReadAll(r)
					r.Close()
				}
				if status, ok := errors.AsType[*StatusError](err); ok && row.err != nil {
					err = row.err
					if status.Code != 403 {
						t.Errorf("status %d, want 403", status.Code)
					}
				}
				if !errors.Is(err, row.err) {
					t.Fatalf("got %v, want %v", err, row.err)
				}
				end := int64(len(o.data))
				if row.n >= 0 {
					end = row.off + row.n
				}
				if err == nil && (!bytes.Equal(got, o.data[row.off:end]) || info.Length != 100_000) {
					t.Errorf("got %d bytes of a content of %d, want those from %d to %d of 100000", len(got), info.Length, row.off, end)
				}
				if !slices.Equal(o.ranges(), row.ranges) {
					t.Errorf("asked for %q, want %q", o.ranges(), row.ranges)
				}
			})
		})
	}
}

func TestStreamTellsWhatItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &server{data: bytesOf(10), etag: `"a"`}
		o.do = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Docker-Content-Digest", "sha256:00")
			w.Header().Set("Set-Cookie", "x=y")
			return false
		}
		c, _ := newClient(t, small, map[string]http.Handler{"o": o})
		info, r, err := c.Stream(t.Context(), Request{URL: "http://o/x"}, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		date := "Sun, 09 Sep 2001 01:46:40 GMT"
		if info.Length != 10 || !info.Ranges || info.ETag != `"a"` || info.LastModified != date {
			t.Errorf("got %+v", info)
		}
		want := http.Header{
			"Content-Type": {"application/x-test"}, "Docker-Content-Digest": {"sha256:00"}, "Etag": {`"a"`},
			"Last-Modified": {date},
		}
		for name := range want {
			if !slices.Equal(info.Header[name], want[name]) || len(info.Header) != len(want) {
				t.Errorf("header: got %v, want %v", info.Header, want)
			}
		}
	})
}

// Bytes that came before a failure are given out before the wait for the next try.
func TestStreamDoesNotHoldBackBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &server{data: bytesOf(100_000)}
		o.do = func(i int, w http.ResponseWriter, r *http.Request) bool {
			if i == 1 {
				return answerWith(503, "Retry-After", "20")(w, r)
			}
			return i == 0 && o.breakAt(1000, w, r)
		}
		c, _ := newClient(t, small, map[string]http.Handler{"o": o})
		begin := time.Now()
		_, r, err := c.Stream(t.Context(), Request{URL: "http://o/x"}, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil || time.Since(begin) != 0 {
			t.Errorf("first bytes: %v after %v, want them at once", err, time.Since(begin))
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) != 99_000 || time.Since(begin) < 20*time.Second {
			t.Errorf("rest: %d bytes, %v, after %v; want 99000 after Retry-After", len(rest), err, time.Since(begin))
		}
	})
}

// An origin that makes a MiB of progress each time may break as often as it likes; one that makes less may not.
func TestStreamCountsFailuresWithoutProgress(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		each int
		good bool
	}{{progress, true}, {progress - 1, false}} {
		synctest.Test(t, func(t *testing.T) {
			o := &server{data: bytesOf(8 * progress)}
			o.do = func(_ int, w http.ResponseWriter, r *http.Request) bool { return o.breakAt(row.each, w, r) }
			c, _ := newClient(t, small, map[string]http.Handler{"o": o})
			_, r, err := c.Stream(t.Context(), Request{URL: "http://o/x"}, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			n, err := io.Copy(io.Discard, r)
			if (err == nil) != row.good {
				t.Errorf("%d bytes a try: got %d bytes, %v; want success %v", row.each, n, err, row.good)
			}
		})
	}
}

// An origin without ranges that breaks later and later would send the content many times over.
func TestStreamBoundsSkipping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &server{data: bytesOf(7 * progress), plain: true}
		o.do = func(i int, w http.ResponseWriter, r *http.Request) bool { return o.breakAt((i+1)*progress, w, r) }
		c, _ := newClient(t, small, map[string]http.Handler{"o": o})
		_, r, err := c.Stream(t.Context(), Request{URL: "http://o/x"}, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if n, err := io.Copy(io.Discard, r); !errors.Is(err, errSkips) || len(o.seen) > 6 {
			t.Errorf("got %d bytes, %v, after %d requests; want %v after at most 6", n, err, len(o.seen), errSkips)
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, errSkips) {
			t.Errorf("read again: got %v, want the same error", err)
		}
	})
}
