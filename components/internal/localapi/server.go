package localapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

const (
	maxRequest = 256 << 10 // bytes of a FetchRequest: a URL and some headers, tokens among them
	maxFetches = 256       // at once; each holds a goroutine and a file descriptor
	// writeStall is how long a client may take nothing. A dfget that somebody stopped for longer resumes.
	writeStall = 5 * time.Minute
)

// Handler serves api.PathFetch, api.SharesPath and api.PathStatus. Whoever reaches it reads with this host's rights, so it belongs on a
// socket with file permissions only.
func Handler(f Fetcher, status func() api.DaemonStatus, log *slog.Logger) http.Handler {
	s := &server{fetcher: f, log: log, running: map[string]*Content{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathFetch, s.fetch)
	mux.HandleFunc("GET "+api.SharesPath("{fetch}"), s.shares)
	mux.HandleFunc("GET "+api.PathStatus, func(w http.ResponseWriter, _ *http.Request) { s.answer(w, http.StatusOK, status()) })
	return mux
}

type server struct {
	fetcher Fetcher
	log     *slog.Logger

	mu      sync.Mutex // guards the fields below
	running map[string]*Content
	places  int // taken, at most maxFetches
	last    uint64
}

func (s *server) fetch(w http.ResponseWriter, r *http.Request) {
	var req api.FetchRequest
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	body.DisallowUnknownFields()
	if err := body.Decode(&req); err != nil {
		s.refuse(w, &api.Error{Code: api.CodeBadRequest, Message: fmt.Sprintf("fetch request: %v", err)})
		return
	}
	if !s.enter() {
		s.refuse(w, &api.Error{Code: api.CodeOverloaded, Message: fmt.Sprintf("%d fetches run at once already", maxFetches)})
		return
	}
	defer s.leave()
	content, err := s.fetcher.Fetch(r.Context(), req)
	if err != nil {
		s.refuse(w, err)
		return
	}
	defer content.Body.Close()
	id := s.register(content)
	defer s.unregister(id)
	s.send(w, content, id)
}

// send streams the content and tells in trailers how it ended.
func (s *server) send(w http.ResponseWriter, content *Content, id string) {
	h := w.Header()
	for k, v := range content.Header {
		h.Set(k, v)
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	h.Set(api.HeaderTask, content.Task)
	h.Set(api.HeaderFetch, id)
	if content.Length >= 0 {
		h.Set(api.HeaderLength, strconv.FormatInt(content.Length, 10))
	}
	h.Set("Trailer", api.HeaderShares+", "+api.HeaderError)
	w.WriteHeader(http.StatusOK)
	out := &steadyWriter{w: w, control: http.NewResponseController(w)}
	_ = out.control.Flush() // the client learns length and headers before the first byte is there
	if _, err := io.Copy(out, content.Body); err != nil {
		if out.failed {
			s.log.Debug("the client of a fetch went away", "task", content.Task, "err", err)
			return
		}
		s.log.Warn("a fetch ended early", "task", content.Task, "err", err)
		h.Set(api.HeaderError, asJSON(wireError(err)))
	}
	h.Set(api.HeaderShares, asJSON(content.Shares()))
}

func (s *server) shares(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	content := s.running[r.PathValue("fetch")]
	s.mu.Unlock()
	if content == nil {
		s.refuse(w, &api.Error{Code: api.CodeNotFound, Message: "no such fetch runs"})
		return
	}
	s.answer(w, http.StatusOK, content.Shares())
}

func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places >= maxFetches {
		return false
	}
	s.places++
	return true
}

func (s *server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places--
}

func (s *server) register(content *Content) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	id = strconv.FormatUint(s.last, 10)
	s.running[id] = content
	return id
}

func (s *server) unregister(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, id)
}

// statuses of errors before the first byte.
var statuses = map[string]int{
	api.CodeBadRequest:   http.StatusBadRequest,
	api.CodeUnauthorized: http.StatusForbidden,
	api.CodeNotFound:     http.StatusNotFound,
	api.CodeOverloaded:   http.StatusServiceUnavailable,
	api.CodeOrigin:       http.StatusBadGateway,
	api.CodeInvalid:      http.StatusBadGateway,
}

func (s *server) refuse(w http.ResponseWriter, err error) {
	e := wireError(err)
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusInternalServerError
		s.log.Error("a local request failed", "err", err)
	}
	s.answer(w, status, api.ErrorBody{Error: *e})
}

func (s *server) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("a local client went away", "err", err)
	}
}

// wireError finds what is told of an error; what nobody classified is told without its text.
func wireError(err error) *api.Error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	return &api.Error{Code: api.CodeInternal, Message: "dfdaemon failed; its log says why"}
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "{}" // neither of our two types can fail
	}
	return string(b)
}

// steadyWriter gives each write its own time, and tells errors of the client from those of the content.
type steadyWriter struct {
	w       io.Writer
	control *http.ResponseController
	failed  bool
}

func (s *steadyWriter) Write(b []byte) (int, error) {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeStall)) // a test's recorder has no deadlines
	n, err := s.w.Write(b)
	s.failed = s.failed || err != nil
	return n, err
}
