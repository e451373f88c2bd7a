package seed

import (
	"context"
	"fmt"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// Check asks the origin whether content that no digest names is still what meta says. nil means yes; ErrInvalid that it changed, or that
// nothing tells; *Refused that the origin does not give it to this request. Any other error says nothing about the content.
func (s *Seed) Check(ctx context.Context, req Request, meta api.Meta) error {
	etag, modified := meta.Header["Etag"], meta.Header["Last-Modified"]
	if etag == "" && modified == "" {
		return fmt.Errorf("%w: the origin gave neither ETag nor Last-Modified to compare", ErrInvalid)
	}
	info, unchanged, err := s.Origin.Probe(ctx, req, etag, modified)
	if err != nil || unchanged {
		return err
	}
	if meta.Length >= 0 && info.Length >= 0 && info.Length != meta.Length {
		return fmt.Errorf("%w: the length was %d and is %d", ErrInvalid, meta.Length, info.Length)
	}
	if etag != "" {
		return same("ETag", etag, info.Header.Get("Etag"))
	}
	return same("Last-Modified", modified, info.Header.Get("Last-Modified"))
}

func same(what, was, now string) error {
	if was == now {
		return nil
	}
	return fmt.Errorf("%w: %s was %q and is %q", ErrInvalid, what, was, now)
}

// Discard forgets a task, also in the store.
func (s *Seed) Discard(id string) {
	s.Close(id)
	if err := s.Store.Remove(id); err != nil {
		s.Log.Warn("removing old or invalid content failed", "task", id, "err", err)
	}
}
