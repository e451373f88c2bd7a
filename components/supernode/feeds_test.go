package supernode

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// enrol registers peers of task, all at once. They hold all of it, so that nobody reads an origin.
func enrol(t *testing.T, s *Server, names ...string) {
	t.Helper()
	var g errgroup.Group
	for _, name := range names {
		g.Go(func() error {
			r := registration(name, "http://origin.invalid/blob", "sha256:"+task)
			r.Private, r.Meta = true, &api.Meta{Length: 2 * piece.MinSize, PieceSize: piece.MinSize}
			r.Held = pieceList(2)
			_, err := s.swarm.Register(t.Context(), task, &r, "127.0.0.1:8002")
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// count reads a metric of the supernode, a sum over those whose labels include all of want.
func count(t *testing.T, s *Server, name string, want ...string) (sum float64) {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name {
				continue
			}
			labels := fmt.Sprint(m.GetLabel())
			all := true
			for _, w := range want {
				all = all && strings.Contains(labels, w)
			}
			if all {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// gone waits until no feed is left, and fails where a trace of one is.
func gone(t *testing.T, s *Server) {
	t.Helper()
	s.feeds.wg.Wait()
	if n := count(t, s, "dragonfly_swarm_streams_count"); n != 0 || len(s.feeds.conns) != 0 {
		t.Errorf("%v streams and %d connections are left", n, len(s.feeds.conns))
	}
}

// wire is a peer's end of a stream, byte for byte.
type wire struct {
	net.Conn
	in   *bufio.Reader
	resp *http.Response
}

func eventsRequest(peer string) string {
	return "GET " + api.EventsPath(task, peer, 0) + " HTTP/1.1\r\nHost: x\r\n\r\n"
}

// listen sends a request on conn and reads the head of the answer.
func listen(t *testing.T, conn net.Conn, request string) *wire {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	w := &wire{Conn: conn, in: bufio.NewReader(conn)}
	var err error
	if w.resp, err = http.ReadResponse(w.in, nil); err != nil {
		t.Fatal(err)
	}
	return w
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.RegisterAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// hear reads updates until one is a sign of life.
func (w *wire) hear(t *testing.T) {
	t.Helper()
	for {
		line, err := w.in.ReadBytes('\n')
		var u api.Update
		if err != nil || json.Unmarshal(line, &u) != nil {
			t.Fatalf("got the line %.100q, %v; want an update", line, err)
		}
		if string(line) == "{}\n" {
			return
		}
	}
}

// end reads what is left.
func (w *wire) end(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, w.in); err != nil {
		t.Errorf("the stream ended with %v, want a clean end", err)
	}
}

func TestAStreamIsAnAnswerThatEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, tc := range []struct{ name, request string }{
		{"HTTP/1.1", eventsRequest("p1")},
		{"HTTP/1.0", "GET " + api.EventsPath(task, "p1", 0) + " HTTP/1.0\r\n\r\n"},
		{"a client that keeps connections", strings.Replace(eventsRequest("p1"), "\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n", 1)},
		{"a request with a body", strings.Replace(eventsRequest("p1"), "\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello", 1)},
		{"a body that never comes", strings.Replace(eventsRequest("p1"), "\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n", 1)},
		{"another request behind it", eventsRequest("p1") + "POST " + api.ReportsPath(task, "p1") +
			" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"},
		{"nonsense behind it", eventsRequest("p1") + strings.Repeat("\x00\xff", 40<<10)},
	} {
		enrol(t, s, "p1")
		w := listen(t, dial(t, s), tc.request)
		h := w.resp.Header
		if w.resp.StatusCode != http.StatusOK || w.resp.ContentLength != -1 || len(w.resp.TransferEncoding) != 0 || !w.resp.Close ||
			h.Get("Content-Type") != "application/x-ndjson" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %s, %v, length %d, encoding %v; want a stream that ends with the connection",
				tc.name, w.resp.Status, h, w.resp.ContentLength, w.resp.TransferEncoding)
		}
		if at, err := http.ParseTime(h.Get("Date")); err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("%s: its date is %q", tc.name, h.Get("Date"))
		}
		w.hear(t)
		w.hear(t)
		_ = w.Close()
	}
	gone(t, s)
	if n := count(t, s, "dragonfly_supernode_requests_total", "/events", `"200"`); n != 7 {
		t.Errorf("%v streams were counted as requests with status 200, want 7", n)
	}
	if n := count(t, s, "dragonfly_supernode_requests_total", "/reports"); n != 0 {
		t.Errorf("%v requests behind a stream were answered, want none", n)
	}
}

func TestAPeerThatClosedItsDirectionOnlyGoesOnHearing(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	enrol(t, s, "p1")
	conn := dial(t, s)
	w := listen(t, conn, eventsRequest("p1"))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.hear(t)
	}
	_ = w.Close()
	gone(t, s)
}

func TestANewerStreamOfAPeerEndsTheOlder(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	enrol(t, s, "p1", "p2")
	other, old := listen(t, dial(t, s), eventsRequest("p2")), listen(t, dial(t, s), eventsRequest("p1"))
	newer := listen(t, dial(t, s), eventsRequest("p1"))
	old.end(t)
	newer.hear(t)
	other.hear(t)
	if n := count(t, s, "dragonfly_swarm_streams_count"); n != 2 {
		t.Errorf("%v streams are open, want 2", n)
	}
}

func TestAStreamOverTLSHearsAndEnds(t *testing.T) {
	t.Parallel()
	cert, key, roots := certificateFiles(t)
	s := start(t, func(c *Config) { c.TLSCert, c.TLSKey = cert, key })
	enrol(t, s, "p1")
	secure := func() *tls.Conn {
		return tls.Client(dial(t, s), &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12})
	}
	conn := secure()
	w := listen(t, conn, eventsRequest("p1"))
	w.hear(t)
	if err := conn.CloseWrite(); err != nil { // close_notify: its direction only
		t.Fatal(err)
	}
	w.hear(t)
	w.hear(t)
	newer := listen(t, secure(), eventsRequest("p1"))
	w.end(t)
	newer.hear(t)
	_ = newer.Close()
	gone(t, s)
}

// hangUp opens a stream, reads some bytes of it, which may be none, and resets the connection: no port then waits for a minute.
func hangUp(ctx context.Context, s *Server, peer string, bytes int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.RegisterAddr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, eventsRequest(peer)); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, bytes))
	return err
}

func TestTenThousandStreamsOpenedAndClosedLeaveNothing(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprint("p", i)
	}
	enrol(t, s, names...)
	var opening errgroup.Group
	opening.SetLimit(32)
	for i := range 10_000 {
		opening.Go(func() error { return hangUp(t.Context(), s, names[i%len(names)], 1+i%100) })
	}
	if err := opening.Wait(); err != nil {
		t.Fatal(err)
	}
	gone(t, s)
	if n := count(t, s, "dragonfly_supernode_requests_total", "/events", `"200"`); n != 10_000 {
		t.Errorf("%v streams were counted, want 10,000", n)
	}
}

func TestPeersThatHangUpAtOnceLeaveNothing(t *testing.T) {
	t.Parallel()
	var s *Server
	t.Cleanup(func() { gone(t, s) }) // after the stop: until then, a request may not have been read yet
	s = start(t, nil)
	enrol(t, s, "p1")
	for range 200 {
		if err := hangUp(t.Context(), s, "p1", 0); err != nil {
			t.Fatal(err)
		}
	}
	enrol(t, s, "p2")
	listen(t, dial(t, s), eventsRequest("p2")).hear(t)
}

// piped opens the stream of an enrolled peer over a connection that holds no bytes on their way.
func piped(t *testing.T, s *Server, peer string) (theirs net.Conn) {
	t.Helper()
	st, err := s.swarm.Open(task, peer, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	s.feeds.start(ours, st)
	t.Cleanup(func() { _ = theirs.Close() })
	return theirs
}

func TestAPeerThatNeverReadsLosesItsStreamAndOthersGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := faked(t, nil)
		enrol(t, s, "stuck", "slow", "well")
		piped(t, s, "stuck")
		slow, well := piped(t, s, "slow"), piped(t, s, "well")
		var reading sync.WaitGroup
		var heard atomic.Int64
		reading.Go(func() {
			for b := make([]byte, 1); ; {
				if _, err := slow.Read(b); err != nil { // a byte every now and then is not enough
					return
				}
				<-time.After(time.Second)
			}
		})
		reading.Go(func() {
			for in := bufio.NewScanner(well); in.Scan(); {
				heard.Add(1)
			}
		})
		<-time.After(writeTimeout - time.Millisecond)
		synctest.Wait()
		if n := count(t, s, "dragonfly_swarm_streams_count"); n != 3 {
			t.Errorf("after less than %v, %v streams are open, want 3", writeTimeout, n)
		}
		<-time.After(2 * time.Millisecond)
		synctest.Wait()
		if n := count(t, s, "dragonfly_swarm_streams_count"); n != 1 {
			t.Errorf("after %v, %v streams are open, want that of the peer that reads", writeTimeout, n)
		}
		before := heard.Load()
		<-time.After(4 * api.PingInterval)
		synctest.Wait()
		if n := heard.Load() - before; n < 4 {
			t.Errorf("the peer that reads heard %d lines in %v, want a line every %v", n, 4*api.PingInterval, api.PingInterval)
		}
		_ = well.Close()
		reading.Wait()
		gone(t, s)
	})
}

func TestTheEndOfTheSwarmEndsStreamsAndAStuckOneIsNotWaitedForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := faked(t, nil)
		enrol(t, s, "stuck", "well")
		piped(t, s, "stuck")
		well := piped(t, s, "well")
		ended := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, well)
			ended <- err
		}()
		synctest.Wait()
		began := time.Now()
		s.swarm.Close()
		if err := <-ended; err != nil || time.Since(began) != 0 {
			t.Errorf("a stream ended with %v after %v, want a clean end at once", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.feeds.shutdown(ctx)
		if took := time.Since(began); took != time.Second {
			t.Errorf("a stuck stream was waited for %v, want the second there was", took)
		}
		gone(t, s)
	})
}

func TestAStreamThatComesTooLateIsClosed(t *testing.T) {
	t.Parallel()
	s := faked(t, nil)
	enrol(t, s, "p1")
	s.feeds.shutdown(t.Context())
	if _, err := piped(t, s, "p1").Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
	gone(t, s)
}

func TestAStopEndsAllStreamsAtOnce(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.RegisterAddr, cfg.DownloadAddr, cfg.DataDir, cfg.DiskMinFree = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), 0
	cfg.ShutdownTimeout = time.Hour // what is waited for has to end by itself
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	var wires []*wire
	for i := range 50 {
		name := fmt.Sprint("p", i)
		enrol(t, s, name)
		wires = append(wires, listen(t, dial(t, s), eventsRequest(name)))
	}
	stop()
	for _, w := range wires {
		w.end(t)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	gone(t, s)
}
