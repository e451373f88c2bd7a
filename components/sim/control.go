package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/swarm"
	"github.com/dragonfly-kube/dragonfly/components/internal/transfer"
)

const (
	// headSize is what HTTP adds to a request of the control plane, token included, in bytes.
	headSize = 300
	// answerSize is what it adds to an answer with a body, emptySize to one without, streamSize to an event stream, in bytes: as the
	// supernode writes them.
	answerSize = 124
	emptySize  = 64
	streamSize = 136
	// lineSize is what ends a line of an event stream, in bytes.
	lineSize = 1
)

// tally counts messages of one kind.
type tally struct{ messages, bytes atomic.Int64 }

func (t *tally) add(n int) {
	t.messages.Add(1)
	t.bytes.Add(int64(n))
}

// control is a node's way to the supernode's control plane: the real swarm, with the time that its messages take on the links.
type control struct {
	node *node
	s    *swarmNet
}

// exchange is a connection to the supernode for one call at a time.
type exchange struct {
	mu    sync.Mutex // held during a call
	c     *control
	there *pipe
	back  *pipe
}

func (c *control) connect(ctx context.Context) (*exchange, error) {
	if err := wait(ctx, 2*c.s.net.latency); err != nil {
		return nil, err
	}
	return &exchange{
		c:     c,
		there: c.s.net.pipe(c.node.up, c.s.seed.down),
		back:  c.s.net.pipe(c.s.seed.up, c.node.down),
	}, nil
}

// carry moves a message of n bytes over a pipe and returns when it has arrived.
func carry(ctx context.Context, p *pipe, n int, count *tally) error {
	count.add(n)
	if err := p.write(segment{n: n, msg: true}); err != nil {
		return err
	}
	_, err := p.receive(ctx)
	return err
}

// call sends a request of n bytes, has f done at the supernode, and takes its answer, whose size f returns.
func (x *exchange) call(ctx context.Context, n int, f func() (int, error)) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := carry(ctx, x.there, headSize+n, &x.c.s.calls); err != nil {
		return err
	}
	size, err := f()
	if err != nil {
		return err
	}
	head := answerSize
	if size == 0 {
		head = emptySize
	}
	return carry(ctx, x.back, head+size, &x.c.s.answers)
}

func (x *exchange) close() {
	x.there.close()
	x.back.close()
}

// Configured implements transfer.Supernodes.
func (c *control) Configured() bool { return true }

// Register implements transfer.Supernodes.
func (c *control) Register(ctx context.Context, task string, req api.RegisterRequest) (transfer.Session, *api.Update, error) {
	req.Origin.Digest = "sha256:" + task
	x, err := c.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	var u api.Update
	err = x.call(ctx, size(req), func() (int, error) {
		var err error
		u, err = c.s.swarm.Register(ctx, task, &req, c.s.seed.addr)
		return size(u), err
	})
	if err != nil {
		x.close()
		return nil, nil, fmt.Errorf("register: %w", err)
	}
	return &session{exchange: x, task: task, peer: req.Peer}, &u, nil
}

// session implements transfer.Session.
type session struct {
	*exchange
	task, peer string
}

// Supernode implements transfer.Session.
func (s *session) Supernode() string { return s.c.s.seed.addr }

// Report implements transfer.Session.
func (s *session) Report(ctx context.Context, r api.Report) error {
	err := s.call(ctx, size(r), func() (int, error) { return 0, s.c.s.swarm.Report(s.task, s.peer, &r) })
	if errors.Is(err, swarm.ErrUnknownPeer) {
		err = &api.Error{Code: api.CodeUnknownPeer, Message: "register again"}
	}
	return err
}

// Events implements transfer.Session.
func (s *session) Events(ctx context.Context, since int, f func(*api.Update)) error {
	return s.follow(ctx, since, false, f)
}

// AllDigests implements transfer.Session.
func (s *session) AllDigests(ctx context.Context, f func(*api.Update)) error {
	return s.follow(ctx, 0, true, f)
}

func (s *session) follow(ctx context.Context, since int, all bool, f func(*api.Update)) error {
	x, err := s.c.connect(ctx)
	if err != nil {
		return err
	}
	defer x.close()
	if err := carry(ctx, x.there, headSize, &s.c.s.calls); err != nil {
		return err
	}
	st, err := s.c.s.swarm.Open(s.task, s.peer, since, all)
	if err != nil {
		return fmt.Errorf("open the event stream: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.c.node.wg.Go(func() {
		defer st.Close()
		defer x.back.close()
		for head := streamSize; ctx.Err() == nil; head = 0 {
			u, err := st.Next(ctx)
			if err != nil {
				return
			}
			if u == nil {
				u = &api.Update{}
			}
			n := head + size(u) + lineSize
			s.c.s.updates.add(n)
			if x.back.write(segment{n: n, msg: u}) != nil {
				return
			}
		}
	})
	for {
		u, err := x.back.receive(ctx)
		if err != nil {
			return err
		}
		f(u.(*api.Update))
	}
}

// beat sends heartbeats until ctx ends, as superclient does where a stream is open.
func (c *control) beat(ctx context.Context, phase time.Duration) {
	x, err := c.connect(ctx)
	if err != nil {
		return
	}
	defer x.close()
	var told uint64
	for wait(ctx, phase) == nil {
		phase = api.BusyHeartbeat
		tasks, revision := c.node.store.Tasks()
		h := api.Heartbeat{Host: c.node.host, Version: "v1.0.0", Revision: revision, Every: int(phase / time.Second)}
		if revision != told {
			h.Inventory, told = tasks, revision
		}
		err := x.call(ctx, size(h), func() (int, error) {
			answer, err := c.s.swarm.Heartbeat(&h)
			if !answer.NeedInventory {
				return 0, err
			}
			return size(answer), err
		})
		if err != nil && !errors.Is(err, io.EOF) {
			return
		}
	}
}

// size is that of v as JSON.
func size(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return 0 // all of ours can be encoded
	}
	return len(b)
}
