// Package mesh decides what a child asks of which parent next. It is pure: facts go in, orders come out, clock and randomness are
// the caller's, so that the same code runs in a transfer and in a simulation of thousands of peers. A Plan is not safe for
// concurrent use; its one owner is the transfer's loop.
//
// The policy follows from simulation (docs/architecture.md, "Scheduling"): short windows, the least loaded parent first, the
// rarest piece it holds with random ties, fresh pieces from the seed and everything else from peers.
package mesh

import (
	"math/rand/v2"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// Config of a Plan. The zero value of a field means its default.
type Config struct {
	// Window is how many range requests a child has outstanding, over all parents. Default 10. Requests and
	// news come late by what is queued on the links; with fewer outstanding, parents run dry meanwhile. It is more than a parent
	// takes in, so that each has requests.
	Window int
	// PerParent is how many of them, picks included, one parent has, or more where there are less parents than the window has
	// room for. Default 2: one served, one so that its uplink need not wait for us.
	PerParent int
	// RunTime is how much a request should ask for, as time at the parent's rate, where pieces are smaller. Default 10 ms.
	RunTime time.Duration
	// MaxRun bounds a request of more than one piece, in bytes. Default 4 MiB.
	MaxRun int64
	// HedgeMin is the least age of a request before its pieces are asked for elsewhere too. Default 300 ms.
	HedgeMin time.Duration
	// BusyTime is how long a parent that turned us away is left alone, unless it calls earlier. Default 250 ms.
	BusyTime time.Duration
	// Grace is how long a piece that only the seed holds is awaited from peers, while some still gain pieces. Default 200 ms.
	Grace time.Duration
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&c.RunTime, 10 * time.Millisecond},
		{&c.HedgeMin, 300 * time.Millisecond},
		{&c.BusyTime, 250 * time.Millisecond},
		{&c.Grace, 200 * time.Millisecond},
	} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if c.Window == 0 {
		c.Window = 10
	}
	if c.PerParent == 0 {
		c.PerParent = 2
	}
	if c.MaxRun == 0 {
		c.MaxRun = 4 << 20
	}
}

// Order is a request to send: pieces [First, First+Count) of Parent, or, if Pick is set, up to Limit bytes of the seed's choice.
type Order struct {
	ID           uint64
	Parent       string
	Pick         bool
	Limit        int64 // bytes, picks only
	First, Count int
	// Hedge marks pieces that are outstanding elsewhere too.
	Hedge bool
}

// request is an order that has not ended.
type request struct {
	Order
	started time.Time
	hedged  bool // its pieces are asked for elsewhere too
}

// Plan is one task as its child sees it.
type Plan struct {
	cfg    Config
	rand   *rand.Rand
	layout piece.Layout

	have, known, flying *bitset.BitSet
	count               []uint16 // parents that hold a piece, the seed not counted
	parents             map[string]*parent
	order               []*parent // of parents, for scans without map iteration
	seed                *parent
	requests            []*request // in order of ID
	lastID              uint64
	ranges              int // outstanding, picks not counted

	pickOver   bool
	seedSince  time.Time // since when the seed alone may be asked for what no peer holds; zero while picks go on
	idleSince  time.Time // since when nothing is outstanding though something is wanted
	want       int       // piece that a reader waits for, -1 for none
	wantSince  time.Time
	perRequest time.Duration // smoothed time from order to end
}

// New returns a plan for content of the given layout, of which nothing is held.
func New(cfg Config, layout piece.Layout, r *rand.Rand) *Plan {
	cfg.setDefaults()
	return &Plan{
		cfg: cfg, rand: r, layout: layout, want: -1,
		have: &bitset.BitSet{}, known: &bitset.BitSet{}, flying: &bitset.BitSet{},
		parents: map[string]*parent{},
	}
}

// SetLayout tells the length once it is known.
func (p *Plan) SetLayout(l piece.Layout) { p.layout = l }

// Know says that piece i's digest is known, so that it can be asked for.
func (p *Plan) Know(i int) { p.known.Set(uint(i)) }

// Hold says that piece i is held and verified, from wherever it came.
func (p *Plan) Hold(i int) {
	p.have.Set(uint(i))
	p.flying.Clear(uint(i))
}

// Lose says that piece i is not held any longer.
func (p *Plan) Lose(i int) { p.have.Clear(uint(i)) }

// Keep says that no piece outside held is held any longer, and reports whether that is news.
func (p *Plan) Keep(held *bitset.BitSet) bool {
	if held.IsSuperSet(p.have) {
		return false
	}
	p.have.InPlaceIntersection(held)
	return true
}

// Want says which piece a reader waits for, -1 for none.
func (p *Plan) Want(i int, now time.Time) {
	if i != p.want {
		p.want, p.wantSince = i, now
	}
}

// Done reports whether every piece is held.
func (p *Plan) Done() bool { return p.layout.Known() && int(p.have.Count()) >= p.layout.Count() }

// Outstanding is the number of requests that have not ended.
func (p *Plan) Outstanding() int { return len(p.requests) }

// Reachable reports whether some parent could give piece i, now or when it has room.
func (p *Plan) Reachable(i int) bool {
	return p.known.Test(uint(i)) && (p.seed != nil && !p.seed.lacks(i) || p.holders(i) > 0)
}

func (p *Plan) holders(i int) uint16 {
	if i < len(p.count) {
		return p.count[i]
	}
	return 0
}

// NextMissing returns the first piece from i on that is not held. It may lie behind the content's end.
func (p *Plan) NextMissing(i int) int {
	if next, ok := p.have.NextClear(uint(i)); ok {
		return int(next)
	}
	return max(i, int(p.have.Len()))
}
