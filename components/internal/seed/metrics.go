package seed

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	fetches *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragonfly_seed_fetches_total",
			Help: "Fetches from an origin, by how they ended: ok, refused, invalid, stopped, failed.",
		}, []string{"outcome"}),
	}
	reg.MustRegister(m.fetches)
	return m
}

func outcome(err error) string {
	var refused *Refused
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &refused):
		return "refused"
	case errors.Is(err, ErrInvalid):
		return "invalid"
	case errors.Is(err, context.Canceled):
		return "stopped"
	default:
		return "failed"
	}
}
