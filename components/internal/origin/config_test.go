package origin

import (
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the zero config: got %v, want it good", err)
	}
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	one := func(r Registry) map[string]Registry { return map[string]Registry{"r": r} }
	for _, row := range []struct {
		cfg  Config
		want string
	}{
		{Config{Parallel: -1}, "parallel is -1"},
		{Config{FirstPart: -1}, "first part is -1"},
		{Config{MinPart: 1}, "least part is 1 bytes"},
		{Config{FirstPart: 3, MinPart: 7}, "least part is 7 bytes"},
		{Config{MaxParts: -1}, "max parts is -1"},
		{Config{StallTimeout: -1}, "timeouts"},
		{Config{RateLimit: -1}, "rate limit is -1"},
		{Config{MaxConnsPerHost: -1}, "connections per host is -1"},
		{Config{Registries: map[string]Registry{"https://r": {}}}, `"https://r" is no host`},
		{Config{Registries: map[string]Registry{"": {}}}, `"" is no host`},
		{Config{Registries: one(Registry{ClientKey: "k"})}, "belong together"},
		{Config{CAFile: "/nonexistent/ca"}, "certificate authority: open"},
		{Config{Registries: one(Registry{CAFile: junk})}, "registry r: certificate authority: no certificate in"},
		{Config{Registries: one(Registry{ClientCert: junk, ClientKey: junk})}, "registry r: client certificate"},
	} {
		if _, err := New(row.cfg, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: got %v, want %q", row.cfg, err, row.want)
		}
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &server{data: bytesOf(1 << 20)}
		cfg := small
		cfg.RateLimit = 128 << 10
		c, _ := newClient(t, cfg, map[string]http.Handler{"o": o})
		s := &sink{t: t}
		begin := time.Now()
		if err := c.Fetch(t.Context(), Request{URL: "http://o/x"}, nil, s); err != nil {
			t.Fatal(err)
		}
		s.check(o.data, nil)
		// 1 MiB less the burst of 64 KiB, however many parts are under way.
		if took := time.Since(begin); took < 7500*time.Millisecond-time.Millisecond || took > 8*time.Second {
			t.Errorf("1 MiB at 128 KiB/s took %v, want about 7.5s", took)
		}
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		o := &server{data: bytesOf(100_000), plain: true}
		o.do = func(i int, w http.ResponseWriter, r *http.Request) bool {
			switch i {
			case 0:
				return answerWith(503)(w, r)
			case 1:
				return o.stallAt(30_000, w, r)
			case 2:
				panic(http.ErrAbortHandler)
			case 3:
				return claim("nonsense", -1, 0)(w, r)
			}
			return false
		}
		c, _ := newClient(t, small, map[string]http.Handler{"o": o})
		m, err := newMetrics(registry)
		if err != nil {
			t.Fatal(err)
		}
		c.metrics = m
		c.cfg.Retries = 10
		if err := c.Fetch(t.Context(), Request{URL: "http://o/x"}, nil, &sink{t: t}); err != nil {
			t.Fatal(err)
		}
		want := map[string]float64{
			"requests_total 2xx": 3, "requests_total 5xx": 1, "requests_total error": 1,
			"retries_total connection": 1, "retries_total lie": 1, "retries_total stall": 1, "retries_total status": 1,
			"received_bytes_total": 130_000, "skipped_bytes_total": 30_000, "stalls_total": 1,
		}
		if got := gather(t, registry); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if _, err := newMetrics(registry); err == nil {
			t.Error("registered twice: got no error")
		}
	})
}

// gather reads counters by name without prefix, and label.
func gather(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "dragonfly_origin_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	return got
}
