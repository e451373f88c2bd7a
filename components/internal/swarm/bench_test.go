package swarm

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

// crowd is a task of 1,024 pieces with 10,000 peers, each with a host that beats and an event stream, and half of the pieces.
func crowd(b *testing.B) (*Swarm, *api.RegisterRequest) {
	b.Helper()
	meta := api.Meta{Length: 1024 * 64 << 10, PieceSize: 64 << 10}
	held := seed.Holding{Meta: meta, Complete: true}
	for i := range 1024 {
		held.Pieces = append(held.Pieces, digestOf(i))
	}
	s := New(Config{}, Deps{
		Seed: &fakeSeed{holding: map[string]seed.Holding{taskID: held}}, Manifests: &fakeManifests{}, Keys: fakeKeys{},
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	b.Cleanup(s.Close)
	return s, request("extra")
}

const crowdSize = 10_000

func (s *Swarm) admitCrowd(b *testing.B) {
	b.Helper()
	for i := range crowdSize {
		r := request(fmt.Sprint("p", i))
		r.Host.Zone = fmt.Sprint("zone-", i%3)
		if _, err := s.Heartbeat(&api.Heartbeat{Host: r.Host}); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Register(b.Context(), taskID, r, "192.0.2.1:8002"); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Open(taskID, r.Peer, 1024, false); err != nil {
			b.Fatal(err)
		}
		if err := s.Report(taskID, r.Peer, &api.Report{Have: "0-511"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRegister is one registration, with the leave that makes room for the next, in a swarm of 10,000. It tells the median and the
// 99th percentile beside the mean.
func BenchmarkRegister(b *testing.B) {
	s, extra := crowd(b)
	s.admitCrowd(b)
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		u, err := s.Register(b.Context(), taskID, extra, "192.0.2.1:8002")
		took = append(took, time.Since(start))
		if err != nil || len(u.Parents) < 9 {
			b.Fatalf("%d parents, %v", len(u.Parents), err)
		}
		if err := s.Report(taskID, extra.Peer, &api.Report{Left: true}); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}

// BenchmarkReport is one report of a tenth of a second's pieces, in a swarm of 10,000.
func BenchmarkReport(b *testing.B) {
	s, _ := crowd(b)
	s.admitCrowd(b)
	i := 0
	for b.Loop() {
		r := api.Report{Have: fmt.Sprintf("0-511,%d-%d,700,702,704,706", 600+i%50, 650+i%50), FromPeers: 10 << 20}
		if err := s.Report(taskID, fmt.Sprint("p", i%crowdSize), &r); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkIdlePeer is the memory of a peer, its host and its event stream, without the connection. It ignores time.
func BenchmarkIdlePeer(b *testing.B) {
	for b.Loop() {
		s, _ := crowd(b)
		before := heap()
		s.admitCrowd(b)
		b.ReportMetric(float64(heap()-before)/crowdSize, "B/peer")
		runtime.KeepAlive(s)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
