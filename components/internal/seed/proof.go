package seed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// hashBuffer is how much is read at once for hashing, in bytes: large enough for the hash to run at its speed.
const hashBuffer = 256 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, hashBuffer); return &b }}

// proof computes the digest of the whole while it grows, so that the end of the last piece is nearly the end of the proof.
type proof struct {
	ctx  context.Context
	want digest.Digest // "" when there is nothing to prove
	wg   sync.WaitGroup
	err  error
}

func newProof(ctx context.Context, want string) *proof {
	return &proof{ctx: ctx, want: digest.Digest(want)}
}

// start is called once, when there is something to read.
func (p *proof) start(t store.Task) {
	if p.want == "" || t.IsComplete() {
		return
	}
	p.wg.Go(func() { p.err = p.run(t) })
}

// wait returns when nothing reads the task any more.
func (p *proof) wait() { p.wg.Wait() }

// result waits for the end of the content. It is called when all pieces are there.
func (p *proof) result() error {
	p.wg.Wait()
	return p.err
}

func (p *proof) run(t store.Task) error {
	rd, err := t.Reader()
	if err != nil {
		return fmt.Errorf("read back for the digest: %w", err)
	}
	defer rd.Close()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	hash := p.want.Algorithm().Hash()
	for next, seen := 0, 0; ; {
		gained, changed := t.News(seen)
		seen += len(gained)
		for ; t.Has(next); next++ {
			off, n := t.Layout().Range(next)
			if _, err := io.CopyBuffer(hash, struct{ io.Reader }{io.NewSectionReader(rd, off, n)}, *buf); err != nil {
				if errors.Is(err, store.ErrNotHeld) {
					return fmt.Errorf("piece %d was lost on disk: %w", next, err)
				}
				return fmt.Errorf("read back for the digest: %w", err)
			}
		}
		if l := t.Layout(); l.Known() && next == l.Count() {
			break
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
	if got := digest.NewDigest(p.want.Algorithm(), hash); got != p.want {
		return fmt.Errorf("%w: its digest is %s, wanted %s", ErrInvalid, got, p.want)
	}
	return nil
}
