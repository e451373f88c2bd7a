package lab

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/network"
)

func TestMedians(t *testing.T) {
	t.Parallel()
	for want, values := range map[float64][]float64{1: {1}, 2: {3, 1, 2}, 3: {9, 3, 1, 4}} {
		if got := Median(values); got != want {
			t.Errorf("Median(%v) = %v, want %v", values, got, want)
		}
	}
}

func TestTheMedianRunIsTheOneInTheMiddleByItsLastNode(t *testing.T) {
	t.Parallel()
	run := func(limit, last time.Duration) Result {
		return Result{Limit: limit, Times: []time.Duration{last, last / 2}}
	}
	runs := []Result{run(10, 15), run(10, 11), run(20, 24)}
	if got := MedianRun(runs).Ratio(); got != 1.2 {
		t.Errorf("the median run has the ratio %v, want 1.2 of 1.5, 1.1, 1.2", got)
	}
	r := Result{Limit: 2 * time.Second, Times: []time.Duration{3 * time.Second, time.Second, 2 * time.Second}}
	if r.First() != time.Second || r.Median() != 2*time.Second || r.Last() != 3*time.Second || r.Ratio() != 1.5 {
		t.Errorf("first %v, median %v, last %v, ratio %v; want 1s, 2s, 3s, 1.5", r.First(), r.Median(), r.Last(), r.Ratio())
	}
}

func TestHostsHaveTheirRates(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		s    Scenario
		want []network.Rate // origin, center, probe, nodes
	}{
		"equal links":       {Scenario{Nodes: 2, Rate: 4}, []network.Rate{4, 4, 4, 4, 4}},
		"a slow center":     {Scenario{Nodes: 1, Rate: 4, Center: 1}, []network.Rate{1, 1, 4, 4}},
		"every second slow": {Scenario{Nodes: 4, Rate: 4, SlowEvery: 2, SlowRate: 1}, []network.Rate{4, 4, 4, 4, 1, 4, 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hosts := tt.s.hosts()
			if len(hosts) != len(tt.want) {
				t.Fatalf("%d hosts, want %d", len(hosts), len(tt.want))
			}
			for i, h := range hosts {
				if h.Rate != tt.want[i] {
					t.Errorf("host %s has %v, want %v", h.Name, h.Rate, tt.want[i])
				}
			}
		})
	}
}

func TestARunThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	l := New("", t.TempDir(), "", io.Discard)
	if err := l.room(Scenario{Nodes: 1, Sizes: []int64{1}}); err != nil {
		t.Errorf("4 bytes: %v", err)
	}
	_, err := l.Run(t.Context(), Scenario{Name: "vast", Nodes: 1000, Sizes: []int64{1 << 50}}, 1)
	if err == nil || !strings.Contains(err.Error(), "vast, 1000 nodes: 1076963049472 MiB are needed") {
		t.Errorf("an exbibyte: %v, want an error with what is needed", err)
	}
}
