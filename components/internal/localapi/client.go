package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// ErrNoDaemon says that no dfdaemon answers at the socket, or that it went away in the middle.
var ErrNoDaemon = errors.New("no dfdaemon answers")

const (
	// probeTime is how long a living daemon may take for its status. A frozen one delays a download by this.
	probeTime = time.Second
	// silence is how long a body may pause before the daemon is asked whether it lives, so that a frozen one costs less than 3 s.
	silence = 1500 * time.Millisecond
	// maxAnswer bounds answers that are no content, in bytes.
	maxAnswer = 1 << 20
)

// Client is a Fetcher that asks the host's dfdaemon.
type Client struct {
	socket string
	http   *http.Client
	// As the constants say; a test has less time.
	probeTime, silence time.Duration
}

// NewClient returns a client of the daemon at a Unix socket. It does no I/O.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{
		socket: socket, probeTime: probeTime, silence: silence,
		http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}},
	}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks the daemon for its status. ErrNoDaemon when it does not answer within a second.
func (c *Client) Status(ctx context.Context) (status api.DaemonStatus, err error) {
	err = c.get(ctx, api.PathStatus, &status)
	return status, err
}

func (c *Client) get(ctx context.Context, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.probeTime)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("%w at %s: answer to %s: %w", ErrNoDaemon, c.socket, path, err)
	}
	return nil
}

// Fetch implements Fetcher. ErrNoDaemon means that nothing was tried: another Fetcher may take over, also at an offset behind what
// the body gave.
func (c *Client) Fetch(ctx context.Context, req api.FetchRequest) (*Content, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode fetch request: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	watch := c.watch(ctx, cancel)
	resp, err := c.do(ctx, http.MethodPost, api.PathFetch, bytes.NewReader(body)) //nolint:bodyclose // remote.Close does
	if err != nil {
		watch.Stop()
		if cause := context.Cause(ctx); cause != nil {
			err = cause // the watch's, or the caller's
		}
		cancel(nil)
		return nil, err
	}
	r := &remote{client: c, resp: resp, ctx: ctx, cancel: cancel, watch: watch}
	content := &Content{
		Task: resp.Header.Get(api.HeaderTask), Length: -1, Header: map[string]string{}, Body: r, Shares: r.shares,
	}
	if n, err := strconv.ParseInt(resp.Header.Get(api.HeaderLength), 10, 64); err == nil && n >= 0 {
		content.Length = n
	}
	for _, k := range []string{"Content-Type", "Etag", "Last-Modified"} {
		if v := resp.Header.Get(k); v != "" {
			content.Header[k] = v
		}
	}
	return content, nil
}

// watch ends ctx when the daemon gives no byte and no sign of life. A byte resets the timer.
func (c *Client) watch(ctx context.Context, cancel context.CancelCauseFunc) *time.Timer {
	var timer *time.Timer
	ready := make(chan struct{})
	timer = time.AfterFunc(c.silence, func() {
		<-ready
		_, err := c.Status(ctx)
		switch {
		case ctx.Err() != nil: // over meanwhile
		case err != nil:
			cancel(fmt.Errorf("%w at %s: it froze in the middle", ErrNoDaemon, c.socket))
		default:
			timer.Reset(c.silence)
		}
	})
	close(ready)
	return timer
}

// do sends a request; an answer of the API's error shape is an *api.Error, anything else that is no answer is ErrNoDaemon.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://dfdaemon"+path, body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", ErrNoDaemon, c.socket, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var e api.ErrorBody
	if json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&e) != nil || e.Error.Code == "" {
		return nil, fmt.Errorf("%w at %s: something else answers %s", ErrNoDaemon, c.socket, resp.Status)
	}
	return nil, &e.Error
}

// remote is a body that the daemon sends.
type remote struct {
	client *Client
	resp   *http.Response
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *time.Timer
	ended  bool       // there is no more to ask for
	last   api.Shares // told so far
}

// Read implements io.Reader. Its end is checked against the trailers.
func (r *remote) Read(b []byte) (int, error) {
	n, err := r.resp.Body.Read(b)
	switch {
	case err == nil:
		r.watch.Reset(r.client.silence)
	case errors.Is(err, io.EOF):
		r.watch.Stop()
		err = r.end()
	case context.Cause(r.ctx) != nil:
		r.ended, err = true, context.Cause(r.ctx)
	default:
		r.ended = true
		err = fmt.Errorf("%w at %s: it went away in the middle: %w", ErrNoDaemon, r.client.socket, err)
	}
	return n, err
}

// end reads the trailers and returns io.EOF when the content is complete.
func (r *remote) end() error {
	r.ended = true
	var e api.Error
	if text := r.resp.Trailer.Get(api.HeaderError); text != "" && json.Unmarshal([]byte(text), &e) == nil {
		return &e
	}
	if json.Unmarshal([]byte(r.resp.Trailer.Get(api.HeaderShares)), &r.last) != nil {
		return fmt.Errorf("%w at %s: the answer has no end", ErrNoDaemon, r.client.socket)
	}
	return io.EOF
}

// shares asks the daemon, unless the end has told. It is called by the reader of the body, between two reads.
func (r *remote) shares() api.Shares {
	if !r.ended {
		var now api.Shares
		if r.client.get(r.ctx, api.SharesPath(r.resp.Header.Get(api.HeaderFetch)), &now) == nil {
			r.last = now
		}
	}
	return r.last
}

// Close implements io.Closer.
func (r *remote) Close() error {
	r.watch.Stop()
	r.cancel(nil)
	return r.resp.Body.Close()
}
