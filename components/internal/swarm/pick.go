package swarm

import "context"

// Pick chooses a run of up to limit bytes, at least one piece, that the seed has and no peer has or was sent, and counts it as sent.
// While the seed fetches and nothing is fresh it waits, until ctx ends, but takes what is fresh even if ctx has ended before. Errors:
// ErrNothingFresh, ErrUnknownTask, ctx's.
func (s *Swarm) Pick(ctx context.Context, id string, limit int64) (off, n int64, err error) {
	for {
		t := s.find(id)
		if t == nil {
			return 0, 0, ErrUnknownTask
		}
		t.mu.Lock()
		l := t.layout()
		first, count, ok := 0, 0, false
		if l.Size > 0 {
			first, count, ok = t.fresh.Take(l, limit)
		}
		over, changed, supplied := t.gone || !t.busy, t.changed, t.supplied
		t.mu.Unlock()
		if ok {
			off, _ = l.Range(first)
			end, n := l.Range(first + count - 1)
			return off, end + n - off, nil
		}
		if over {
			return 0, 0, ErrNothingFresh
		}
		select {
		case <-changed:
		case <-supplied:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
}

// Return gives back what Pick chose and could not be sent.
func (s *Swarm) Return(id string, off, n int64) {
	s.touch(id, func(t *task) {
		l := t.layout()
		if l.Size == 0 || n <= 0 {
			return
		}
		for i := l.At(off); i <= l.At(off+n-1) && i < len(t.position); i++ {
			if t.whole == 0 && t.copies[i] == 0 {
				t.fresh.Lost(i)
			}
		}
		t.notify()
	})
}
