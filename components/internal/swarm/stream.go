package swarm

import (
	"cmp"
	"context"
	"io"
	"slices"
	"time"

	"github.com/bits-and-blooms/bitset"
	"github.com/cespare/xxhash/v2"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
)

const (
	// pingAfter is the silence after which a sign of life is sent at first: enough under PingInterval for the way.
	pingAfter = api.PingInterval * 4 / 5
	// pingShare bounds the silence by the stream's age, as one part of so many: a peer whose supernode stops notices that the later the longer it
	// has been at it. On links of 4 Mbit/s the signs of 64 peers, one a second each, took 1 % of the supernode's link both ways.
	pingShare = 10
	// maxPieces is the most digests in one update, so that no update is large.
	maxPieces = 4096
	// firstPieces is the most digests in the answer of a registration: a peer that waits for its answer serves nobody, and thousands may wait
	// at once. The stream tells the rest.
	firstPieces = 64
	// updateCost is the time set aside for one update, about three times what one takes. With many streams each hears less often, so
	// that all together cost a part of one core however many there are; a fast transfer then tells several pieces at once.
	updateCost = 100 * time.Microsecond
	// signedEvery is the least time between two updates that tell of nothing but signed pieces.
	signedEvery = 4 * time.Second
	// linger is how long a stream stays open that has nothing more to tell.
	linger = 5 * time.Second
)

// cursor is how far one listener has heard.
type cursor struct {
	seq           int           // pieces
	most          int           // of them in one update; 0 means maxPieces
	brief         bool          // digests of signed pieces are not told
	silent        bool          // no pieces are told, but that of tiny content
	signed        time.Time     // when signed pieces were told last
	signer        *proof.Signer // whose key was told
	meta          bool          // was told
	metaVersion   int
	parents       int          // version + 1
	list          []toldParent // where changes of it are told
	source        bool
	complete      bool
	content       bool
	ticketExpires time.Time
	wantContent   bool // news found that the content is there
}

// Stream is a peer's event stream. Not safe for concurrent use.
type Stream struct {
	t     *task
	p     *peer
	c     cursor
	began time.Time
	last  time.Time
	ping  time.Duration // the silence that the peer was told of
	timer *time.Timer   // of wait
	// calm and supplied are closed when there may be news again after a look that found none; nil after one that found some.
	calm, supplied <-chan struct{}
	closed         chan struct{} // by a newer stream of the peer
	told           bool          // of a failure
	ending         time.Time     // since when there is nothing more to tell
}

// Open starts the event stream of a registered peer that has heard since pieces. A newer stream ends an older one. The caller closes it.
// all tells the digests of signed pieces to a peer that registered with proofs, too.
func (s *Swarm) Open(id, name string, since int, all bool) (*Stream, error) {
	var st *Stream
	err := s.with(id, name, func(t *task, p *peer) error {
		if since < 0 || since > len(t.log) {
			since = 0 // of another life of the supernode
		}
		st = &Stream{t: t, p: p, c: p.heard(since), began: time.Now(), ping: api.PingInterval, timer: time.NewTimer(pingAfter), closed: make(chan struct{})}
		st.c.brief = p.proofs && !all
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

// heard is where a stream begins that goes on behind since: what the answer to the registration told is not told again by the first.
func (p *peer) heard(since int) cursor {
	answered := p.answered
	p.answered = nil
	if answered == nil || answered.seq != since {
		return cursor{seq: since}
	}
	c := *answered
	c.most, c.silent = 0, false
	return c
}

// Close ends the stream. Without a new one the peer leaves the swarm soon.
func (st *Stream) Close() {
	st.timer.Stop()
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

// Next waits for news. Without any it returns nil after some time, a sign of life. io.EOF ends the stream: when a newer one took over,
// and some time after an update that says Failed or after the peer has left.
//
// A stream spends its life in here. What its goroutine's stack holds meanwhile is kept small, no update by value and one select, and without
// news it wakes up once: for the sign of life, when it looks for what only time brings.
func (st *Stream) Next(ctx context.Context) (*api.Update, error) {
	ping := time.Now().Add(st.ping * 4 / 5)
	for {
		var late bool
		var err error
		if st.calm != nil {
			late, err = st.wait(ctx, time.Until(ping), st.calm, st.supplied, st.p.wake)
		}
		if err == nil {
			err = st.pace(ctx)
		}
		if err != nil {
			return nil, err
		}
		u, err := st.news(late)
		if u != nil || late || err != nil {
			st.last = time.Now()
			return u, err
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
	_, err := st.wait(ctx, wait, nil, nil, nil)
	return err
}

// wait returns when there is something on a channel, or late, after the time d. An error says that the stream is over.
func (st *Stream) wait(ctx context.Context, d time.Duration, changed, supplied, wake <-chan struct{}) (late bool, err error) {
	st.timer.Reset(d)
	select {
	case <-changed:
	case <-supplied:
	case <-wake:
	case <-st.timer.C:
		return true, nil
	case <-st.closed:
		return false, io.EOF
	case <-st.t.s.ctx.Done():
		return false, io.EOF
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return false, nil
}

// news returns what is new, nil when nothing is. due says that a sign of life is to go out anyway.
func (st *Stream) news(due bool) (*api.Update, error) {
	t := st.t
	t.mu.Lock()
	failed := t.failed != nil || st.p.failed != nil
	orphan := st.p.resident || !failed && (t.gone || t.peers[st.p.id] != st.p)
	if st.over(failed && st.told || orphan) {
		t.mu.Unlock()
		return nil, io.EOF
	}
	var u api.Update
	if st.ending.IsZero() {
		u = t.news(st.p, &st.c, due)
		st.told = u.Failed != nil
	}
	st.calm, st.supplied = t.changed, nil
	if !t.brief(&st.c) {
		st.supplied = t.supplied
	}
	t.mu.Unlock()
	if due {
		u.Ping = st.stretch()
	}
	if u = t.complete(u, &st.c); empty(&u) {
		return nil, nil
	}
	st.calm = nil
	told := u // so that only what is told is put on the heap
	return &told, nil
}

// stretch doubles the silence once the stream is old enough for that, and returns what the peer is to be told, in milliseconds, or 0.
func (st *Stream) stretch() int {
	next := 2 * st.ping
	if next > api.MaxPing || time.Since(st.began) < pingShare*next {
		return 0
	}
	st.ping = next
	return int(next / time.Millisecond)
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
	return u.Meta == nil && len(u.Pieces) == 0 && u.Signed == "" && u.Key == nil && u.Content == nil && u.Parents == nil && u.More == nil &&
		u.Less == nil && u.Ticket == "" && u.Ping == 0 &&
		!u.Source && !u.Complete && u.Failed == nil
}

// news collects what p has not heard. The cursor moves on. What can wait for the next sign of life does, unless that is due.
func (t *task) news(p *peer, c *cursor, due bool) (u api.Update) {
	if u.Failed = t.failed; u.Failed == nil {
		u.Failed = p.failed
	}
	if u.Failed != nil {
		return u
	}
	switch {
	case !t.checking:
		t.contentNews(p, c, &u, due)
	case !c.meta && c.parents == 0:
		u.Meta = &api.Meta{Length: -1} // the first answer always tells what is known
	}
	if c.parents != p.parentsVersion+1 && !p.complete {
		c.parents = p.parentsVersion + 1
		t.parentNews(p, c, &u)
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

// toldParent is a parent as it was told. Every idle stream keeps its list of them, so they are small.
type toldParent struct {
	peer  *peer  // nil for the seed
	addrs uint64 // hash
}

func (t *task) tell(p api.Parent) toldParent {
	h := xxhash.New()
	for _, a := range p.Addrs {
		_, _ = h.WriteString(a + "\n") // never fails
	}
	return toldParent{t.peers[p.Peer], h.Sum64()}
}

func (p toldParent) name() string {
	if p.peer == nil {
		return seedName
	}
	return p.peer.id
}

// parentNews tells the list of parents, or what changed of it.
func (t *task) parentNews(p *peer, c *cursor, u *api.Update) {
	list, old := t.parents(p), c.list
	if p.proofs || old != nil { // it may have registered anew, without proofs, while its old stream is open
		c.list = make([]toldParent, 0, len(list))
		for _, v := range list {
			c.list = append(c.list, t.tell(v))
		}
	}
	if old == nil {
		u.Parents = list
		return
	}
	for i, v := range list {
		if !slices.Contains(old, c.list[i]) {
			u.More = append(u.More, v)
		}
	}
	for _, o := range old {
		if !slices.ContainsFunc(list, func(v api.Parent) bool { return v.Peer == o.name() }) {
			u.Less = append(u.Less, o.name())
		}
	}
}

// contentNews collects what is new of the content.
func (t *task) contentNews(p *peer, c *cursor, u *api.Update, due bool) {
	if c.metaVersion != t.metaVersion || !c.meta {
		c.metaVersion, c.meta = t.metaVersion, true
		meta := t.meta
		u.Meta = &meta
	}
	if p.proofs && t.signs() {
		if t.signer == nil {
			t.signer = proof.NewSigner()
		}
		if c.signer != t.signer {
			c.signer, u.Key = t.signer, t.signer.Key()
		}
	}
	if !c.silent || t.tiny() {
		t.pieceNews(c, u, due)
	}
	u.Seq = c.seq
	if t.told() && c.seq == len(t.log) && !c.complete {
		c.complete, u.Complete = true, true
	}
	c.wantContent = t.tiny() && t.proven && !c.content && !p.complete
}

// signs reports whether digests come with the pieces, as those do that the seed reads.
func (t *task) signs() bool {
	return t.meta.PieceSize > 0 && !t.tiny() && (t.fetching || t.atSeed.Any())
}

// brief reports whether a listener is not told the digests of signed pieces. The one of tiny content goes with it.
func (t *task) brief(c *cursor) bool { return c.brief && !t.tiny() }

// pieceNews collects the pieces that are new. Signed ones alone are no reason for an update before a sign of life, and then every signedEvery
// only, unless they are the first or the last: children hear of them from each other.
func (t *task) pieceNews(c *cursor, u *api.Update, due bool) {
	end := min(len(t.log), c.seq+cmp.Or(c.most, maxPieces))
	news := t.log[c.seq:end:end]
	if !t.brief(c) {
		u.Pieces, c.seq = news, end
		return
	}
	signed := &bitset.BitSet{}
	var told []api.Piece
	for _, p := range news {
		if t.signed.Test(uint(p.Index)) {
			signed.Set(uint(p.Index))
		} else {
			told = append(told, p)
		}
	}
	now := time.Now()
	if len(told) == 0 && (!due || now.Sub(c.signed) < signedEvery) && c.seq > 0 && !t.told() {
		return
	}
	u.Pieces, u.Signed, c.seq, c.signed = told, piece.FormatRanges(signed), end, now
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
