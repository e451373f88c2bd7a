package upload

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	bytes    prometheus.Counter
	requests prometheus.Counter
	refused  *prometheus.CounterVec
	streams  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragonfly_upload_bytes_total", Help: "Bytes of pieces sent to other peers.",
		}),
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragonfly_upload_requests_total", Help: "Piece requests answered in full.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragonfly_upload_refused_total", Help: "Piece requests refused, by reason.",
		}, []string{"reason"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dragonfly_upload_streams", Help: "Availability streams open to children.",
		}),
	}
	reg.MustRegister(m.bytes, m.requests, m.refused, m.streams)
	return m
}
