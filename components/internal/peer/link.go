// Package peer is the client side of the piece protocol: one Link to each parent of a task, with requests pipelined on kept-alive
// HTTP/1.1 connections and the parent's availability as a stream. It verifies what comes and hands it to the store; what to ask of
// whom is decided elsewhere.
package peer

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/bits-and-blooms/bitset"
	"golang.org/x/time/rate"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// Time-outs of a link. A request waits behind others at a busy parent, so the first byte may take long: whoever can't wait hedges.
const (
	dialTimeout   = 3500 * time.Millisecond // a lost first packet is sent again after 1 s, and after 3 s (RFC 6298, section 2)
	headerTimeout = 10 * time.Second
	bodyTimeout   = 3 * time.Second                           // without a byte
	newsTimeout   = 2*api.PingInterval + 500*time.Millisecond // without a line
	writeTimeout  = time.Second                               // requests are smaller than any socket buffer
)

// Request asks a parent for the pieces [First, First+Count), or, if Pick is set, for up to Limit bytes of the seed's choice.
type Request struct {
	ID           uint64
	Pick         bool
	Limit        int64 // bytes
	First, Count int
}

// Result is how a request ended.
type Result int

// Results of a request.
const (
	Served    Result = iota
	Busy             // no place at the parent; it calls
	Lacking          // the parent does not hold it
	Broken           // the connection failed
	PickAgain        // nothing fresh at the seed yet
	PickOver         // nothing fresh will come
)

// Task is the download that links work for. Safe for concurrent use.
type Task interface {
	ID() string
	Layout() piece.Layout
	// Ticket opens the task at other peers; "" when no secret is set.
	Ticket() string
	// Digest returns the digest that piece i must have: what p proves, or, where p is nil or no proof that can be checked, what the control
	// plane tells, once it does. proof.ErrWrong when p is forged or damaged.
	Digest(ctx context.Context, i int, p *proof.Proof) (piece.Digest, error)
	// Writer starts piece i; nil without an error when the piece is held already.
	Writer(i int, d piece.Digest) (store.PieceWriter, error)
}

// Events are told what happens on a link. The calls come from the link's goroutines and must not block for long.
type Events interface {
	// Gained: the parent holds these pieces too.
	Gained(parent string, pieces *bitset.BitSet, load int)
	// Load and Room: how many requests the parent has admitted, and that it has a place for us again.
	Load(parent string, load int)
	Room(parent string, load int)
	// Received: n bytes of a piece came. It is called often, and must be quick.
	Received(n int)
	// Piece: n bytes of piece i came; kept is false when it was held before.
	Piece(parent string, i int, n int64, kept bool)
	// Wrong: the bytes of piece i did not match its digest, or the proof that came with it was wrong.
	Wrong(parent string, i int)
	// Full: the store can't take more.
	Full(err error)
	// Ended: the request ended after bytes.
	Ended(parent string, id uint64, how Result, bytes int64)
	// Down: the parent can't be reached, or went silent. The link does nothing more until it is closed.
	Down(parent string, err error)
}

// Config of links.
type Config struct {
	// Self is this peer's id, sent with each request.
	Self string
	// Dial opens connections; nil means TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Limiter bounds what is received, in bytes; nil means no limit.
	Limiter *rate.Limiter
	Log     *slog.Logger
}

// Link is the connection to one parent for one task. Safe for concurrent use.
type Link struct {
	cfg    Config
	parent api.Parent
	task   Task
	events Events
	cancel context.CancelFunc
	wg     sync.WaitGroup

	ranges, picks pair
}

// Open starts a link. Close it in the end.
func Open(cfg Config, parent api.Parent, task Task, events Events) *Link {
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Link{cfg: cfg, parent: parent, task: task, events: events, cancel: cancel}
	l.ranges.init(ctx, l)
	l.picks.init(ctx, l)
	if !parent.Seed {
		l.wg.Go(func() { l.followNews(ctx) })
	}
	return l
}

// Send queues a request; its end comes as an event, always.
func (l *Link) Send(r Request) {
	if r.Pick {
		l.picks.send(r)
		return
	}
	l.ranges.send(r)
}

// Cancel cuts the connection that carries the request, if it is still out. The request, and those behind it, end as Broken.
func (l *Link) Cancel(id uint64) {
	l.ranges.cut(id)
	l.picks.cut(id)
}

// Close ends the link and waits for its goroutines. Requests that are out end as Broken.
func (l *Link) Close() {
	l.cancel()
	l.ranges.close()
	l.picks.close()
	l.wg.Wait()
}

// dial tries the parent's addresses in order.
func (l *Link) dial(ctx context.Context) (net.Conn, error) {
	var first error
	for _, addr := range l.parent.Addrs {
		tctx, cancel := context.WithTimeout(ctx, dialTimeout)
		c, err := l.cfg.Dial(tctx, "tcp", addr)
		cancel()
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = errNoAddress
	}
	return nil, first
}
