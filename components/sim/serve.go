package sim

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// serving is the piece server's end of a connection: as much of HTTP/1.1 as children speak.
type serving struct {
	node   *node
	conn   *conn
	ctx    context.Context
	cancel context.CancelFunc
}

func newServing(n *node, c *conn) *serving {
	s := &serving{node: n, conn: c}
	s.ctx, s.cancel = context.WithCancel(n.ctx)
	c.gone = s.cancel
	return s
}

// run answers requests in order until the other end goes.
func (s *serving) run() {
	defer s.cancel()
	defer s.conn.Close()
	stop := context.AfterFunc(s.ctx, func() { s.conn.Close() })
	defer stop()
	in := bufio.NewReaderSize(s.conn, 512)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		w := &response{conn: s.conn, node: s.node, header: http.Header{}, status: http.StatusOK}
		s.answer(w, r.WithContext(s.ctx))
		if w.finish() != nil || w.streams {
			return
		}
	}
}

// answer has the piece server answer, and keeps count of who follows its news.
func (s *serving) answer(w *response, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/pieces") {
		child := r.Header.Get(api.HeaderPeer)
		s.node.follow(child, 1)
		defer s.node.follow(child, -1)
	}
	s.node.pieces.ServeHTTP(w, r)
}

// response writes one answer.
type response struct {
	conn    *conn
	node    *node
	header  http.Header
	status  int
	body    bytes.Buffer
	begun   bool // the head was sent
	streams bool // until the connection ends
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter. What is written before a Flush is kept for its length.
func (w *response) Write(b []byte) (int, error) { return w.body.Write(b) }

// FlushError is found by http.ResponseController. It makes the answer a stream.
func (w *response) FlushError() error {
	w.streams = true
	if !w.begun {
		w.header.Set("Connection", "close")
		if err := w.head(); err != nil {
			return err
		}
	}
	w.node.news.Add(1)
	w.node.newsBytes.Add(int64(w.body.Len()))
	_, err := w.conn.Write(w.body.Bytes())
	w.body.Reset()
	return err
}

// SetWriteDeadline is found by http.ResponseController.
func (w *response) SetWriteDeadline(time.Time) error { return nil }

// Content sends n bytes that nobody looks at, piece by piece.
func (w *response) Content(n int64) (int64, error) {
	if !w.begun {
		if err := w.head(); err != nil {
			return 0, err
		}
	}
	for sent := int64(0); sent < n; {
		k := min(n-sent, w.node.store.Layout().Size)
		if err := w.conn.content(k); err != nil {
			return sent, err
		}
		w.node.sent.Add(k)
		sent += k
	}
	return n, nil
}

func (w *response) head() error {
	w.begun = true
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(w.status) + " " + http.StatusText(w.status) + "\r\n")
	w.header.Set("Date", "Thu, 01 Jan 1970 00:00:00 GMT") // as long as any
	if err := w.header.Write(&b); err != nil {
		return err
	}
	b.WriteString("\r\n")
	_, err := w.conn.Write(b.Bytes())
	return err
}

// finish ends the answer.
func (w *response) finish() error {
	w.node.answers[w.status/100].Add(1)
	if w.begun {
		return nil
	}
	if w.status != http.StatusNoContent {
		w.header.Set("Content-Length", strconv.Itoa(w.body.Len()))
	}
	if err := w.head(); err != nil || w.body.Len() == 0 {
		return err
	}
	_, err := w.conn.Write(w.body.Bytes())
	return err
}
