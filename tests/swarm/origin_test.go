package swarm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// origin is a registry that serves blobs and counts what it sends.
type origin struct {
	*httptest.Server

	mu    sync.Mutex // guards the fields below
	blobs map[string]blob
	gets  map[string]int   // by digest
	sent  map[string]int64 // bytes by digest
	limit *rate.Limiter    // of all answers together, bytes a second; nil is no limit
	down  bool             // every answer is 503
}

// blob is content that is made while it is read, so that a test of gigabytes needs no memory.
type blob struct {
	seed uint64
	size int64
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	o := &origin{blobs: map[string]blob{}, gets: map[string]int{}, sent: map[string]int64{}}
	o.Server = httptest.NewServer(o)
	t.Cleanup(func() {
		o.CloseClientConnections()
		o.Close()
	})
	return o
}

// add makes a blob and returns its digest.
func (o *origin) add(seed uint64, size int64) string {
	b := blob{seed, size}
	h := sha256.New()
	if _, err := io.Copy(h, b.reader(0)); err != nil {
		panic(err) // neither side can fail
	}
	d := "sha256:" + hex.EncodeToString(h.Sum(nil))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.blobs[d] = b
	return d
}

func (o *origin) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

// count returns how often a blob was asked for and how many bytes of it were sent.
func (o *origin) count(digest string) (gets int, sent int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gets[digest], o.sent[digest]
}

// ServeHTTP knows GET and HEAD of /v2/ and of blobs, with one range.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v2/" {
		return
	}
	_, digest, _ := strings.Cut(r.URL.Path, "/blobs/")
	o.mu.Lock()
	b, ok := o.blobs[digest]
	limit, down := o.limit, o.down
	if ok && r.Method == http.MethodGet {
		o.gets[digest]++
	}
	o.mu.Unlock()
	switch {
	case down:
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	case !ok:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Etag", `"`+digest+`"`)
	c := &counting{ResponseWriter: w, o: o, digest: digest, limit: limit, request: r}
	http.ServeContent(c, r, "", time.Time{}, b.reader(0))
}

// throttle lets all answers together send n bytes a second.
func (o *origin) throttle(n int) { o.set(func() { o.limit = rate.NewLimiter(rate.Limit(n), 16<<10) }) }

// counting counts the bytes of a body and keeps to a rate.
type counting struct {
	http.ResponseWriter
	o       *origin
	digest  string
	limit   *rate.Limiter
	request *http.Request
}

func (c *counting) Write(p []byte) (total int, err error) {
	for len(p) > 0 && err == nil {
		part := p
		if c.limit != nil {
			part = p[:min(len(p), c.limit.Burst())]
			if err := c.limit.WaitN(c.request.Context(), len(part)); err != nil {
				return total, err
			}
		}
		// Counted first: a client may have the bytes, and ask for the count, before the write returns.
		c.o.set(func() { c.o.sent[c.digest] += int64(len(part)) })
		var n int
		n, err = c.ResponseWriter.Write(part)
		c.o.set(func() { c.o.sent[c.digest] -= int64(len(part) - n) })
		if c.limit != nil {
			_ = http.NewResponseController(c.ResponseWriter).Flush()
		}
		p, total = p[n:], total+n
	}
	return total, err
}

func (b blob) reader(off int64) *blobReader { return &blobReader{blob: b, pos: off} }

// blobReader makes a blob's bytes: each block of 64 KiB is one chacha stream, so that any offset is as near as another.
type blobReader struct {
	blob
	pos int64
}

const block = 64 << 10

func (r *blobReader) Read(p []byte) (int, error) {
	if r.pos >= r.size {
		return 0, io.EOF
	}
	k, in := r.pos/block, r.pos%block
	buf := make([]byte, min(block, r.size-k*block))
	key := [32]byte{}
	copy(key[:], fmt.Sprintf("%d/%d", r.seed, k))
	_, _ = rand.NewChaCha8(key).Read(buf)
	n := copy(p, buf[in:])
	r.pos += int64(n)
	return n, nil
}

func (r *blobReader) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		r.pos = off
	case io.SeekCurrent:
		r.pos += off
	case io.SeekEnd:
		r.pos = r.size + off
	}
	return r.pos, nil
}
