package transfer

import (
	"errors"
	"fmt"
	"hash"
	"sync"

	_ "crypto/sha256" // registers the algorithms of content digests
	_ "crypto/sha512"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// ErrDigest says that the whole content does not match its digest. Nothing of it is kept.
var ErrDigest = errors.New("transfer: content does not match its digest")

// scratch holds what is hashed on the way from the page cache.
var scratch = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// verify hashes the content as its beginning grows, and tells the loop how it ended. It runs beside the loop.
func (d *download) verify() {
	err := d.check()
	d.do(func() {
		switch {
		case err == nil:
			d.verified = true
		case d.ctx.Err() != nil:
		default:
			if errors.Is(err, ErrDigest) {
				d.m.metrics.wrong.Inc()
				if rerr := d.m.deps.Store.Remove(d.spec.ID); rerr != nil {
					d.log.Warn("removing wrong content failed", "err", rerr)
				}
			}
			d.fail(err)
		}
	})
}

// check returns nil once all content is held and matches.
func (d *download) check() error {
	var h hash.Hash
	if d.spec.Digest != "" {
		if err := d.spec.Digest.Validate(); err != nil {
			return fmt.Errorf("content digest: %w", err)
		}
		h = d.spec.Digest.Algorithm().Hash()
	}
	rd, err := d.task.Reader()
	if err != nil {
		return fmt.Errorf("open content to verify it: %w", err)
	}
	defer rd.Close()
	buf := scratch.Get().(*[128 << 10]byte)
	defer scratch.Put(buf)
	since := 0
	for pos := int64(0); ; {
		gained, changed := d.task.News(since)
		since += len(gained)
		l := d.task.Layout()
		if l.Known() && pos >= l.Length {
			break
		}
		if !d.task.Has(l.At(pos)) {
			select {
			case <-changed:
				continue
			case <-d.ctx.Done():
				return d.ctx.Err()
			}
		}
		next, err := hashPiece(h, rd, l.At(pos), d.task, buf[:])
		if err != nil {
			return err
		}
		if next == pos {
			d.do(d.reckon)
		}
		pos = next
	}
	if h != nil && digest.NewDigest(d.spec.Digest.Algorithm(), h) != d.spec.Digest {
		return fmt.Errorf("%w %s", ErrDigest, d.spec.Digest)
	}
	return nil
}

// hashPiece adds a held piece to h and returns the offset behind it, or the piece's own when it was dropped meanwhile.
func hashPiece(h hash.Hash, rd store.Reader, i int, t store.Task, buf []byte) (int64, error) {
	off, n := t.Layout().Range(i)
	if h == nil {
		return off + n, nil
	}
	for at := off; at < off+n; {
		k, err := rd.ReadAt(buf[:min(int64(len(buf)), off+n-at)], at)
		if errors.Is(err, store.ErrNotHeld) && at == off {
			return off, nil
		}
		if k == 0 && err != nil {
			return off, fmt.Errorf("read content to verify it: %w", err)
		}
		_, _ = h.Write(buf[:k]) // hashes don't fail
		at += int64(k)
	}
	return off + n, nil
}
