package origin

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

type memSink struct {
	mu   sync.Mutex
	info Info
	buf  []byte
}
type memPart struct {
	s   *memSink
	off int64
}

func (s *memSink) Start(i Info) error                    { s.info = i; return nil }
func (s *memSink) Part(off, n int64) (PartWriter, error) { return &memPart{s, off}, nil }
func (p *memPart) CloseWithError(err error) error        { return nil }
func (p *memPart) Write(b []byte) (int, error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if need := int(p.off) + len(b); need > len(p.s.buf) {
		p.s.buf = append(p.s.buf, make([]byte, need-len(p.s.buf))...)
	}
	copy(p.s.buf[p.off:], b)
	p.off += int64(len(b))
	return len(b), nil
}

func TestSmoke(t *testing.T) {
	data := make([]byte, 1000000)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Log(r.Header.Get("Range"))
		http.ServeContent(w, r, "x", time.Unix(1e9, 0), bytes.NewReader(data))
	}))
	defer srv.Close()
	c, err := New(Config{FirstPart: 1 << 16, MinPart: 1 << 17}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var s memSink
	if err := c.Fetch(t.Context(), Request{URL: srv.URL + "/x?secret=1"}, nil, &s); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.buf, data) {
		t.Fatal("differs")
	}
	info, r, err := c.Stream(t.Context(), Request{URL: srv.URL + "/x"}, 1000, 5000)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data[1000:6000]) {
		t.Fatal(err, info)
	}
	r.Close()
}
