package swarm

import (
	"cmp"
	"context"
	"io"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

const (
	// pingAfter is the silence after which a sign of life is sent: enough under PingInterval for the way.
	pingAfter = api.PingInterval * 4 / 5
	// maxPieces is the most digests in one update, so that no update is large.
	maxPieces = 4096
	// firstPieces is the most digests in the answer of a registration: a peer that waits for its answer serves nobody, and thousands may wait
	// at once. The stream tells the rest.
	firstPieces = 64
	// updateCost is the time set aside for one update, about three times what one takes. With many streams each hears less often, so
	// that all together cost a part of one core however many there are; a fast transfer then tells several pieces at once.
	updateCost = 100 * time.Microsecond
	// linger is how long a stream stays open that has nothing more to tell.
	linger = 5 * time.Second
)

// cursor is how far one listener has heard.
type cursor struct {
	seq           int  // pieces
	most          int  // of them in one update; 0 means maxPieces
	meta          bool // was told
	metaVersion   int
	parents       int // version + 1
	source        bool
	complete      bool
	content       bool
	ticketExpires time.Time
	wantContent   bool // news found that the content is there
}

// Stream is a peer's event stream. Not safe for concurrent use.
type Stream struct {
	t      *task
	p      *peer
	c      cursor
	last   time.Time
	closed chan struct{} // by a newer stream of the peer
	told   bool          // of a failure
	ending time.Time     // since when there is nothing more to tell
}

// Open starts the event stream of a registered peer that has heard since pieces. A newer stream ends an older one. The caller closes it.
func (s *Swarm) Open(id, name string, since int) (*Stream, error) {
	var st *Stream
	err := s.with(id, name, func(t *task, p *peer) error {
		if since < 0 || since > len(t.log) {
			since = 0 // of another life of the supernode
		}
		st = &Stream{t: t, p: p, c: cursor{seq: since}, closed: make(chan struct{})}
		if p.stream != nil {
			close(p.stream.closed)
		} else {
			t.streams++
			s.metrics.streams.Inc()
		}
		p.stream = st
		p.stop()
		return nil
	})
	return st, err
}

// Close ends the stream. Without a new one the peer leaves the swarm soon.
func (st *Stream) Close() {
	t := st.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if st.p.stream != st {
		return
	}
	st.p.stream = nil
	t.streams--
	t.s.metrics.streams.Dec()
	t.active = time.Now()
	switch {
	case t.gone:
	case st.p.failed != nil:
		t.remove(st.p)
	default:
		t.wait(st.p)
	}
}

// Next waits for news. After pingAfter without any it returns the empty update, a sign of life. io.EOF ends the stream: when a newer
// one took over, and some time after an update that says Failed or after the peer has left.
func (st *Stream) Next(ctx context.Context) (api.Update, error) {
	ping := time.NewTimer(pingAfter)
	defer ping.Stop()
	if err := st.pace(ctx); err != nil {
		return api.Update{}, err
	}
	for {
		u, changed, err := st.news()
		if err != nil || changed == nil {
			st.last = time.Now()
			return u, err
		}
		select {
		case <-changed:
		case <-st.p.wake:
		case <-ping.C:
			return api.Update{}, nil
		case <-st.closed:
			return api.Update{}, io.EOF
		case <-st.t.s.ctx.Done():
			return api.Update{}, io.EOF
		case <-ctx.Done():
			return api.Update{}, ctx.Err()
		}
	}
}

// pace waits until it is this stream's turn.
func (st *Stream) pace(ctx context.Context) error {
	st.t.mu.Lock()
	gap := min(time.Duration(st.t.streams)*updateCost, pingAfter)
	st.t.mu.Unlock()
	wait := gap - time.Since(st.last)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-st.closed:
		return io.EOF
	case <-st.t.s.ctx.Done():
		return io.EOF
	case <-ctx.Done():
		return ctx.Err()
	}
}

// news returns what is new, or a channel that is closed when there is.
func (st *Stream) news() (api.Update, <-chan struct{}, error) {
	t := st.t
	t.mu.Lock()
	failed := t.failed != nil || st.p.failed != nil
	orphan := st.p.resident || !failed && (t.gone || t.peers[st.p.id] != st.p)
	if st.over(failed && st.told || orphan) {
		t.mu.Unlock()
		return api.Update{}, nil, io.EOF
	}
	var u api.Update
	if st.ending.IsZero() {
		u = t.news(st.p, &st.c)
		st.told = u.Failed != nil
	}
	changed := t.changed
	t.mu.Unlock()
	u = t.complete(u, &st.c)
	if !empty(&u) {
		return u, nil, nil
	}
	return u, changed, nil
}

// over reports whether a stream that has nothing more to tell should end. It is the peer that is to end it: to a peer, a stream
// that the supernode ends is a supernode that dies.
func (st *Stream) over(nothingMore bool) bool {
	if !nothingMore {
		return false
	}
	if st.ending.IsZero() {
		st.ending = time.Now()
	}
	return time.Since(st.ending) > linger
}

func empty(u *api.Update) bool {
	return u.Meta == nil && len(u.Pieces) == 0 && u.Content == nil && u.Parents == nil && u.Ticket == "" &&
		!u.Source && !u.Complete && u.Failed == nil
}

// news collects what p has not heard. The cursor moves on.
func (t *task) news(p *peer, c *cursor) (u api.Update) {
	if u.Failed = t.failed; u.Failed == nil {
		u.Failed = p.failed
	}
	if u.Failed != nil {
		return u
	}
	switch {
	case !t.checking:
		t.contentNews(p, c, &u)
	case !c.meta && c.parents == 0:
		u.Meta = &api.Meta{Length: -1} // the first answer always tells what is known
	}
	if c.parents != p.parentsVersion+1 && !p.complete {
		c.parents = p.parentsVersion + 1
		u.Parents = t.parents(p)
	}
	if p.source && !c.source {
		u.Source = true
	}
	c.source = p.source
	if now := time.Now(); now.After(c.ticketExpires.Add(-t.s.cfg.TicketLife / 2)) {
		u.Ticket, c.ticketExpires = t.s.deps.Keys.Ticket(t.id, t.s.cfg.TicketLife)
		if u.Ticket == "" {
			c.ticketExpires = now.Add(t.s.cfg.TicketLife)
		}
	}
	return u
}

// contentNews collects what is new of the content.
func (t *task) contentNews(p *peer, c *cursor, u *api.Update) {
	if c.metaVersion != t.metaVersion || !c.meta {
		c.metaVersion, c.meta = t.metaVersion, true
		meta := t.meta
		u.Meta = &meta
	}
	if end := min(len(t.log), c.seq+cmp.Or(c.most, maxPieces)); end > c.seq {
		u.Pieces = t.log[c.seq:end:end]
		c.seq = end
	}
	u.Seq = c.seq
	if t.told() && c.seq == len(t.log) && !c.complete {
		c.complete, u.Complete = true, true
	}
	c.wantContent = t.tiny() && t.proven && !c.content && !p.complete
}

// complete reads the content of a tiny task into the update, without the lock.
func (t *task) complete(u api.Update, c *cursor) api.Update {
	if !c.wantContent || u.Failed != nil {
		return u
	}
	c.content, c.wantContent = true, false
	b, err := t.s.deps.Seed.Content(t.id, TinySize)
	if err != nil {
		t.s.deps.Log.Warn("content of a tiny task can't be read", "task", t.id, "err", err)
	}
	u.Content = b
	return u
}
