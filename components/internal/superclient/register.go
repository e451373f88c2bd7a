package superclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// maxUpdate bounds one line of an event stream, in bytes.
const maxUpdate = maxBody

// Session is a registration at one supernode.
type Session struct {
	client *Client
	node   *node
	task   string
	peer   string
}

// Register registers for a task at the first supernode in rank that answers. One that shows no sign of life for its share of
// Config.RegisterTimeout counts as dead from then on. ErrNoSupernode when none is left; *api.Error when one refused.
func (c *Client) Register(ctx context.Context, task string, req api.RegisterRequest) (*Session, *api.Update, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.MaxRegister)
	defer cancel()
	if len(c.all()) == 0 && c.mayResolve() {
		c.resolve(ctx)
	}
	budget := c.cfg.RegisterTimeout
	nodes := c.live(task)
	for i, n := range nodes {
		wait := budget
		if i < len(nodes)-1 {
			wait /= 2
		}
		budget -= wait
		var u api.Update
		err := n.watched(ctx, wait, func(ctx context.Context) error {
			return n.call(ctx, http.MethodPost, api.RegisterPath(task), withholdSecrets(req, n.confidential), &u)
		})
		var refused *api.Error
		switch {
		case err == nil:
			n.succeeded()
			return &Session{client: c, node: n, task: task, peer: req.Peer}, &u, nil
		case errors.As(err, &refused) && refused.Code != api.CodeInternal && refused.Code != api.CodeOverloaded:
			return nil, nil, err
		case ctx.Err() != nil:
			return nil, nil, fmt.Errorf("register at supernode %s: %w", n.addr, context.Cause(ctx))
		}
		c.lost(n, err)
	}
	return nil, nil, ErrNoSupernode
}

// lost takes a supernode out of use.
func (c *Client) lost(n *node, err error) {
	if !n.lost(time.Now(), err) {
		return
	}
	c.metrics.lost.Inc()
	c.cfg.Log.Warn("supernode does not answer; tasks go to the next, or to the origin", "supernode", n.addr, "err", err)
}

// withholdSecrets keeps credentials on this host where the connection would show them.
func withholdSecrets(req api.RegisterRequest, confidential bool) api.RegisterRequest {
	if confidential {
		return req
	}
	clean, all := api.Anonymous(req.Origin.Header)
	req.Private = req.Private || !all
	req.Origin.Header = clean
	return req
}

// Supernode is the address of the session's supernode.
func (s *Session) Supernode() string { return s.node.addr }

// Events opens the event stream behind since and calls f with each update until the stream ends; it always returns an error. A
// supernode that is silent or gone counts as dead from then on; *api.Error with CodeUnknownPeer means: register again.
func (s *Session) Events(ctx context.Context, since int, f func(*api.Update)) error {
	return s.follow(ctx, api.EventsPath(s.task, s.peer, since), f)
}

// AllDigests is Events from the start on, with the digests of signed pieces as well.
func (s *Session) AllDigests(ctx context.Context, f func(*api.Update)) error {
	return s.follow(ctx, api.AllDigestsPath(s.task, s.peer), f)
}

func (s *Session) follow(ctx context.Context, path string, f func(*api.Update)) error {
	s.node.streams.Add(1)
	defer s.node.streams.Add(-1)
	var more atomic.Int64 // silence than at first, as told, in ns
	silence := func() time.Duration { return s.client.cfg.Silence + time.Duration(more.Load()) }
	err := s.node.watchedFor(ctx, silence, func(ctx context.Context) error {
		return s.read(ctx, path, func(u *api.Update) {
			if u.Ping > 0 {
				told := time.Duration(u.Ping) * time.Millisecond
				more.Store(int64(min(max(told, api.PingInterval), api.MaxPing) - api.PingInterval))
			}
			f(u)
		})
	})
	var refused *api.Error
	if ctx.Err() == nil && !errors.As(err, &refused) {
		s.client.lost(s.node, err)
	}
	return fmt.Errorf("event stream of supernode %s: %w", s.node.addr, err)
}

func (s *Session) read(ctx context.Context, path string, f func(*api.Update)) error {
	resp, err := s.node.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 4<<10), maxUpdate)
	for lines.Scan() {
		u := &api.Update{}
		if err := json.Unmarshal(lines.Bytes(), u); err != nil {
			return fmt.Errorf("decode update: %w", err)
		}
		f(u)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errors.New("ended by the supernode")
}

// Report sends a report. *api.Error with CodeUnknownPeer means: register again.
func (s *Session) Report(ctx context.Context, r api.Report) error {
	return s.node.call(ctx, http.MethodPost, api.ReportsPath(s.task, s.peer), r, nil)
}
