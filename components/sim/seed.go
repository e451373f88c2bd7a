package sim

import (
	"context"
	"errors"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/swarm"
	"github.com/dragonfly-kube/dragonfly/components/internal/upload"
)

// supply is the supernode's seed: it has the content from the start, or gets it from an origin at a rate.
type supply struct {
	store *marks
	meta  api.Meta
	rate  float64 // of the origin, bytes a second; 0 means that the content is there
}

func pieceOf(i int) api.Piece {
	d := digestOf(i)
	return api.Piece{Index: i, SHA256: d[:]}
}

// Open implements swarm.Seed.
func (s *supply) Open(id string) seed.Holding {
	if s.rate > 0 {
		return seed.Holding{}
	}
	h := seed.Holding{Meta: s.meta, Complete: true}
	_, _ = s.store.Create(id, s.meta)
	for i := range (piece.Layout{Length: s.meta.Length, Size: s.meta.PieceSize}).Count() {
		s.store.gain(i)
		h.Pieces = append(h.Pieces, pieceOf(i))
	}
	return h
}

// Fetch implements swarm.Seed.
func (s *supply) Fetch(ctx context.Context, job seed.Job, progress seed.Progress) error {
	_, _ = s.store.Create(job.Task, s.meta)
	progress.Meta(s.meta)
	start := time.Now()
	l := s.store.Layout()
	for i := range l.Count() {
		off, n := l.Range(i)
		due := time.Duration(float64(off+n) / s.rate * 1e9)
		if err := wait(ctx, due-time.Since(start)); err != nil {
			return err
		}
		s.store.gain(i)
		progress.Gained(pieceOf(i))
	}
	return nil
}

// Content implements swarm.Seed.
func (s *supply) Content(string, int64) ([]byte, error) { return nil, nil }

// Check implements swarm.Seed.
func (s *supply) Check(context.Context, seed.Request, api.Meta) error { return nil }

// Close implements swarm.Seed.
func (s *supply) Close(string) {}

// Discard implements swarm.Seed.
func (s *supply) Discard(string) {}

// noSecret implements swarm.Keys and swarm.Manifests where there is nothing to sign and nobody to ask.
type noSecret struct{}

// Ticket implements swarm.Keys.
func (noSecret) Ticket(string, time.Duration) (string, time.Time) { return "", time.Time{} }

// Manifest implements swarm.Manifests.
func (noSecret) Manifest(context.Context, api.Host, string, string) (api.TaskManifest, error) {
	return api.TaskManifest{}, errors.New("nobody is asked here")
}

// picker gives the piece server what it needs of the swarm, as the supernode does.
type picker struct{ s *swarmNet }

// Pick implements upload.Picker.
func (p picker) Pick(ctx context.Context, task string, limit int64) (off, n int64, err error) {
	off, n, err = p.s.swarm.Pick(ctx, task, limit)
	switch {
	case errors.Is(err, swarm.ErrNothingFresh):
		return 0, 0, upload.ErrNothingFresh
	case errors.Is(err, swarm.ErrUnknownTask):
		return 0, 0, store.ErrNotFound
	}
	return off, n, err
}

// Return implements upload.Picker.
func (p picker) Return(task string, off, n int64) { p.s.swarm.Return(task, off, n) }
