// Package scrape reads metrics as Prometheus does, and the status of a dfdaemon.
package scrape

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// Metrics are those of one process at one moment.
type Metrics map[string]*dto.MetricFamily

// Get asks "host:port".
func Get(ctx context.Context, addr string) (Metrics, error) {
	text, err := Text(ctx, addr)
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read the metrics of %s: %w", addr, err)
	}
	return families, nil
}

// Text is what "host:port" says.
func Text(ctx context.Context, addr string) ([]byte, error) { return get(ctx, addr, api.PathMetrics) }

// Status is what a dfdaemon at "host:port" says of itself.
func Status(ctx context.Context, addr string) (s api.DaemonStatus, err error) {
	text, err := get(ctx, addr, api.PathStatus)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read the status of %s: %w", addr, err)
	}
	return s, nil
}

func get(ctx context.Context, addr, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return nil, err
	}
	// A client of its own: no connection outlives the call, and no proxy of the environment stands before the node.
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s: %w", addr, path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask %s for %s: %s", addr, path, resp.Status)
	}
	const most = 16 << 20
	text, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s: %w", addr, path, err)
	}
	return text, nil
}

// Sum adds up the counters and gauges of a name that have the labels.
func (m Metrics) Sum(name string, labels map[string]string) float64 {
	var sum float64
	for _, metric := range m[name].GetMetric() {
		if matches(metric, labels) {
			sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	return sum
}

func matches(m *dto.Metric, labels map[string]string) bool {
	found := 0
	for _, l := range m.GetLabel() {
		if want, ok := labels[l.GetName()]; ok && want == l.GetValue() {
			found++
		}
	}
	return found == len(labels)
}
