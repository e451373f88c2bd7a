package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Result is how a run went. Ratios are over the limit: the time of one link at the common rate for the content, plus two round trips.
type Result struct {
	Peers               int
	Limit               time.Duration
	First, Median, Last float64
	// FirstByte is the median time from the start of a pull to its first byte.
	FirstByte time.Duration
	// SeedCopies is what the seed sent of the content, in copies of it; Duplicates is what peers received twice, as a share.
	SeedCopies, Duplicates float64
	// Calls, CallBytes and so on are the control plane's, for each peer: what the supernode heard, and what it said.
	CallsIn, BytesIn, CallsOut, BytesOut float64
	// News and NewsBytes are lines of availability streams that a peer sent; Refused is how often it turned a request away; Requests how
	// many it served.
	News, NewsBytes, Refused, Requests float64
	// Uplinks is how busy the peers' uplinks were until the last peer was done; Seed how busy the seed's was. Content says which part of
	// the peers' was content.
	Uplinks, Seed, Content float64
	// Idle says why peers' uplinks were idle, as shares of the time.
	Idle [reasons]float64
}

// Reasons of an idle uplink.
const (
	IdleStart    = iota // it holds nothing yet
	IdleNothing         // no child lacks anything that it holds
	IdleLast            // some child lacks something, and every such child lacks few pieces: they are on their way
	IdleNoticed         // a child lacks something that it holds, and nobody asks
	IdleFinished        // all children are done
	reasons
)

var reasonNames = [reasons]string{"nothing held yet", "nothing that a child lacks", "last pieces", "nobody asks", "children done"}

// sampleEvery is the time between two looks at the uplinks.
const sampleEvery = 20 * time.Millisecond

// few is how many pieces a child lacks at most that has asked for all of them.
const few = 4

// watcher looks why uplinks are idle.
type watcher struct {
	s     *swarmNet
	looks int
	idle  [reasons]int
}

func (w *watcher) run(ctx context.Context) {
	for wait(ctx, sampleEvery) == nil {
		for _, n := range w.s.peers {
			w.looks++
			w.s.net.mu.Lock()
			busy := n.up.busy
			w.s.net.mu.Unlock()
			if !busy {
				w.idle[w.s.reason(n)]++
			}
		}
	}
}

// reason says why n's uplink is idle.
func (s *swarmNet) reason(n *node) int {
	held := n.store.Have()
	if held.None() {
		return IdleStart
	}
	n.mu.Lock()
	children := make([]*node, 0, len(n.children))
	for name := range n.children {
		children = append(children, s.byName[name])
	}
	n.mu.Unlock()
	why := IdleFinished
	for _, c := range children {
		has := c.store.Have()
		missing := s.pieces() - int(has.Count())
		switch useful := held.DifferenceCardinality(has); {
		case missing == 0:
		case useful == 0:
			if why == IdleFinished {
				why = IdleNothing
			}
		case missing <= few:
			if why != IdleNoticed {
				why = IdleLast
			}
		default:
			why = IdleNoticed
		}
	}
	return why
}

func (s *swarmNet) pieces() int { return s.seed.store.Layout().Count() }

func (s *swarmNet) result(w *watcher) *Result {
	s.net.mu.Lock() // what the links did
	defer s.net.mu.Unlock()
	n := float64(len(s.peers))
	size := float64(s.cfg.Size)
	r := &Result{Peers: len(s.peers), Limit: time.Duration(size/s.cfg.Rate*1e9) + 4*s.cfg.Latency}
	var took, first []time.Duration
	var end time.Duration
	var busy, content float64
	for _, p := range s.peers {
		took, first = append(took, p.done-p.start), append(first, p.first-p.start)
		end = max(end, p.done)
		busy += p.up.worked.Seconds()
		content += float64(p.sent.Load())
		r.News += float64(p.news.Load()) / n
		r.NewsBytes += float64(p.newsBytes.Load()) / n
		r.Refused += float64(p.answers[5].Load()) / n
		r.Requests += float64(p.answers[2].Load()) / n
	}
	content += float64(s.seed.sent.Load())
	r.Duplicates = content/(n*size) - 1
	slices.Sort(took)
	slices.Sort(first)
	over := func(d time.Duration) float64 { return d.Seconds() / r.Limit.Seconds() }
	r.First, r.Median, r.Last = over(took[0]), over(took[len(took)/2]), over(took[len(took)-1])
	r.FirstByte = first[len(first)/2]
	r.SeedCopies = float64(s.seed.sent.Load()) / size
	r.CallsIn, r.BytesIn = float64(s.calls.messages.Load())/n, float64(s.calls.bytes.Load())/n
	r.CallsOut = float64(s.answers.messages.Load()+s.updates.messages.Load()) / n
	r.BytesOut = float64(s.answers.bytes.Load()+s.updates.bytes.Load()) / n
	r.Uplinks = busy / (n * end.Seconds())
	r.Content = (content - float64(s.seed.sent.Load())) / s.cfg.Rate / (n * end.Seconds())
	r.Seed = s.seed.up.worked.Seconds() / end.Seconds()
	for i, k := range w.idle {
		r.Idle[i] = float64(k) / float64(w.looks)
	}
	return r
}

// String is a few lines for people.
func (r *Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d peers: first %.3f, median %.3f, last %.3f of the limit (%.2f s); first byte after %v\n",
		r.Peers, r.First, r.Median, r.Last, r.Limit.Seconds(), r.FirstByte.Round(time.Millisecond))
	fmt.Fprintf(&b, "  the seed sent %.2f copies; %.2f %% came twice\n", r.SeedCopies, 100*r.Duplicates)
	fmt.Fprintf(&b, "  supernode, a peer: %.0f messages and %.1f KB in, %.0f and %.1f KB out\n", r.CallsIn, r.BytesIn/1e3, r.CallsOut, r.BytesOut/1e3)
	fmt.Fprintf(&b, "  a peer sent: %.0f requests served, %.0f turned away, %.0f news lines of %.0f KB\n", r.Requests, r.Refused, r.News, r.NewsBytes/1e3)
	fmt.Fprintf(&b, "  uplinks: peers' busy %.1f %% (content %.1f %%), the seed's %.1f %%; idle:", 100*r.Uplinks, 100*r.Content, 100*r.Seed)
	for i, share := range r.Idle {
		fmt.Fprintf(&b, " %s %.1f %%;", reasonNames[i], 100*share)
	}
	return strings.TrimSuffix(b.String(), ";")
}
