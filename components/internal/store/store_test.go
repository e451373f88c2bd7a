package store_test

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/store/storetest"
)

func TestMemoryConforms(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Store { return store.NewMemory() })
}

func TestDiskConforms(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		t.Helper()
		return openDisk(t, t.TempDir(), store.DiskConfig{})
	})
}

var discard = slog.New(slog.DiscardHandler)

func openDisk(t *testing.T, dir string, cfg store.DiskConfig) *store.Disk {
	t.Helper()
	d, err := store.OpenDisk(dir, cfg, discard, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// metric is the sum of a metric over its labels.
func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		var sum float64
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		return sum
	}
	t.Fatalf("no metric %s", name)
	return 0
}
