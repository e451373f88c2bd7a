package origin

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzFetch answers every request with the same foreign bytes and hangs up. Whatever they are, Fetch must end, keep the sink's contract, and give no
// more than a writer was promised.
func FuzzFetch(f *testing.F) {
	for _, answer := range []string{
		"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/4000000000000000000\r\n\r\nhello",
		"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/*\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 4611686018427387905\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nhello",
		"HTTP/1.0 200 OK\r\n\r\nhello",
		"HTTP/1.1 416 No\r\nContent-Range: bytes */3\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 307 There\r\nLocation: /y?z\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 429 Wait\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
		"", "SSH-2.0-x\r\n",
	} {
		f.Add([]byte(answer), int64(0), int64(-1))
		f.Add([]byte(answer), int64(3), int64(2))
	}
	f.Fuzz(func(t *testing.T, answer []byte, off, n int64) {
		need := []Range{{off, n}}
		synctest.Test(t, func(t *testing.T) {
			cfg := small
			cfg.Retries = 1
			c, world := newClient(t, cfg, nil)
			conns, done := make(chan net.Conn), make(chan struct{})
			world.servers["o:80"] = conns
			go repeat(conns, done, answer)
			s := &tally{}
			begin := time.Now()
			err := c.Fetch(t.Context(), Request{URL: "http://o/x"}, need, s)
			if open, over := s.open.Load(), s.over.Load(); open != 0 || over != 0 {
				t.Errorf("%v: %d parts left open, %d with more bytes than promised", err, open, over)
			}
			if short := s.short.Load(); err == nil && short != 0 {
				t.Errorf("no error, but %d parts are short", short)
			}
			if time.Since(begin) > 10*time.Minute {
				t.Errorf("took %v", time.Since(begin))
			}
			close(done)
		})
	})
}

// repeat answers one request a connection.
func repeat(conns chan net.Conn, done chan struct{}, answer []byte) {
	for {
		select {
		case conn := <-conns:
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = conn.Write(answer)
				}
			}()
		case <-done:
			return
		}
	}
}

// tally is a Sink that keeps nothing but how its parts went.
type tally struct{ open, over, short atomic.Int64 }

type tallyPart struct {
	*tally
	left, n int64
}

func (s *tally) Start(Info) error { return nil }

func (s *tally) Part(_, n int64) (PartWriter, error) {
	s.open.Add(1)
	return &tallyPart{s, n, n}, nil
}

func (p *tallyPart) Write(b []byte) (int, error) {
	if p.left -= int64(len(b)); p.n >= 0 && p.left < 0 {
		p.over.Add(1)
	}
	return len(b), nil
}

func (p *tallyPart) CloseWithError(err error) error {
	p.open.Add(-1)
	if p.n >= 0 && p.left > 0 {
		p.short.Add(1)
	}
	return nil
}
