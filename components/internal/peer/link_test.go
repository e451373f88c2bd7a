package peer

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// download is a Task over a memory store, whose content is known beforehand.
type download struct {
	task  store.Task
	body  []byte
	begun chan struct{} // closed when a piece is asked for, if not nil
}

func newDownload(t *testing.T, pieces int) *download {
	t.Helper()
	body := bytes.Repeat([]byte("0123456789"), pieces*piece.MinSize/10+1)[:pieces*piece.MinSize-7]
	task, err := store.NewMemory().Create(testID, api.Meta{Length: int64(len(body)), PieceSize: piece.MinSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(task.Release)
	return &download{task: task, body: body}
}

func (d *download) ID() string           { return testID }
func (d *download) Layout() piece.Layout { return d.task.Layout() }
func (d *download) Ticket() string       { return "ticket" }

func (d *download) Digest(_ context.Context, i int, _ *proof.Proof) (piece.Digest, error) {
	off, n := d.Layout().Range(i)
	return piece.Sum(d.body[off : off+n]), nil
}

func (d *download) Writer(i int, sum piece.Digest) (store.PieceWriter, error) {
	if d.begun != nil {
		close(d.begun)
	}
	if d.task.Has(i) {
		return nil, nil
	}
	return d.task.Writer(i, &sum)
}

// events turns what a link tells into lines on a channel.
type events chan string

func (e events) Gained(_ string, p *bitset.BitSet, load int) {
	e <- fmt.Sprintf("gained %s %d", piece.FormatRanges(p), load)
}
func (e events) Load(_ string, load int) { e <- fmt.Sprintf("load %d", load) }
func (e events) Room(_ string, load int) { e <- fmt.Sprintf("room %d", load) }
func (e events) Piece(_ string, i int, n int64, kept bool) {
	e <- fmt.Sprintf("piece %d %d %v", i, n, kept)
}
func (e events) Received(int)           {}
func (e events) Wrong(_ string, i int)  { e <- fmt.Sprintf("wrong %d", i) }
func (e events) Full(err error)         { e <- fmt.Sprintf("full %v", err) }
func (e events) Down(_ string, _ error) { e <- "down" }
func (e events) Ended(_ string, id uint64, how Result, n int64) {
	e <- fmt.Sprintf("ended %d %d %d", id, how, n)
}

func (e events) expect(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-e:
			if got != w {
				t.Fatalf("got %q, want %q", got, w)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nothing came, want %q", w)
		}
	}
}

// parent accepts connections and answers each request head with the next of its answers, whatever it asks.
type parent struct {
	net.Listener
	mu      sync.Mutex // guards the fields below
	heads   []string
	answers []string
}

func newParent(t *testing.T, answers ...string) *parent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &parent{Listener: l, answers: answers}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return p
}

func (p *parent) serve(c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.heads = append(p.heads, req.URL.String()+" "+req.Header.Get("Range")+" "+req.Header.Get(api.HeaderTicket)+" "+req.Header.Get(api.HeaderPeer))
		answer := ""
		if len(p.answers) > 0 {
			answer, p.answers = p.answers[0], p.answers[1:]
		}
		p.mu.Unlock()
		if answer == "" {
			return
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// seed opens a link that has no availability stream, so that a test sees requests alone.
func seed(t *testing.T, d *download, p *parent) (*Link, events) {
	t.Helper()
	e := make(events, 64)
	l := Open(Config{Self: "me", Log: slog.New(slog.DiscardHandler)}, api.Parent{Peer: "p", Addrs: []string{p.Addr().String()}, Seed: true}, d, e)
	t.Cleanup(l.Close)
	return l, e
}

func partial(d *download, first, count int) string {
	off, end := bounds(d.Layout(), first, count)
	return head(off, end, len(d.body)) + string(d.body[off:end])
}

func head(off, end int64, total int) string {
	return fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\nContent-Range: bytes %d-%d/%d\r\n\r\n", end-off, off, end-1, total)
}

func TestRequestsArePipelinedAndPiecesVerified(t *testing.T) {
	t.Parallel()
	d := newDownload(t, 4)
	p := newParent(t, partial(d, 0, 1), partial(d, 1, 3))
	l, e := seed(t, d, p)
	l.Send(Request{ID: 7, First: 0, Count: 1})
	l.Send(Request{ID: 8, First: 1, Count: 3})
	e.expect(t, "piece 0 65536 true", "ended 7 0 65536",
		"piece 1 65536 true", "piece 2 65536 true", "piece 3 65529 true", "ended 8 0 196601")
	if d.task.Count() != 4 {
		t.Errorf("%d pieces are held, want 4", d.task.Count())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	want := api.DownloadPath(testID) + " bytes=65536-262136 ticket me"
	if len(p.heads) != 2 || p.heads[1] != want {
		t.Errorf("got requests %q, want the second to be %q", p.heads, want)
	}
}

func TestAnswersOfAParent(t *testing.T) {
	t.Parallel()
	d := newDownload(t, 4)
	off, end := bounds(d.Layout(), 0, 1)
	wrong := strings.Repeat("x", int(end-off))
	for _, tc := range []struct {
		name    string
		request Request
		answer  string
		want    []string
	}{
		{"busy", Request{ID: 1, Count: 1}, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull", []string{"ended 1 1 0"}},
		{"lacking", Request{ID: 1, Count: 1}, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", []string{"ended 1 2 0"}},
		{"nothing fresh yet", Request{ID: 1, Pick: true, Limit: 1}, "HTTP/1.1 204 No Content\r\nX-Dragonfly-Pick: again\r\n\r\n", []string{"ended 1 4 0"}},
		{"nothing fresh any more", Request{ID: 1, Pick: true, Limit: 1}, "HTTP/1.1 204 No Content\r\nX-Dragonfly-Pick: over\r\n\r\n", []string{"ended 1 5 0"}},
		{"the seed's choice", Request{ID: 1, Pick: true, Limit: 1}, partial(d, 2, 1), []string{"piece 2 65536 true", "ended 1 0 65536"}},
		{"bytes that do not match", Request{ID: 1, Count: 1}, head(off, end, len(d.body)) + wrong, []string{"wrong 0", "ended 1 3 65536"}},
		{"another range than asked for", Request{ID: 1, Count: 1}, partial(d, 1, 1), []string{"ended 1 3 0"}},
		{"more than a pick may bring", Request{ID: 1, Pick: true, Limit: 1}, partial(d, 1, 2), []string{"ended 1 3 0"}},
		{"a pick that begins within a piece", Request{ID: 1, Pick: true, Limit: 1}, head(5, 10, len(d.body)) + "01234", []string{"ended 1 3 0"}},
		{"a length that is not the range's", Request{ID: 1, Count: 1}, "HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nContent-Range: bytes 0-65535/9\r\n\r\nabc", []string{"ended 1 3 0"}},
		{"no Content-Range", Request{ID: 1, Count: 1}, "HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nabc", []string{"ended 1 3 0"}},
		{"the whole instead of a part", Request{ID: 1, Count: 1}, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", []string{"ended 1 3 0"}},
		{"a refusal with an endless text", Request{ID: 1, Count: 1}, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 999999\r\n\r\n" + strings.Repeat("x", 9999), []string{"ended 1 1 0"}},
		{"an endless head", Request{ID: 1, Count: 1}, "HTTP/1.1 206 Partial Content\r\nX: " + strings.Repeat("x", maxHead+1) + "\r\n\r\n", []string{"ended 1 3 0"}},
		{"no HTTP", Request{ID: 1, Count: 1}, "hello\r\n\r\n", []string{"ended 1 3 0"}},
		{"nothing, the connection ends", Request{ID: 1, Count: 1}, "", []string{"ended 1 3 0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			fresh := newDownload(t, 4)
			l, e := seed(t, fresh, newParent(t, tc.answer))
			l.Send(tc.request)
			e.expect(t, tc.want...)
		})
	}
}

func TestAPieceHeldMeanwhileIsCountedAsDuplicate(t *testing.T) {
	t.Parallel()
	d := newDownload(t, 1)
	sum, _ := d.Digest(t.Context(), 0, nil)
	w, err := d.Writer(0, sum)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(d.body); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	l, e := seed(t, d, newParent(t, partial(d, 0, 1)))
	l.Send(Request{ID: 1, Count: 1})
	e.expect(t, "piece 0 65529 false", "ended 1 0 65529")
}

func TestALaneDialsAgainAfterItsConnectionEnded(t *testing.T) {
	t.Parallel()
	d := newDownload(t, 2)
	p := newParent(t, partial(d, 0, 1), "", partial(d, 1, 1))
	l, e := seed(t, d, p)
	l.Send(Request{ID: 1, First: 0, Count: 1})
	e.expect(t, "piece 0 65536 true", "ended 1 0 65536")
	l.Send(Request{ID: 2, First: 1, Count: 1})
	e.expect(t, "ended 2 3 0")
	l.Send(Request{ID: 3, First: 1, Count: 1})
	e.expect(t, "piece 1 65529 true", "ended 3 0 65529")
}

func TestCancelEndsARequestThatGetsNoAnswer(t *testing.T) {
	t.Parallel()
	d := newDownload(t, 1)
	d.begun = make(chan struct{})
	off, end := bounds(d.Layout(), 0, 1)
	l, e := seed(t, d, newParent(t, head(off, end, len(d.body))+"beginning"))
	l.Send(Request{ID: 1, Count: 1})
	l.Cancel(99) // of nobody
	<-d.begun
	l.Cancel(1)
	if got := <-e; got != "ended 1 3 9" && got != "ended 1 3 0" {
		t.Errorf("got %q, want the request to end as broken", got)
	}
}

func TestAParentThatCannotBeReachedIsDown(t *testing.T) {
	t.Parallel()
	d := newDownload(t, 1)
	p := newParent(t)
	p.Close()
	l, e := seed(t, d, p)
	l.Send(Request{ID: 1, Count: 1})
	e.expect(t, "ended 1 3 0", "down")
}

func TestAvailabilityIsToldAsItComes(t *testing.T) {
	t.Parallel()
	d := newDownload(t, 10)
	p := newParent(t, "HTTP/1.1 200 OK\r\n\r\nping 1\nhave 0-2,9 4 2\nroom 3\nlater 4\n")
	e := make(events, 64)
	l := Open(Config{Self: "me", Log: slog.New(slog.DiscardHandler)}, api.Parent{Peer: "p", Addrs: []string{p.Addr().String()}}, d, e)
	defer l.Close()
	e.expect(t, "load 1", "gained 0-2,9 2", "room 3", "load 4")
	p.Close()
}

func FuzzParseMessage(f *testing.F) {
	for _, line := range []string{"", "have 0-17,19 20 1", "room 3", "ping 0", "have  1", "have 0-99999999999 1 1", "room -1", "have 5-3 1 1"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		m, err := parseMessage(line, 1000)
		if err == nil && (m.load < 0 || m.verb == "have" && m.pieces == nil) {
			t.Errorf("%q gives %+v", line, m)
		}
	})
}

func FuzzParseContentRange(f *testing.F) {
	for _, h := range []string{"", "bytes 0-1/2", "bytes 0-1/*", "bytes 5-1/9", "bytes */9", "items 0-1/2", "bytes 0-18446744073709551615/1"} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, h string) {
		off, n, err := parseContentRange(h)
		if err == nil && (off < 0 || n <= 0) {
			t.Errorf("%q gives %d bytes from %d", h, n, off)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 204 No Content\r\nX-Dragonfly-Pick: over\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 0-4/5\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		task, err := store.NewMemory().Create(testID, api.Meta{Length: 5, PieceSize: piece.MinSize})
		if err != nil {
			t.Fatal(err)
		}
		defer task.Release()
		d := &download{task: task, body: []byte("hello")}
		e := make(events, 64)
		link := &Link{cfg: Config{Log: slog.New(slog.DiscardHandler)}, task: d, events: e}
		conn, other := net.Pipe()
		defer conn.Close()
		defer other.Close()
		in := &capped{r: bytes.NewReader(raw), left: maxHead}
		a := &answer{lane: &lane{link: link, ctx: t.Context()}, waker: newWaker(conn), in: in, br: bufio.NewReader(in), request: Request{ID: 1, Count: 1}}
		_, _ = a.read()
		if rd, err := task.Reader(); err == nil && task.Has(0) {
			b := make([]byte, 5)
			if _, err := rd.ReadAt(b, 0); err != nil || string(b) != "hello" {
				t.Errorf("held %q, %v", b, err)
			}
			rd.Close()
		}
	})
}

func TestASecondConnectionHelpsWhereTheFirstIsFast(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		n     int64
		took  time.Duration
		queue int // at the first
		want  int // which one takes the next request
	}{
		"a link of 10 Gbit/s":                       {4 << 20, 4 * time.Millisecond, 1, 1},
		"a clock that stands":                       {4 << 20, 0, 1, 1},
		"a link of 1 Gbit/s":                        {4 << 20, 34 * time.Millisecond, 3, 0},
		"an answer too small to tell":               {fastFrom - 1, 0, 3, 0},
		"nothing is out at the first":               {4 << 20, 0, 0, 0},
		"a fast answer that brought nothing at all": {0, 0, 3, 0},
	} {
		d := newDownload(t, 1)
		var p pair
		p.init(t.Context(), &Link{task: d})
		for i := range p {
			p[i].busy = true // dialing, so that requests stay in the queue
		}
		for id := range tc.queue {
			p[0].send(Request{ID: uint64(id)})
		}
		p[0].note(tc.n, tc.took)
		p.send(Request{ID: 99})
		if k := len(p[tc.want].queue) - 1; k < 0 || p[tc.want].queue[k].ID != 99 {
			t.Errorf("%s: queues are %v and %v, want request 99 in number %d", name, p[0].queue, p[1].queue, tc.want)
		}
	}
}
