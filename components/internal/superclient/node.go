package superclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// maxBody bounds an answer that is not a stream, in bytes: the digests of a large task and tiny content.
const maxBody = 32 << 20

// idleTimeout closes connections that heartbeats alone have no use for: the most recently used is taken first, so that one stays. To the
// supernode each costs more than a peer does. It is less than the supernode's own idle time, so that no request meets a connection's end.
const idleTimeout = api.BusyHeartbeat + api.HeartbeatInterval

// node is one supernode, by address.
type node struct {
	addr         string // ip:port
	base         string // scheme and authority for URLs
	http         *http.Client
	confidential bool // the connection hides credentials: TLS or loopback
	token        func() string
	signs        atomic.Uint64 // of life: answers and lines of streams
	streams      atomic.Int64  // that are followed

	mu       sync.Mutex    // guards the fields below
	down     bool          // nobody asks it but the prober
	failures int           // in a row
	why      string        // the last failure, while down
	retryAt  time.Time     // of the prober
	beaten   time.Time     // the last heartbeat, while not down
	every    time.Duration // told with it: until the next
	told     bool          // our inventory was sent
	wants    bool          // it asked for our inventory
	revision uint64        // of the inventory told
}

func (c *Client) newNode(t target, ip string) *node {
	addr := net.JoinHostPort(ip, t.port)
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
		MaxIdleConnsPerHost: 16, // registrations and reports of many tasks at once
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true, // digests do not compress
	}
	n := &node{addr: addr, base: "http://" + net.JoinHostPort(t.host, t.port), token: c.cfg.Token}
	if c.cfg.TLS != nil {
		tr.TLSClientConfig = c.cfg.TLS.Clone()
		n.base = "https://" + net.JoinHostPort(t.host, t.port)
		n.confidential = true
	} else if a, err := netip.ParseAddr(ip); err == nil && a.IsLoopback() {
		n.confidential = true
	}
	n.http = &http.Client{Transport: tr}
	return n
}

func (n *node) alive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.down
}

// state is what others may know of the node.
func (n *node) state() NodeState {
	n.mu.Lock()
	defer n.mu.Unlock()
	return NodeState{Addr: n.addr, Alive: !n.down, Why: n.why}
}

// succeeded notes an answer, whatever it says.
func (n *node) succeeded() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down, n.failures, n.why = false, 0, ""
}

// lost takes the node out of use unless it is already, and reports whether it did: its many calls that end at once are one failure.
func (n *node) lost(now time.Time, err error) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return false
	}
	n.fail(now, err)
	return true
}

// failed takes the node out of use until a probe succeeds, for longer each time in a row.
func (n *node) failed(now time.Time, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail(now, err)
}

// fail is failed for a caller that holds mu.
func (n *node) fail(now time.Time, err error) {
	n.down, n.told, n.why = true, false, err.Error()
	n.failures++
	n.retryAt = now.Add(min(maxProbePause, firstProbePause<<min(n.failures-1, 8)))
}

// call sends a JSON body and reads a JSON answer into out, unless nil. An error answer comes back as *api.Error.
func (n *node) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	resp, err := n.do(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return fmt.Errorf("read answer of supernode %s: %w", n.addr, err)
	case len(raw) > maxBody:
		return fmt.Errorf("answer of supernode %s exceeds %d bytes", n.addr, maxBody)
	case out == nil || resp.StatusCode == http.StatusNoContent:
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("decode answer of supernode %s: %w", n.addr, err)
	}
	return nil
}

// do sends a request and turns an error status into an error. The caller closes the body.
func (n *node) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			n.signs.Add(1)
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, method, n.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if t := n.token(); t != "" {
		req.Header.Set("Authorization", "Bearer "+t)
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask supernode %s: %w", n.addr, err)
	}
	n.signs.Add(1)
	resp.Body = lively{resp.Body, n}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, n.refusal(resp)
}

// lively is an answer's body, each part of which is a sign of life: a long answer of a supernode that answers thousands comes slowly.
type lively struct {
	io.ReadCloser
	node *node
}

// Read implements io.Reader.
func (l lively) Read(p []byte) (int, error) {
	k, err := l.ReadCloser.Read(p)
	if k > 0 {
		l.node.signs.Add(1)
	}
	return k, err
}

// refusal reads an error answer; one of a foreign shape keeps its status.
func (n *node) refusal(resp *http.Response) error {
	var e api.ErrorBody
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // a broken body is as good as none
	if json.Unmarshal(raw, &e) != nil || e.Error.Code == "" {
		e.Error = api.Error{Code: api.CodeInternal, Message: "answered " + resp.Status}
	}
	return fmt.Errorf("supernode %s: %w", n.addr, &e.Error)
}
