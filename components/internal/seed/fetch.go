package seed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// rounds is how often a fetch asks the origin for what is missing after a round that ended well. More than one is needed only when
// the origin's parts did not end where pieces do.
const rounds = 3

// Fetch gets what job asks for from the origin into the store and tells progress of each verified piece. It returns when all is there,
// and, if the store then has the whole, the whole is verified and complete. The task stays pinned until Close. Errors: *Refused,
// ErrInvalid, store.ErrNoSpace, ctx's, or whatever kept the origin from being read.
func (s *Seed) Fetch(ctx context.Context, job Job, progress Progress) error {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	start := time.Now()
	err := s.fetch(ctx, job, progress)
	if errors.Is(err, ErrInvalid) {
		s.Discard(job.Task)
	}
	s.metrics.fetches.WithLabelValues(outcome(err)).Inc()
	log := s.Log.With("task", job.Task, "took", time.Since(start).Round(time.Millisecond))
	if err != nil {
		log.Warn("seeding failed", "err", err)
	} else {
		log.Info("seeded")
	}
	return err
}

func (s *Seed) fetch(ctx context.Context, job Job, progress Progress) error {
	if job.Digest != "" {
		if err := digest.Digest(job.Digest).Validate(); err != nil {
			return fmt.Errorf("digest %.80q of the task: %w", job.Digest, err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &fetching{seed: s, job: job, progress: progress}
	f.proof = newProof(ctx, job.Digest)
	defer f.proof.wait()
	defer cancel()
	if t := s.pinned(job.Task); t != nil {
		f.hold(t)
	}
	for range rounds {
		need, done := f.need()
		if done {
			break
		}
		if err := f.seed.Origin.Fetch(ctx, f.job.Request, need, f); err != nil {
			return f.explain(err)
		}
	}
	return f.finish()
}

// fetching is one run of Fetch. It is the Sink of the origin.
type fetching struct {
	seed     *Seed
	job      Job
	progress Progress
	proof    *proof

	mu   sync.Mutex // guards the fields below
	task store.Task // nil until the origin told the length
}

func (f *fetching) hold(t store.Task) {
	f.task = t
	f.proof.start(t)
}

func (f *fetching) held() store.Task {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.task
}

// need lists what is missing and nobody holds. nil stands for everything.
func (f *fetching) need() (need []Range, done bool) {
	var l piece.Layout
	has := func(int) bool { return false }
	if t := f.held(); t != nil {
		l, has = t.Layout(), t.Has
	} else if f.job.Meta != nil && f.job.Meta.PieceSize > 0 {
		l = piece.Layout{Length: f.job.Meta.Length, Size: f.job.Meta.PieceSize}
	}
	if l.Size == 0 || !l.Known() {
		return nil, false
	}
	whole := true
	for i := range l.Count() {
		if has(i) || f.job.Skip != nil && f.job.Skip.Test(uint(i)) {
			whole = false
			continue
		}
		off, n := l.Range(i)
		if last := len(need) - 1; last >= 0 && need[last].Off+need[last].Len == off {
			need[last].Len += n
		} else {
			need = append(need, Range{off, n})
		}
	}
	if whole {
		return nil, l.Count() == 0 && f.held() != nil
	}
	return need, len(need) == 0 && f.held() != nil
}

// explain tells content that is not what was promised from other failures.
func (f *fetching) explain(err error) error {
	if errors.Is(err, store.ErrDigest) {
		return fmt.Errorf("%w: a piece differs from the digest that peers told: %w", ErrInvalid, err)
	}
	return err
}

// end is called when content of unknown length ends at length.
func (f *fetching) end(t store.Task, length int64) error {
	meta := t.Meta()
	meta.Length = length
	if err := t.SetMeta(meta); err != nil {
		return fmt.Errorf("set the length of task %s: %w", f.job.Task, err)
	}
	f.progress.Meta(meta)
	return nil
}

// finish proves the whole, when the whole is there.
func (f *fetching) finish() error {
	t := f.held()
	if t == nil {
		return errors.New("the origin gave nothing")
	}
	if l := t.Layout(); !l.Known() || t.Count() < l.Count() {
		if need, done := f.need(); !done {
			return fmt.Errorf("the origin left out %d ranges", len(need))
		}
		return nil
	}
	if err := f.proof.result(); err != nil {
		return err
	}
	if err := t.Complete(); err != nil {
		return fmt.Errorf("complete task %s: %w", f.job.Task, err)
	}
	return nil
}

// Start implements Sink.
func (f *fetching) Start(info Info) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	meta := f.meta(info)
	if f.task != nil {
		return f.agree(f.task.Meta(), meta)
	}
	if m := f.job.Meta; m != nil && m.PieceSize > 0 {
		if err := f.agree(*m, meta); err != nil {
			return err
		}
		meta.PieceSize = m.PieceSize
		meta.Length = max(meta.Length, m.Length)
	}
	t, err := f.seed.Store.Create(f.job.Task, meta)
	if err != nil {
		return fmt.Errorf("create task %s: %w", f.job.Task, err)
	}
	f.hold(f.seed.pin(f.job.Task, t))
	f.progress.Meta(meta)
	return nil
}

// agree compares what was known with what the origin tells now.
func (f *fetching) agree(was, now api.Meta) error {
	if was.Length >= 0 && now.Length >= 0 && was.Length != now.Length {
		return fmt.Errorf("%w: the length was %d and is %d", ErrInvalid, was.Length, now.Length)
	}
	if f.job.Digest != "" {
		return nil // the digest decides
	}
	for _, h := range []string{"Etag", "Last-Modified"} {
		if a, b := was.Header[h], now.Header[h]; a != "" && b != "" && a != b {
			return fmt.Errorf("%w: %s was %q and is %q", ErrInvalid, h, a, b)
		}
	}
	return nil
}

func (f *fetching) meta(info Info) api.Meta {
	_, anonymous := api.Anonymous(f.job.Request.Header)
	meta := api.Meta{Length: info.Length, PieceSize: piece.Size(info.Length), Public: anonymous && !info.Identified}
	for _, name := range []string{"Content-Type", "Etag", "Last-Modified"} {
		if v := info.Header.Get(name); v != "" {
			if meta.Header == nil {
				meta.Header = map[string]string{}
			}
			meta.Header[name] = v
		}
	}
	return meta
}
