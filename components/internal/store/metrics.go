package store

import "github.com/prometheus/client_golang/prometheus"

// metrics of a Disk.
type metrics struct {
	evictions *prometheus.CounterVec
	corrupt   prometheus.Counter
	failures  *prometheus.CounterVec

	reg        prometheus.Registerer
	registered []prometheus.Collector
}

// newMetrics registers the metrics of a store whose use usage tells. A nil reg registers nothing.
func newMetrics(reg prometheus.Registerer, usage func() (int64, int)) (*metrics, error) {
	m := &metrics{
		reg: reg,
		evictions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragonfly_store_evictions_total", Help: "Tasks evicted, by what ran short: quota, free_space or disk (no space left).",
		}, []string{"reason"}),
		corrupt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragonfly_store_corrupt_pieces_total", Help: "Pieces dropped because their bytes on disk did not match their digest or could not be read.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragonfly_store_write_failures_total", Help: "Writes of pieces or tasks that failed, by what ran short: quota, free_space or disk.",
		}, []string{"reason"}),
	}
	bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dragonfly_store_bytes", Help: "Disk space taken by pieces.",
	}, func() float64 { n, _ := usage(); return float64(n) })
	tasks := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dragonfly_store_tasks", Help: "Tasks of which pieces are on disk.",
	}, func() float64 { _, n := usage(); return float64(n) })
	all := []prometheus.Collector{m.evictions, m.corrupt, m.failures, bytes, tasks}
	for _, r := range []shortage{byQuota, byFreeSpace, byDisk} {
		m.evictions.WithLabelValues(string(r))
		m.failures.WithLabelValues(string(r))
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			m.unregister()
			return nil, err
		}
		m.registered = append(m.registered, c)
	}
	return m, nil
}

// unregister lets another store of the process register.
func (m *metrics) unregister() {
	for _, c := range m.registered {
		m.reg.Unregister(c)
	}
}
