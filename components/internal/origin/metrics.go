package origin

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics carry no host label: hosts come from users' requests and redirects, and have no bound.
type metrics struct {
	requests *prometheus.CounterVec
	retries  *prometheus.CounterVec
	bytes    prometheus.Counter
	skipped  prometheus.Counter
	stalls   prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragonfly_origin_requests_total",
			Help: "Requests to origins and to the targets of their redirects, by class of the answer.",
		}, []string{"class"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragonfly_origin_retries_total",
			Help: "Failed tries after which the origin is asked again, by reason.",
		}, []string{"reason"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragonfly_origin_received_bytes_total",
			Help: "Bytes of bodies read from origins.",
		}),
		skipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragonfly_origin_skipped_bytes_total",
			Help: "Bytes read and thrown away to reach an offset, because the origin ignores ranges.",
		}),
		stalls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragonfly_origin_stalls_total",
			Help: "Bodies given up because no byte came within the stall timeout.",
		}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.retries, m.bytes, m.skipped, m.stalls} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("origin metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) request(resp *http.Response, err error) {
	class := "error"
	if err == nil {
		class = string('0'+rune(resp.StatusCode/100)) + "xx"
	}
	m.requests.WithLabelValues(class).Inc()
}

func (m *metrics) retry(err error) {
	reason := "connection"
	if _, ok := errors.AsType[*StatusError](err); ok {
		reason = "status"
	} else if errors.Is(err, errStalled) {
		reason = "stall"
	} else if errors.Is(err, errLie) {
		reason = "lie"
	}
	m.retries.WithLabelValues(reason).Inc()
}
