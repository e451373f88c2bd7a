package swarm

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	registrations prometheus.Counter
	elections     prometheus.Counter
	peers         prometheus.Gauge
	streams       prometheus.Gauge
	bytes         *prometheus.CounterVec
	complaints    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, s *Swarm) *metrics {
	m := &metrics{
		registrations: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragonfly_swarm_registrations_total", Help: "Registrations of peers.",
		}),
		elections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragonfly_swarm_elections_total", Help: "Peers elected to read an origin for their swarm.",
		}),
		peers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dragonfly_swarm_peers_count", Help: "Peers in memory, over all tasks.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dragonfly_swarm_streams_count", Help: "Event streams that are open.",
		}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragonfly_swarm_received_bytes_total", Help: "Bytes that peers report as received, by source: seed, peers, origin.",
		}, []string{"source"}),
		complaints: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragonfly_swarm_complaints_total", Help: "Complaints of peers about their parents, by reason: digest, slow, unreachable.",
		}, []string{"reason"}),
	}
	tasks := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dragonfly_swarm_tasks_count", Help: "Tasks in memory.",
	}, func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(len(s.tasks))
	})
	hosts := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dragonfly_swarm_hosts_count", Help: "Hosts heard of lately.",
	}, func() float64 { return float64(s.hosts.count()) })
	reg.MustRegister(m.registrations, m.elections, m.peers, m.streams, m.bytes, m.complaints, tasks, hosts)
	return m
}
