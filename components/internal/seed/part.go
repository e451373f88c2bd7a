package seed

import (
	"fmt"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// Part implements Sink.
func (f *fetching) Part(off int64) (PartWriter, error) {
	t := f.held()
	if t == nil {
		return nil, fmt.Errorf("part at %d before the start", off)
	}
	return &part{f: f, task: t, pos: off}, nil
}

// part cuts a run of bytes into pieces. A piece whose beginning lies before the part, or that is held already, is skipped.
type part struct {
	f     *fetching
	task  store.Task
	pos   int64 // of the next byte in the content
	index int   // of the current piece
	left  int64 // bytes to come of the current piece, 0 between pieces
	w     store.PieceWriter
}

// Write implements io.Writer.
func (p *part) Write(b []byte) (int, error) {
	done := 0
	for len(b) > 0 {
		if p.left == 0 {
			if err := p.begin(); err != nil {
				return done, err
			}
		}
		n := int(min(int64(len(b)), p.left))
		if p.w != nil {
			if _, err := p.w.Write(b[:n]); err != nil {
				p.abort()
				return done, fmt.Errorf("write piece %d: %w", p.index, err)
			}
		}
		b, done = b[n:], done+n
		p.pos += int64(n)
		if p.left -= int64(n); p.left == 0 {
			if err := p.commit(); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

func (p *part) begin() error {
	l := p.task.Layout()
	p.index = l.At(p.pos)
	off, n := l.Range(p.index)
	if p.left = off + n - p.pos; p.left <= 0 {
		p.left = 0
		return fmt.Errorf("bytes from %d on of content of %d", p.pos, l.Length)
	}
	if p.pos != off || p.task.Has(p.index) {
		return nil
	}
	var want *piece.Digest
	if d, ok := p.f.job.Known[p.index]; ok {
		want = &d
	}
	w, err := p.task.Writer(p.index, want)
	if err != nil {
		return fmt.Errorf("open piece %d: %w", p.index, err)
	}
	p.w = w
	return nil
}

func (p *part) commit() error {
	if p.w == nil {
		return nil
	}
	w := p.w
	p.w = nil
	d, err := w.Commit()
	if err != nil {
		return fmt.Errorf("commit piece %d: %w", p.index, err)
	}
	p.f.progress.Gained(api.Piece{Index: p.index, SHA256: d[:]})
	return nil
}

func (p *part) abort() {
	if p.w != nil {
		p.w.Abort()
		p.w = nil
	}
}

// CloseWithError implements PartWriter. The piece that is open at the end of content of unknown length is its short last one.
func (p *part) CloseWithError(cause error) error {
	if cause != nil || p.task.Layout().Known() {
		p.abort()
		return cause
	}
	if err := p.f.end(p.task, p.pos); err != nil {
		p.abort()
		return err
	}
	return p.commit()
}
