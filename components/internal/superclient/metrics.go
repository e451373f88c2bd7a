package superclient

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ lost prometheus.Counter }

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{lost: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dragonfly_supernode_lost_total", Help: "Times a supernode that lived stopped answering this peer.",
	})}
	reg.MustRegister(m.lost)
	return m
}
