package upload

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// handler serves a request for a task that exists and that the ticket opens.
type handler func(w http.ResponseWriter, r *http.Request, t store.Task)

// guard checks path and ticket and pins the task for the time of the request.
func (s *Server) guard(next handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("task")
		if !api.ValidTaskID(id) || r.PathValue("prefix") != id[:3] {
			s.refuse(w, http.StatusBadRequest, "bad_request", "the path is /download/{first 3 digits}/{task id of 64 hexadecimal digits}")
			return
		}
		if s.deps.Tickets != nil {
			if err := s.deps.Tickets.VerifyTicket(id, r.Header.Get(api.HeaderTicket)); err != nil {
				s.refuse(w, http.StatusUnauthorized, "ticket", err.Error())
				return
			}
		}
		t, err := s.deps.Store.Get(id)
		if err != nil {
			if !errors.Is(err, store.ErrNotFound) {
				s.deps.Log.Warn("opening a task to serve it failed", "task", id, "err", err)
			}
			s.refuse(w, http.StatusNotFound, "not_found", "this peer holds nothing of the task")
			return
		}
		defer t.Release()
		next(w, r, t)
	}
}

// refuse answers with a short text, which a child acts on at once, and counts it by reason.
func (s *Server) refuse(w http.ResponseWriter, status int, reason, text string) {
	s.metrics.refused.WithLabelValues(reason).Inc()
	http.Error(w, text, status)
}

// awaitTime is how long a child may wait for a task that this host has begun to download and knows nothing of
// yet; less than its patience with a silent stream.
const awaitTime = 1500 * time.Millisecond

// awaiting lets children that were told of us at once, as we registered, wait for the task instead of coming again and again.
func (s *Server) awaiting(next http.HandlerFunc) http.HandlerFunc {
	if s.deps.Downloads == nil {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), awaitTime)
		s.deps.Downloads.Await(ctx, r.PathValue("task"))
		cancel()
		next(w, r)
	}
}
