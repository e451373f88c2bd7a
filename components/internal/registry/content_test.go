package registry

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// hold puts content into the swarm, open to everybody.
func (r *rig) hold(data []byte, contentType string) digest.Digest {
	d := digest.FromBytes(data)
	r.swarm.set(func() {
		r.swarm.tasks[d.Encoded()] = &swarmTask{data: data, local: true, meta: api.Meta{
			Length: int64(len(data)), Public: true, Header: map[string]string{"Content-Type": contentType},
		}}
	})
	return d
}

func TestRangesOfABlob(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := []byte("0123456789")
	d := r.hold(data, "")
	etag := `"` + d.String() + `"`
	many := "bytes=" + strings.Repeat("0-0,", maxRanges) + "1-1"
	for _, row := range []struct {
		name    string
		method  string
		headers []string
		status  int
		body    string
		rng     string // Content-Range
	}{
		{"no range is the whole", "GET", nil, 200, "0123456789", ""},
		{"the first bytes", "GET", []string{"Range", "bytes=0-3"}, 206, "0123", "bytes 0-3/10"},
		{"one byte", "GET", []string{"Range", "bytes=9-9"}, 206, "9", "bytes 9-9/10"},
		{"from the middle on", "GET", []string{"Range", "bytes=4-"}, 206, "456789", "bytes 4-9/10"},
		{"the last bytes", "GET", []string{"Range", "bytes=-3"}, 206, "789", "bytes 7-9/10"},
		{"more last bytes than there are", "GET", []string{"Range", "bytes=-30"}, 206, "0123456789", "bytes 0-9/10"},
		{"an end behind the end", "GET", []string{"Range", "bytes=8-99999999999999999"}, 206, "89", "bytes 8-9/10"},
		{"a start behind the end", "GET", []string{"Range", "bytes=10-"}, 416, "", "bytes */10"},
		{"the last zero bytes", "GET", []string{"Range", "bytes=-0"}, 416, "", "bytes */10"},
		{"an end before the start", "GET", []string{"Range", "bytes=5-2"}, 416, "", "bytes */10"},
		{"a number too large", "GET", []string{"Range", "bytes=99999999999999999999-"}, 416, "", "bytes */10"},
		{"a negative number", "GET", []string{"Range", "bytes=--5"}, 416, "", "bytes */10"},
		{"no numbers", "GET", []string{"Range", "bytes=a-b"}, 416, "", "bytes */10"},
		{"a dash", "GET", []string{"Range", "bytes=-"}, 416, "", "bytes */10"},
		{"no ranges at all", "GET", []string{"Range", "bytes=,"}, 416, "", "bytes */10"},
		{"the last zero bytes beside others", "GET", []string{"Range", "bytes=-00,2-3"}, 206, "23", "bytes 2-3/10"},
		{"the unit in upper case", "GET", []string{"Range", "BYTES=2-3"}, 206, "23", "bytes 2-3/10"},
		{"another unit is ignored", "GET", []string{"Range", "pieces=0-3"}, 200, "0123456789", ""},
		{"garbage is ignored", "GET", []string{"Range", "garbage"}, 200, "0123456789", ""},
		{"too many ranges are ignored", "GET", []string{"Range", many}, 200, "0123456789", ""},
		{"ranges longer than the content are ignored", "GET", []string{"Range", "bytes=0-9,0-9"}, 200, "0123456789", ""},
		{"If-Range with our tag", "GET", []string{"Range", "bytes=0-3", "If-Range", etag}, 206, "0123", "bytes 0-3/10"},
		{"If-Range with another tag", "GET", []string{"Range", "bytes=0-3", "If-Range", `"x"`}, 200, "0123456789", ""},
		{"If-Range with a weak tag", "GET", []string{"Range", "bytes=0-3", "If-Range", "W/" + etag}, 200, "0123456789", ""},
		{"If-Range with a date", "GET", []string{"Range", "bytes=0-3", "If-Range", "Thu, 01 Jan 1970 00:00:00 GMT"}, 200, "0123456789", ""},
		{"If-None-Match with our tag", "GET", []string{"If-None-Match", etag}, 304, "", ""},
		{"If-None-Match wins over a range", "GET", []string{"If-None-Match", `"x", W/` + etag, "Range", "bytes=0-3"}, 304, "", ""},
		{"If-None-Match with a star", "GET", []string{"If-None-Match", "*"}, 304, "", ""},
		{"If-None-Match with another tag", "GET", []string{"If-None-Match", `"x"`}, 200, "0123456789", ""},
		{"If-Match with another tag", "GET", []string{"If-Match", `"x"`}, 412, "", ""},
		{"HEAD", "HEAD", nil, 200, "", ""},
		{"HEAD ignores a range", "HEAD", []string{"Range", "bytes=0-3"}, 200, "", ""},
		{"HEAD with our tag", "HEAD", []string{"If-None-Match", etag}, 304, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := r.do(row.method, "/v2/app/blobs/"+d.String(), row.headers...)
			if got.StatusCode != row.status || got.Header.Get("Content-Range") != row.rng || got.err != nil {
				t.Errorf("%s %q: got %d, Content-Range %q, %v; want %d, %q", row.method, row.headers, got.StatusCode, got.Header.Get("Content-Range"), got.err, row.status, row.rng)
			}
			if row.status < 300 && string(got.body) != row.body {
				t.Errorf("%s %q: got body %q, want %q", row.method, row.headers, got.body, row.body)
			}
			if row.status >= 400 && !strings.HasPrefix(string(got.body), `{"errors":[{"code":"`) {
				t.Errorf("%s %q: got body %q, want an error in the OCI shape", row.method, row.headers, got.body)
			}
			if row.status < 400 && (got.Header.Get("Etag") != etag || got.Header.Get(headerDigest) != d.String()) {
				t.Errorf("%s %q: got Etag %q and digest %q", row.method, row.headers, got.Header.Get("Etag"), got.Header.Get(headerDigest))
			}
			if row.status == 200 && (got.ContentLength != 10 || got.Header.Get("Accept-Ranges") != "bytes" || got.Header.Get("Content-Type") != octetStream ||
				got.Header.Get(headerTask) != d.Encoded() || got.Header.Get(headerSource) == "") {
				t.Errorf("%s %q: got length %d, headers %v", row.method, row.headers, got.ContentLength, got.Header)
			}
		})
	}
}

func TestSeveralRangesAreOneMultipartAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.hold([]byte("0123456789"), "application/x-layer")
	got := r.do("GET", "/v2/app/blobs/"+d.String(), "Range", "bytes=0-1, 4-5, -1")
	media, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	if err != nil || got.StatusCode != http.StatusPartialContent || media != "multipart/byteranges" {
		t.Fatalf("got %d, Content-Type %q", got.StatusCode, got.Header.Get("Content-Type"))
	}
	if got.ContentLength != int64(len(got.body)) {
		t.Errorf("Content-Length %d, body %d", got.ContentLength, len(got.body))
	}
	parts := multipart.NewReader(bytes.NewReader(got.body), params["boundary"])
	for _, want := range []string{"01 bytes 0-1/10", "45 bytes 4-5/10", "9 bytes 9-9/10"} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if have := string(body) + " " + p.Header.Get("Content-Range"); err != nil || have != want || p.Header.Get("Content-Type") != "application/x-layer" {
			t.Errorf("part: got %q, %v, header %v; want %q", have, err, p.Header, want)
		}
	}
}

func TestEightRangesOfAColdBlobAreOneDownload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	img := r.push("app", "v1", 1<<20, 1)
	out := make([]byte, len(img.bytes))
	step := (len(out) + 7) / 8
	var wg sync.WaitGroup
	for i := range 8 {
		first, last := i*step, min((i+1)*step, len(out))-1
		wg.Go(func() {
			got := r.do("GET", "/v2/app/blobs/"+img.layer.String(), "Range", fmt.Sprintf("bytes=%d-%d", first, last))
			if got.StatusCode != http.StatusPartialContent || len(got.body) != last-first+1 {
				t.Errorf("range %d-%d: got %d with %d bytes", first, last, got.StatusCode, len(got.body))
			}
			copy(out[first:], got.body)
		})
	}
	wg.Wait()
	if !bytes.Equal(out, img.bytes) {
		t.Error("the eight ranges together are not the blob")
	}
	if n := r.origin.count("GET", "/blobs/"); n != 1 {
		t.Errorf("origin GETs of the blob: got %d, want 1", n)
	}
}

func TestEmptyBlob(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.hold(nil, "")
	for _, rng := range []string{"", "bytes=0-", "bytes=0-0"} {
		if got := r.do("GET", "/v2/app/blobs/"+d.String(), "Range", rng); got.StatusCode != http.StatusOK || got.ContentLength != 0 {
			t.Errorf("range %q of nothing: got %d, length %d", rng, got.StatusCode, got.ContentLength)
		}
	}
}

func TestABlobOfUnknownLengthIsSentInChunks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	img := r.push("app", "v1", 50_000, 1)
	r.swarm.lengthOff = true
	for _, rng := range []string{"", "bytes=5-9"} {
		got := r.do("GET", "/v2/app/blobs/"+img.layer.String(), "Range", rng)
		// What Known tells has the length; only the first request has to go without.
		r.swarm.set(func() { r.swarm.tasks[img.layer.Encoded()].local = false })
		if got.StatusCode != http.StatusOK || got.ContentLength != -1 || got.Header.Get("Accept-Ranges") != "" || !bytes.Equal(got.body, img.bytes) || got.err != nil {
			t.Errorf("range %q: got %d, length %d, Accept-Ranges %q, %d bytes, %v", rng, got.StatusCode, got.ContentLength, got.Header.Get("Accept-Ranges"), len(got.body), got.err)
		}
	}
}

func TestManifestsByDigest(t *testing.T) {
	t.Parallel()
	oci := `{"schemaVersion":2,"config":{"digest":"` + sum256 + `"},"layers":[]}`
	said := `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"digest":"` + sum256 + `"}}`
	for _, row := range []struct{ name, body, origin, want string }{
		{"the origin's type is kept", oci, "application/vnd.example+json", "application/vnd.example+json"},
		{"one fetched as a blob says itself what it is", said, octetStream, "application/vnd.docker.distribution.manifest.v2+json"},
		{"one fetched as a blob that does not say is known by its fields", oci, "", "application/vnd.oci.image.manifest.v1+json"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			d := r.hold([]byte(row.body), row.origin)
			for _, method := range []string{"GET", "HEAD"} {
				got := r.do(method, "/v2/app/manifests/"+d.String(), "Range", "bytes=0-1")
				if got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != row.want || got.ContentLength != int64(len(row.body)) ||
					got.Header.Get("Accept-Ranges") != "" || got.Header.Get(headerDigest) != d.String() {
					t.Errorf("%s: got %d, length %d, headers %v; want type %q", method, got.StatusCode, got.ContentLength, got.Header, row.want)
				}
				if method == "GET" && string(got.body) != row.body {
					t.Errorf("got body %q, want %q", got.body, row.body)
				}
			}
			if got := r.do("GET", "/v2/app/manifests/"+d.String(), "If-None-Match", `"`+d.String()+`"`); got.StatusCode != http.StatusNotModified {
				t.Errorf("If-None-Match: got %d, want 304", got.StatusCode)
			}
		})
	}
}

func TestAManifestTooLargeToHoldStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.MaxManifest = 100 })
	body := `{"config":{"digest":"` + sum256 + `"},"layers":[` + strings.Repeat(" ", 100) + `]}`
	d := r.hold([]byte(body), "application/vnd.oci.image.manifest.v1+json")
	got := r.do("GET", "/v2/app/manifests/"+d.String())
	if got.StatusCode != http.StatusOK || string(got.body) != body || got.Header.Get("Content-Type") != "application/vnd.oci.image.manifest.v1+json" {
		t.Errorf("got %d %q, %v", got.StatusCode, got.body, got.Header)
	}
}

func TestBlobsBySHA512AreTasksToo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := []byte("by another algorithm")
	d := digest.NewDigestFromBytes(digest.SHA512, func() []byte { s := sha512.Sum512(data); return s[:] }())
	r.origin.hook = func(w http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/blobs/") {
			_, _ = w.Write(data)
			return true
		}
		return false
	}
	for range 2 {
		got := r.do("GET", "/v2/app/blobs/"+d.String())
		if got.StatusCode != http.StatusOK || !bytes.Equal(got.body, data) || got.Header.Get(headerDigest) != d.String() || !api.ValidTaskID(got.Header.Get(headerTask)) {
			t.Errorf("got %d %q, %v", got.StatusCode, got.body, got.Header)
		}
	}
	if n := r.origin.count("/blobs/"); n != 1 {
		t.Errorf("origin requests: got %d, want 1", n)
	}
}

// The bytes go out by the ResponseWriter's own ReadFrom, which is where net/http has sendfile.
func TestTheReaderWritesToWhatCanSendFiles(t *testing.T) {
	t.Parallel()
	m, err := newMetrics(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &fileWriter{header: http.Header{}}
	rec := m.begin(w, blob)
	s := &sender{ResponseWriter: rec}
	if _, err := io.Copy(s.ResponseWriter, io.LimitReader(strings.NewReader("abc"), 3)); err != nil || w.readFroms != 1 || rec.sent != 3 {
		t.Errorf("got %v, ReadFrom called %d times, counted %d bytes; want 1 and 3", err, w.readFroms, rec.sent)
	}
}

type fileWriter struct {
	header    http.Header
	readFroms int
	deadlines int
}

func (w *fileWriter) Header() http.Header         { return w.header }
func (w *fileWriter) WriteHeader(int)             {}
func (w *fileWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *fileWriter) ReadFrom(r io.Reader) (int64, error) {
	w.readFroms++
	return io.Copy(io.Discard, r)
}

// stalled is a download of ten bytes that knows all of itself and sends nothing.
type stalled struct {
	opened, closed atomic.Int64
}

func (s *stalled) Known(string) (api.Meta, bool) { return api.Meta{}, false }

func (s *stalled) Open(context.Context, Spec) (Handle, error) {
	s.opened.Add(1)
	return s, nil
}

func (s *stalled) Meta(context.Context) (api.Meta, error) {
	return api.Meta{Length: 10, Public: true}, nil
}
func (s *stalled) Source() string { return "swarm" }
func (s *stalled) Close()         { s.closed.Add(1) }

func (s *stalled) Reader(int64, int64) io.ReadCloser {
	r, w := io.Pipe()
	_ = w // never written to
	return r
}

func TestAClientThatLeavesEndsItsRequest(t *testing.T) {
	t.Parallel()
	for _, rng := range []string{"", "bytes=1-2", "bytes=1-2,4-5"} {
		synctest.Test(t, func(t *testing.T) {
			swarm := &stalled{}
			m, err := New(Config{}, Deps{Guard: openGuard{}, Log: slog.New(slog.DiscardHandler), Transfers: swarm, Origin: doFunc(nil)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancel(t.Context())
			ended := make(chan any)
			go func() {
				defer func() { ended <- recover() }()
				ask(ctx, m, "/v2/app/blobs/"+sum256, []string{"Range", rng})
			}()
			synctest.Wait()
			if len(m.slots) != 1 || swarm.opened.Load() != 1 {
				t.Errorf("range %q: %d requests and %d downloads are under way, want one", rng, len(m.slots), swarm.opened.Load())
			}
			leave()
			if got, _ := (<-ended).(error); !errors.Is(got, http.ErrAbortHandler) {
				t.Errorf("range %q: the handler ended with %v, want it to abort", rng, got)
			}
			if len(m.slots) != 0 || swarm.closed.Load() != 1 {
				t.Errorf("range %q: %d requests are under way and %d handles closed, want 0 and 1", rng, len(m.slots), swarm.closed.Load())
			}
		})
	}
}

func TestAFrozenClientIsGivenUp(t *testing.T) {
	t.Parallel()
	m, err := newMetrics(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &fileWriter{header: http.Header{}}
	rec := m.begin(w, blob)
	for i, run := range []func() error{
		func() error { _, err := rec.Write([]byte("x")); return err },
		func() error { _, err := io.Copy(rec, io.LimitReader(strings.NewReader("abc"), 3)); return err },
		// Of unknown length, so in runs of a buffer each.
		func() error { _, err := io.Copy(rec, struct{ io.Reader }{strings.NewReader("abc")}); return err },
	} {
		if err := run(); err != nil || w.deadlines != i+1 {
			t.Errorf("run %d: got %v, and %d deadlines", i, err, w.deadlines)
		}
	}
	if rec.sent != 7 || w.readFroms != 1 {
		t.Errorf("counted %d bytes, want 7; ReadFrom called %d times, want once", rec.sent, w.readFroms)
	}
}

func (w *fileWriter) SetWriteDeadline(time.Time) error { w.deadlines++; return nil }
