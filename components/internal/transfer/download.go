package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/mesh"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// download is one task on its way to this host. One goroutine, run, owns the plan, the links and every decision; others hand it
// closures. What readers and links need at once lies in fields with a guard of their own.
type download struct {
	m    *Manager
	spec Spec
	log  *slog.Logger

	ctx    context.Context
	cancel context.CancelCauseFunc
	inbox  chan func()   // to the loop
	ended  chan struct{} // closed when the loop takes no more
	wg     sync.WaitGroup

	opened chan struct{} // closed when task is set
	failed chan struct{} // closed when err is set
	done   chan struct{} // closed when complete
	task   store.Task    // set before opened is closed
	err    error         // set before failed is closed

	wasCached bool
	atOrigin  atomic.Bool
	readers   readers
	digests   digests
	heard     heard
	ticket    atomic.Pointer[string]
	stats     [3]atomic.Int64 // by origin of the bytes: seed, peers, origin

	use struct {
		mu      sync.Mutex // guards the fields below
		handles int
		over    bool // the loop has ended
		linger  *time.Timer
	}

	// The fields below belong to the loop.
	plan          *mesh.Plan
	links         map[string]*uplink
	dropped       map[string]time.Time // parents not to be used before then
	tries         map[string]int       // failures in a row of a parent
	wanted        []api.Parent         // as the supernode said last
	session       Session              // nil while not registered
	rejected      bool                 // the supernode can't provide the task
	asking        bool                 // a registration is under way
	source        bool                 // this peer reads the origin for the swarm
	fetching      bool                 // the origin worker runs
	fetchFailures int                  // of the origin, since a piece came from the swarm
	verified      bool                 // the whole matches its digest
	told          time.Time            // last news of pieces from the supernode
	said          bitset.BitSet        // pieces that it told of
	idle          lull                 // of this download; a piece that is gained ends it, too
	host          lull                 // of all downloads of this host
	report        reporter

	arrived atomic.Int64 // bytes from parents, of unfinished pieces too
}

func newDownload(m *Manager, spec Spec) *download {
	d := &download{
		m: m, spec: spec, log: m.deps.Log.With("task", spec.ID),
		inbox: make(chan func(), 256), ended: make(chan struct{}),
		opened: make(chan struct{}), failed: make(chan struct{}), done: make(chan struct{}),
		links: map[string]*uplink{}, dropped: map[string]time.Time{}, tries: map[string]int{},
	}
	d.ctx, d.cancel = context.WithCancelCause(context.Background())
	d.use.handles = 1
	d.digests.init(spec.ID, m.deps.Verify)
	return d
}

// cached returns a download that ended before: the content is complete in the store.
func cached(m *Manager, spec Spec, t store.Task) *download {
	d := newDownload(m, spec)
	d.task, d.wasCached = t, true
	d.use.over = true
	close(d.opened)
	close(d.done)
	close(d.ended)
	d.cancel(nil)
	return d
}

// do hands f to the loop. After the loop's end it is dropped.
func (d *download) do(f func()) {
	select {
	case d.inbox <- f:
	case <-d.ended:
	}
}

// tick is how often the failure ladder is looked at.
const tick = 100 * time.Millisecond

// run is the loop. It returns when the download has ended and nothing of it runs any more.
func (d *download) run() {
	d.m.metrics.started.Inc()
	d.told = time.Now()
	d.resume()
	if d.spec.Pattern != Source && d.m.deps.Supernodes.Configured() {
		d.asking = true
		d.wg.Go(d.register)
	} else {
		d.goToOrigin("no_supernode")
	}
	ladder := time.NewTicker(tick)
	defer ladder.Stop()
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	for !d.over() {
		select {
		case <-d.ctx.Done():
		case f := <-d.inbox:
			f()
			d.drain()
		case <-ladder.C:
			d.climb(time.Now())
		case <-wake.C:
		}
		d.pump(wake)
	}
	d.finish()
}

// drain runs what else is waiting, so that one pass over the plan serves many events.
func (d *download) drain() {
	for range cap(d.inbox) {
		select {
		case f := <-d.inbox:
			f()
		default:
			return
		}
	}
}

// over reports whether the loop has to end.
func (d *download) over() bool {
	select {
	case <-d.failed:
		return true
	case <-d.ctx.Done():
		return true
	case <-d.done:
		return true
	default:
		return false
	}
}

// pump sends what the plan asks for.
func (d *download) pump(wake *time.Timer) {
	if d.plan == nil {
		return
	}
	now := time.Now()
	d.plan.Want(d.readers.want(d.plan, d.task.Layout()), now)
	orders, at := d.plan.Next(now)
	for _, o := range orders {
		d.send(o)
	}
	for _, id := range d.plan.Useless() {
		d.cut(id)
	}
	if at.IsZero() {
		at = now.Add(time.Hour)
	}
	wake.Reset(time.Until(at))
	d.report.flush(d, now)
	d.conclude()
}

// open makes the store task once the piece size is known, and keeps its metadata current.
func (d *download) open(meta api.Meta) error {
	if meta.PieceSize <= 0 {
		return nil
	}
	if d.task != nil {
		return d.update(meta)
	}
	t, err := d.m.deps.Store.Create(d.spec.ID, meta)
	if err != nil {
		return fmt.Errorf("keep task: %w", err)
	}
	d.adopt(t)
	return d.update(meta)
}

// adopt takes a store task into use.
func (d *download) adopt(t store.Task) {
	d.task = t
	d.plan = mesh.New(d.m.cfg.Mesh, t.Layout(), rand.New(rand.NewPCG(d.m.cfg.Seed, uint64(time.Now().UnixNano()))))
	have := t.Have()
	for i, ok := have.NextSet(0); ok; i, ok = have.NextSet(i + 1) {
		d.plan.Hold(int(i))
	}
	close(d.opened)
	d.wg.Go(d.verify)
}

// update merges news of the metadata: what is known stays known.
func (d *download) update(meta api.Meta) error {
	old := d.task.Meta()
	if meta.PieceSize != old.PieceSize {
		return fmt.Errorf("piece size changed from %d to %d", old.PieceSize, meta.PieceSize)
	}
	if meta.Length < 0 {
		meta.Length = old.Length
	}
	if len(meta.Header) == 0 {
		meta.Header = old.Header
	}
	meta.Public = meta.Public || old.Public
	if equalMeta(old, meta) {
		return nil
	}
	if err := d.task.SetMeta(meta); err != nil {
		return fmt.Errorf("keep metadata: %w", err)
	}
	d.plan.SetLayout(d.task.Layout())
	return nil
}

// resume takes up what an earlier download left.
func (d *download) resume() {
	t, err := d.m.deps.Store.Get(d.spec.ID)
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			d.log.Warn("looking for kept pieces failed", "err", err)
		}
		return
	}
	d.adopt(t)
	d.log.Debug("resuming", "pieces", t.Count())
}

// conclude completes the task when all is there.
func (d *download) conclude() {
	if !d.plan.Done() || !d.verified {
		return
	}
	if err := d.task.Complete(); err != nil {
		d.fail(fmt.Errorf("complete task: %w", err))
		return
	}
	close(d.done)
}

// fail ends the download for everybody.
func (d *download) fail(err error) {
	select {
	case <-d.failed:
	case <-d.done:
	default:
		d.err = err
		close(d.failed)
	}
}

// finish winds the download up.
func (d *download) finish() {
	result := "complete"
	select {
	case <-d.done:
	case <-d.failed:
		result = "failed"
		d.log.Warn("download failed", "err", d.err)
	default:
		result = "abandoned"
		d.fail(context.Cause(d.ctx))
	}
	d.m.metrics.ended.WithLabelValues(result).Inc()
	d.report.last(d, result == "complete")
	d.cancel(nil)
	close(d.ended)
	for _, l := range d.links {
		l.link.Close()
	}
	d.wg.Wait()
	d.use.mu.Lock()
	d.use.over = true
	free := d.use.handles == 0
	if d.use.linger != nil {
		d.use.linger.Stop()
	}
	d.use.mu.Unlock()
	if free && d.task != nil {
		d.task.Release()
	}
}

// acquire adds a handle; false when the download can't be joined any more.
func (d *download) acquire() bool {
	d.use.mu.Lock()
	defer d.use.mu.Unlock()
	select {
	case <-d.failed:
		return false
	case <-d.ctx.Done():
		return false
	default:
	}
	if d.use.over {
		return false
	}
	d.use.handles++
	if d.use.linger != nil {
		d.use.linger.Stop()
	}
	return true
}

// release ends a handle. The last one leaves the download running for a while: clients come back, and others pull the same.
func (d *download) release() {
	d.use.mu.Lock()
	d.use.handles--
	last := d.use.handles == 0
	over := d.use.over
	if last && !over {
		d.use.linger = time.AfterFunc(d.m.cfg.Linger, func() { d.abandon() })
	}
	d.use.mu.Unlock()
	if last && over && d.task != nil {
		d.task.Release()
	}
}

var errUnread = errors.New("nobody reads the download")

// abandon ends a download that nobody came back to.
func (d *download) abandon() {
	d.use.mu.Lock()
	defer d.use.mu.Unlock()
	if d.use.handles == 0 {
		d.cancel(errUnread)
	}
}

func (d *download) snapshot() Stats {
	return Stats{d.stats[0].Load(), d.stats[1].Load(), d.stats[2].Load()}
}

// Layout implements peer.Task.
func (d *download) Layout() piece.Layout { return d.task.Layout() }
