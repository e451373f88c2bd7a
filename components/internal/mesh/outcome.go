package mesh

import (
	"slices"
	"time"
)

// Outcome is how a request ended.
type Outcome int

// Outcomes of a request.
const (
	Served    Outcome = iota // all bytes came
	Busy                     // 503: the parent calls when it has room
	Lacking                  // 404: the parent does not hold it
	Broken                   // the connection failed, or the request was canceled
	PickAgain                // the seed has nothing fresh yet
	PickOver                 // the seed has sent every piece once
)

// pickPause is the time between two picks of which the first brought nothing.
const pickPause = 20 * time.Millisecond

// End says how a request ended, with the bytes that came. Pieces that were verified are told by Hold before.
func (p *Plan) End(id uint64, how Outcome, bytes int64, now time.Time) {
	k := slices.IndexFunc(p.requests, func(r *request) bool { return r.ID == id })
	if k < 0 {
		return
	}
	r := p.requests[k]
	p.requests = slices.Delete(p.requests, k, k+1)
	if !r.Pick {
		p.ranges--
		p.release(r, how)
	}
	n := p.parents[r.Parent]
	if n == nil {
		return
	}
	n.out--
	switch how {
	case Served:
		p.idleSince = time.Time{}
		p.measure(n, now.Sub(r.started), bytes)
	case Busy, Broken:
		n.busyUntil = now.Add(p.cfg.BusyTime)
	case Lacking:
		for i := r.First; i < r.First+r.Count; i++ {
			p.forget(n, i)
		}
	case PickOver:
		p.pickOver, p.seedSince = true, now
	case PickAgain:
		// A seed that waits for its origin holds picks for seconds; one that answers at once is overloaded.
		n.busyUntil = now.Add(pickPause)
	}
}

// release makes the pieces of an ended request askable again, but for those that another request is still out for.
func (p *Plan) release(r *request, how Outcome) {
	for i := r.First; i < r.First+r.Count; i++ {
		p.flying.Clear(uint(i))
	}
	if !r.Hedge && !r.hedged {
		return
	}
	for _, o := range p.requests {
		if o.Pick || o.First+o.Count <= r.First || r.First+r.Count <= o.First {
			continue
		}
		if r.Hedge && how != Served {
			o.hedged = false // it may be asked elsewhere again
		}
		for i := o.First; i < o.First+o.Count; i++ {
			if !p.have.Test(uint(i)) {
				p.flying.Set(uint(i))
			}
		}
	}
}

// measure smooths the rates that window, runs and hedges follow.
func (p *Plan) measure(n *parent, took time.Duration, bytes int64) {
	const weight = 0.25 // of the newest
	smooth := func(old, now float64) float64 {
		if old == 0 {
			return now
		}
		return old + weight*(now-old)
	}
	p.perRequest = time.Duration(smooth(float64(p.perRequest), float64(took)))
	if bytes > 0 {
		n.secPerB = smooth(n.secPerB, took.Seconds()/float64(bytes))
	}
}

// Useless returns the requests whose pieces have all come from elsewhere: their connections are better cut.
func (p *Plan) Useless() []uint64 {
	var ids []uint64
	for _, r := range p.requests {
		if r.Pick || !r.Hedge && !r.hedged {
			continue
		}
		if p.heldFrom(r.First, r.Count) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

func (p *Plan) heldFrom(first, count int) bool {
	for i := first; i < first+count; i++ {
		if !p.have.Test(uint(i)) {
			return false
		}
	}
	return true
}
