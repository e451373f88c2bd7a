package upload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// span is a run of bytes of a task.
type span struct{ off, n int64 }

// serveContent answers a request for a range of held bytes, or for a pick.
func (s *Server) serveContent(w http.ResponseWriter, r *http.Request, t store.Task) {
	if r.URL.Query().Has("pick") {
		s.servePick(w, r, t)
		return
	}
	want, err := parseRange(r.Header.Get("Range"), t.Layout().Length)
	if err != nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%s", total(t)))
		s.refuse(w, http.StatusRequestedRangeNotSatisfiable, "range", err.Error())
		return
	}
	if !holds(t, want) {
		s.refuse(w, http.StatusNotFound, "not_held", "this peer does not hold all of that range")
		return
	}
	turn, err := s.gate.enter(r.Context(), t.ID(), s.streams.find(t.ID(), r.Header.Get(api.HeaderPeer)))
	if err != nil {
		w.Header().Set("Retry-After", "1")
		s.refuse(w, http.StatusServiceUnavailable, "full", "all upload slots are taken; the availability stream tells when one frees")
		return
	}
	defer turn.leave()
	if err := s.send(w, r, t, want); err != nil {
		s.deps.Log.Debug("sending a range ended early", "task", t.ID(), "off", want.off, "n", want.n, "err", err)
	}
}

// servePick lets the seed choose what to send.
func (s *Server) servePick(w http.ResponseWriter, r *http.Request, t store.Task) {
	limit, err := strconv.ParseInt(r.URL.Query().Get("max"), 10, 64)
	if err != nil || limit <= 0 {
		s.refuse(w, http.StatusBadRequest, "bad_request", "max is a positive number of bytes")
		return
	}
	if s.deps.Picker == nil {
		s.refuse(w, http.StatusNotFound, "no_seed", "only a seed answers picks")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.PickWait)
	defer cancel()
	turn, err := s.picks.enter(ctx, t.ID(), nil)
	if err != nil {
		s.nothing(w, api.PickAgain)
		return
	}
	defer turn.leave()
	off, n, err := s.pick(ctx, turn, t.ID(), limit)
	switch {
	case errors.Is(err, ErrNothingFresh):
		s.nothing(w, api.PickOver)
		return
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		s.nothing(w, api.PickAgain)
		return
	case err != nil:
		s.refuse(w, http.StatusNotFound, "not_found", "the seed no longer has the task")
		return
	}
	if err := s.send(w, r, t, span{off, n}); err != nil {
		s.deps.Picker.Return(t.ID(), off, n)
		s.deps.Log.Debug("sending a pick ended early", "task", t.ID(), "off", off, "n", n, "err", err)
	}
}

// pick lets the seed choose. While it has nothing fresh of the task, another task's request has the slot.
func (s *Server) pick(ctx context.Context, turn *turn, task string, limit int64) (off, n int64, err error) {
	now, end := context.WithCancel(ctx)
	end()
	off, n, err = s.deps.Picker.Pick(now, task, limit)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		turn.await(func() { off, n, err = s.deps.Picker.Pick(ctx, task, limit) })
	}
	return off, n, err
}

func (s *Server) nothing(w http.ResponseWriter, why string) {
	w.Header().Set(api.HeaderPick, why)
	w.WriteHeader(http.StatusNoContent)
}

// send writes the answer for held bytes, stride by stride, so that deadline and rate limit follow a long run.
func (s *Server) send(w http.ResponseWriter, r *http.Request, t store.Task, want span) error {
	rd, err := t.Reader()
	if err != nil {
		s.refuse(w, http.StatusNotFound, "not_held", "this peer can't read the task")
		return fmt.Errorf("open task for reading: %w", err)
	}
	defer rd.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(want.n, 10))
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", want.off, want.off+want.n-1, total(t)))
	if proofs := s.proofs(t, want); proofs != "" {
		h.Set(api.HeaderProof, proofs)
	}
	ctl := http.NewResponseController(w)
	w.WriteHeader(http.StatusPartialContent)
	began, all, stride := time.Now(), want.n, strideOf(r.Context())
	for want.n > 0 {
		n := min(want.n, int64(*stride))
		if s.limiter != nil {
			n = min(n, int64(s.limiter.Burst()))
			if err := s.limiter.WaitN(r.Context(), int(n)); err != nil {
				return fmt.Errorf("wait for the rate limit: %w", err)
			}
		}
		start := time.Now()
		// A writer without deadlines (a test's recorder) can't stall either.
		_ = ctl.SetWriteDeadline(start.Add(s.cfg.WriteStall))
		sent, err := rd.Send(w, want.off, n)
		s.metrics.bytes.Add(float64(sent))
		s.sent.Add(sent)
		if err != nil {
			// net/http closes a connection whose body is short, which tells the child that this one is not whole.
			return err
		}
		stride.sent(n, time.Since(start))
		want.off += n
		want.n -= n
	}
	tunedConn(r.Context()).sent(all, time.Since(began))
	_ = ctl.SetWriteDeadline(time.Time{})
	s.metrics.requests.Inc()
	return nil
}

// holds reports whether every piece of the range is there.
func holds(t store.Task, want span) bool {
	l := t.Layout()
	for i := l.At(want.off); i <= l.At(want.off+want.n-1); i++ {
		if !t.Has(i) {
			return false
		}
	}
	return true
}

// total is the length for Content-Range (RFC 9110, section 14.4).
func total(t store.Task) string {
	if l := t.Layout(); l.Known() {
		return strconv.FormatInt(l.Length, 10)
	}
	return "*"
}

var errRange = errors.New("one range bytes=first-last within the content is served")

// parseRange reads the single closed range that children ask for (RFC 9110, section 14.1.2). An absent one means the whole content.
func parseRange(h string, length int64) (span, error) {
	if h == "" && length > 0 {
		return span{0, length}, nil
	}
	spec, ok := strings.CutPrefix(h, "bytes=")
	lo, hi, dash := strings.Cut(spec, "-")
	if !ok || !dash {
		return span{}, errRange
	}
	first, err1 := strconv.ParseUint(lo, 10, 62)
	last, err2 := strconv.ParseUint(hi, 10, 62)
	if err1 != nil || err2 != nil || last < first {
		return span{}, errRange
	}
	if length >= 0 && int64(last) >= length {
		return span{}, errRange
	}
	return span{int64(first), int64(last-first) + 1}, nil
}
