package registry

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests  *prometheus.CounterVec
	bytes     *prometheus.CounterVec
	proofs    *prometheus.CounterVec
	fallbacks *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer, inFlight func() float64) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dragonfly_mirror_" + name, Help: help}, labels)
	}
	m := &metrics{
		requests:  counter("requests_total", "Answers of the mirror by kind of request and class of status.", "kind", "class"),
		bytes:     counter("sent_bytes_total", "Bytes sent to clients, by where the answer began: cache, swarm, origin.", "source"),
		proofs:    counter("access_total", "Requests for content by digest, by how access was decided.", "by"),
		fallbacks: counter("fallbacks_total", "Answers that had to go on from the origin, by when: start, body.", "when"),
	}
	if registerer == nil {
		return m, nil
	}
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dragonfly_mirror_requests", Help: "Requests of the mirror under way.",
	}, inFlight)
	for _, c := range []prometheus.Collector{m.requests, m.bytes, m.proofs, m.fallbacks, gauge} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("mirror metrics: %w", err)
		}
	}
	return m, nil
}

// recorder counts an answer. It keeps the ResponseWriter's own ReadFrom, so that sendfile still works.
type recorder struct {
	http.ResponseWriter
	metrics *metrics
	kind    kind
	conn    *http.ResponseController
	status  int
	sent    int64
}

const (
	// clientPatience is how long a client may take over one run of bytes. One that is frozen would otherwise keep its request for ever.
	clientPatience = 5 * time.Minute
	// maxRun is the longest run that is handed on at once, in bytes: what fits through even a slow disk of the client's in that time.
	maxRun = 16 << 20
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

func (m *metrics) begin(w http.ResponseWriter, k kind) *recorder {
	return &recorder{ResponseWriter: w, metrics: m, kind: k, conn: http.NewResponseController(w)}
}

func (r *recorder) end() {
	r.metrics.requests.WithLabelValues(r.kind.String(), strconv.Itoa(r.status/100)+"xx").Inc()
	source := r.Header().Get(headerSource)
	if source == "" {
		source = sourceOrigin
	}
	r.metrics.bytes.WithLabelValues(source).Add(float64(r.sent))
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.begin()
	n, err := r.ResponseWriter.Write(p)
	r.sent += int64(n)
	return n, err
}

// begin a run.
func (r *recorder) begin() {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	_ = r.conn.SetWriteDeadline(time.Now().Add(clientPatience)) // net/http takes it back at the end; other writers need none
}

// ReadFrom implements io.ReaderFrom: io.Copy asks the wrapped writer in turn.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	if l, ok := src.(*io.LimitedReader); !ok || l.N > maxRun {
		buf := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool has one type
		defer buffers.Put(buf)
		return io.CopyBuffer(struct{ io.Writer }{r}, src, *buf)
	}
	r.begin()
	n, err := io.Copy(r.ResponseWriter, src)
	r.sent += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
