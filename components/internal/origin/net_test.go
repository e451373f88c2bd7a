package origin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bytesOf is n bytes that look random and are the same every time.
func bytesOf(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// network is a world of HTTP servers in memory, for tests in a synctest bubble: its connections are pipes without buffers, so that time
// moves only when everybody waits, and sent counts what really reached the client.
type network struct {
	servers map[string]chan net.Conn // by host:port
	refuse  atomic.Int32             // that many of the next dials fail
	dials   atomic.Int32
	sent    atomic.Int64 // bytes from servers, headers too
}

// newClient makes a client that reaches the hosts in memory, by http on port 80. Jitter is half of the width.
func newClient(t *testing.T, cfg Config, hosts map[string]http.Handler) (*Client, *network) {
	t.Helper()
	c, err := New(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.random = func() float64 { return 0.5 }
	n := &network{servers: map[string]chan net.Conn{}}
	for host, h := range hosts {
		l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
		n.servers[host+":80"] = l.conns
		srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
		go srv.Serve(l)
		t.Cleanup(func() { srv.Close() })
	}
	c.transports.other.DialContext = n.dial
	t.Cleanup(c.Close)
	return c, n
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	conns, ok := n.servers[addr]
	if !ok || n.refuse.Add(-1) >= 0 {
		return nil, fmt.Errorf("dial %s: connection refused", addr)
	}
	n.dials.Add(1)
	client, server := net.Pipe()
	select {
	case conns <- counted{server, &n.sent}:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type counted struct {
	net.Conn
	sent *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

type listener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// server is an origin with one content. do, if set, is asked first, with the number of the request, from 0 on; where it returns false
// the content is served honestly.
type server struct {
	data  []byte
	etag  string
	plain bool // no ranges
	do    func(i int, w http.ResponseWriter, r *http.Request) bool

	mu   sync.Mutex
	seen []*http.Request
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	i := len(s.seen)
	s.seen = append(s.seen, r.Clone(context.Background())) // do may change r
	s.mu.Unlock()
	if s.do == nil || !s.do(i, w, r) {
		s.honest(w, r)
	}
}

func (s *server) honest(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-test")
	if s.etag != "" {
		w.Header().Set("Etag", s.etag)
	}
	if s.plain {
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		_, _ = w.Write(s.data)
		return
	}
	http.ServeContent(w, r, "", time.Unix(1e9, 0), bytes.NewReader(s.data))
}

// ranges lists the Range headers seen, "-" for none.
func (s *server) ranges() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range s.seen {
		text := strings.TrimPrefix(r.Header.Get("Range"), "bytes=")
		if text == "" {
			text = "-"
		}
		all = append(all, text)
	}
	return all
}

// breakAt serves honestly, but resets the connection once n bytes of the body are out.
func (s *server) breakAt(n int, w http.ResponseWriter, r *http.Request) bool {
	s.honest(&cut{w, n, func() { panic(http.ErrAbortHandler) }}, r)
	return true
}

// stallAt serves honestly, but falls silent once n bytes of the body are out.
func (s *server) stallAt(n int, w http.ResponseWriter, r *http.Request) bool {
	s.honest(&cut{w, n, func() { <-r.Context().Done(); panic(http.ErrAbortHandler) }}, r)
	return true
}

// cut is a ResponseWriter with an end.
type cut struct {
	http.ResponseWriter
	left int
	end  func()
}

func (c *cut) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; err != nil || c.left == 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		c.end()
	}
	return n, err
}

// sink records a Fetch, and complains of what the contract forbids.
type sink struct {
	t     *testing.T
	slow  time.Duration // before each write
	fail  error         // of each write
	mu    sync.Mutex
	info  *Info
	data  []byte
	got   []byte // 1 for each byte that came
	parts []Range
	ends  []error
	open  int
}

func (s *sink) Start(i Info) error {
	if s.info != nil {
		s.t.Error("sink: started twice")
	}
	s.info = &i
	return nil
}

func (s *sink) Part(off, n int64) (PartWriter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.info == nil {
		s.t.Error("sink: part before start")
	}
	s.open++
	s.parts = append(s.parts, Range{off, n})
	return &sinkPart{s, off, n}, nil
}

type sinkPart struct {
	s       *sink
	off     int64
	promise int64
}

func (p *sinkPart) Write(b []byte) (int, error) {
	s := p.s
	if s.slow > 0 {
		<-time.After(s.slow)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	if grow := int(p.off) + len(b) - len(s.data); grow > 0 {
		s.data = append(s.data, make([]byte, grow)...)
		s.got = append(s.got, make([]byte, grow)...)
	}
	got := s.got[p.off:][:len(b)]
	if i := bytes.IndexByte(got, 1); i >= 0 {
		s.t.Errorf("sink: byte %d came twice", p.off+int64(i))
	}
	copy(s.data[p.off:], b)
	copy(got, bytes.Repeat([]byte{1}, len(b)))
	p.off += int64(len(b))
	if p.promise -= int64(len(b)); p.promise < 0 && p.promise+int64(len(b)) >= 0 {
		s.t.Errorf("sink: part got more than it asked for, up to byte %d", p.off)
	}
	return len(b), nil
}

func (p *sinkPart) CloseWithError(err error) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.open--
	p.s.ends = append(p.s.ends, err)
	if err == nil && p.promise > 0 {
		p.s.t.Errorf("sink: part closed as good, %d bytes missing", p.promise)
	}
	return nil
}

// check compares what came with the ranges of want, nil for everything, and nothing else.
func (s *sink) check(want []byte, need []Range) {
	s.t.Helper()
	if s.open != 0 {
		s.t.Errorf("sink: %d parts left open", s.open)
	}
	if need == nil {
		need = []Range{{0, int64(len(want))}}
	}
	left := bytes.Count(s.got, []byte{1})
	for _, r := range need {
		end := r.Off + r.N
		if r.N < 0 {
			end = int64(len(want))
		}
		if r.Off == end {
			continue
		}
		if end > int64(len(s.data)) || !bytes.Equal(s.data[r.Off:end], want[r.Off:end]) || bytes.IndexByte(s.got[r.Off:end], 0) >= 0 {
			s.t.Fatalf("sink: bytes from %d to %d are wrong or missing, it has %d", r.Off, end, len(s.data))
		}
		left -= int(end - r.Off)
	}
	if left != 0 {
		s.t.Errorf("sink: %d bytes came that nobody asked for", left)
	}
}
