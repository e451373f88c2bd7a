package transfer

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	bytes      *prometheus.CounterVec
	duplicates prometheus.Counter
	started    prometheus.Counter
	ended      *prometheus.CounterVec
	wrong      prometheus.Counter
	fallbacks  *prometheus.CounterVec
}

// Label values of metrics.bytes.
const (
	fromSeed   = "seed"
	fromPeers  = "peers"
	fromOrigin = "origin"
)

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragonfly_transfer_bytes_total", Help: "Bytes of verified content received, by where they came from.",
		}, []string{"from"}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragonfly_transfer_duplicate_bytes_total", Help: "Bytes received that were held already.",
		}),
		started: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragonfly_transfer_started_total", Help: "Downloads started.",
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragonfly_transfer_ended_total", Help: "Downloads ended, by result: complete, abandoned or failed.",
		}, []string{"result"}),
		wrong: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragonfly_transfer_wrong_pieces_total", Help: "Pieces received that did not match their digest.",
		}),
		fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragonfly_transfer_fallbacks_total", Help: "Times a download went to the origin itself, by reason.",
		}, []string{"reason"}),
	}
	for _, from := range []string{fromSeed, fromPeers, fromOrigin} {
		m.bytes.WithLabelValues(from)
	}
	reg.MustRegister(m.bytes, m.duplicates, m.started, m.ended, m.wrong, m.fallbacks)
	return m
}
