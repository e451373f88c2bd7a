package upload

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// streams are the availability streams that are open, by task and child.
type streams struct {
	mu   sync.Mutex // guards open
	open map[[2]string]*listener
}

// find returns the child's stream, nil when it has none.
func (s *streams) find(task, peer string) *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[[2]string{task, peer}]
}

// add makes l the child's stream; a stream it had before hears nothing more.
func (s *streams) add(peer string, l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[[2]string]*listener{}
	}
	s.open[[2]string{l.task, peer}] = l
}

// count is the number of streams.
func (s *streams) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// remove ends l, unless a newer stream took its place.
func (s *streams) remove(peer string, l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := [2]string{l.task, peer}; s.open[key] == l {
		delete(s.open, key)
	}
}

// serveNews streams what this peer holds, a line of text a message, until the child leaves or the task is gone:
//
//	have RANGES NEXT LOAD   pieces gained; NEXT is the since of a stream that goes on from here
//	room LOAD               a place freed for this child, which was turned away before
//	ping LOAD               a sign of life, at least every api.PingInterval
//
// LOAD is the number of requests admitted at this peer, over all tasks.
func (s *Server) serveNews(w http.ResponseWriter, r *http.Request, t store.Task) {
	since, err := strconv.Atoi(r.URL.Query().Get("since"))
	if err != nil || since < 0 {
		s.refuse(w, http.StatusBadRequest, "bad_request", "since is the number of pieces told before")
		return
	}
	l := newListener(t.ID())
	peer := r.Header.Get(api.HeaderPeer)
	s.streams.add(peer, l)
	defer func() {
		s.streams.remove(peer, l)
		s.gate.forget(l)
	}()
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	n := &newsWriter{w: w, ctl: http.NewResponseController(w), stall: s.cfg.WriteStall}
	n.line("ping %d\n", s.gate.Load())
	ping := time.NewTimer(api.PingInterval)
	defer ping.Stop()
	pace := pace{told: time.Now()}
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := timer.C // nil while news may be told
	for n.err == nil {
		gained, changed := t.News(since)
		switch {
		case due != nil:
			changed = nil // later
		case len(gained) > 0:
			since += len(gained)
			if gained = s.lacks(t.ID(), peer, gained); len(gained) == 0 {
				continue
			}
			n.line("have %s %d %d\n", ranges(gained), since, s.gate.Load())
			ping.Reset(api.PingInterval)
			timer.Reset(max(s.newsInterval(), pace.after(len(gained), since, t.Layout())))
			due = timer.C
			continue
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-due:
			due = nil
		case <-l.room:
			n.line("room %d\n", s.gate.Load())
			ping.Reset(api.PingInterval)
		case <-ping.C:
			n.line("ping %d\n", s.gate.Load())
			ping.Reset(api.PingInterval)
		}
	}
}

// lacks returns the pieces that may be news to a child.
func (s *Server) lacks(task, child string, pieces []int) []int {
	if s.deps.Downloads == nil {
		return pieces
	}
	return s.deps.Downloads.Lacks(task, child, pieces)
}

// maxNewsInterval is how old news may get where pieces come fast: with more, children have nothing to ask for.
const maxNewsInterval = 25 * time.Millisecond

// newsInterval is the time between two messages of a stream.
func (s *Server) newsInterval() time.Duration {
	return min(time.Duration(s.streams.count())*s.cfg.NewsCost, maxNewsInterval)
}

const (
	// patientPieces is how many pieces have to be held, and how many missing, for each that news may wait for: what waits is a small part of
	// what children could ask for, and of what they still lack. In the first moments, and in the last, everybody waits for the same few pieces.
	patientPieces = 64
	// maxTogether bounds how many pieces in a row are told of together.
	maxTogether = 2
	// maxPace bounds how long that takes: where pieces come slower, each is told of.
	maxPace = time.Second
)

// pace makes a message hold several pieces in the middle of a download that takes long.
type pace struct{ told time.Time }

// after returns how long to wait after a message of n pieces, which is sent now when held pieces are.
func (p *pace) after(n, held int, l piece.Layout) time.Duration {
	now := time.Now()
	each := now.Sub(p.told) / time.Duration(n)
	p.told = now
	if !l.Known() {
		return 0
	}
	wait := each * time.Duration(min(held/patientPieces, (l.Count()-held)/patientPieces, maxTogether))
	if wait > maxPace {
		return 0
	}
	return wait
}

// ranges writes pieces in any order as the wire's ranges.
func ranges(pieces []int) string {
	set := &bitset.BitSet{}
	for _, i := range pieces {
		set.Set(uint(i))
	}
	return piece.FormatRanges(set)
}

// newsWriter writes lines and remembers the first error.
type newsWriter struct {
	w     http.ResponseWriter
	ctl   *http.ResponseController
	stall time.Duration
	err   error
}

func (n *newsWriter) line(format string, args ...any) {
	if n.err != nil {
		return
	}
	_ = n.ctl.SetWriteDeadline(time.Now().Add(n.stall))
	if _, n.err = fmt.Fprintf(n.w, format, args...); n.err == nil {
		n.err = n.ctl.Flush()
	}
}
