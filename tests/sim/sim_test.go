// Package sim runs whole swarms in virtual time: the engine's own code over modelled links (components/sim).
package sim

import (
	"flag"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/sim"
)

var (
	peers   = flag.String("peers", "", "also run swarms of so many peers, separated by commas, and print how they went")
	mib     = flag.Int64("mib", 64, "their content, in MiB")
	mbit    = flag.Float64("mbit", 40, "their links, in Mbit/s")
	seed    = flag.Float64("seed", 1, "the supernode's link, in links")
	latency = flag.Duration("latency", 500*time.Microsecond, "the time of one way")
	fifo    = flag.Bool("fifo", false, "links have one queue for everything")
	spread  = flag.Duration("spread", 0, "the time over which peers start")
	slow    = flag.Int("slow", 0, "one peer in so many has a quarter of the rate; 0 means none")
)

// run is a swarm in a bubble of its own.
func run(t *testing.T, cfg sim.Config) (r *sim.Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		if r, err = sim.Run(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	})
	t.Log(r)
	return r
}

// maxSaid is the most that the supernode may say to a peer, in bytes: the digests of 256 pieces would be 11,000.
const maxSaid = 10_000

// check fails where a swarm was slower than ratio times the limit, or cost the seed more than so many copies, or a peer more than one.
func check(t *testing.T, r *sim.Result, ratio, copies float64) {
	t.Helper()
	if r.Last > ratio {
		t.Errorf("%d peers: the last finished at %.3f of the limit, want at most %.3f", r.Peers, r.Last, ratio)
	}
	if r.SeedCopies > copies {
		t.Errorf("%d peers: the seed sent %.3f copies, want at most %.2f", r.Peers, r.SeedCopies, copies)
	}
	if r.Duplicates > 0.01 {
		t.Errorf("%d peers: %.2f %% came twice, want at most 1", r.Peers, 100*r.Duplicates)
	}
	if r.BytesOut > maxSaid {
		t.Errorf("%d peers: the supernode said %.0f bytes to each, want at most %d", r.Peers, r.BytesOut, maxSaid)
	}
}

func TestSmallSwarmsFinishNearTheLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		peers int
		mib   int64
		ratio float64
	}{{1, 64, 1.02}, {4, 64, 1.05}, {16, 16, 1.12}} {
		t.Run(strconv.Itoa(tt.peers), func(t *testing.T) {
			t.Parallel()
			check(t, run(t, sim.Config{Peers: tt.peers, Size: tt.mib << 20}), tt.ratio, 1.02)
		})
	}
}

// TestPeers runs what -peers asks for; see `make sim`.
func TestPeers(t *testing.T) {
	for word := range strings.FieldsFuncSeq(*peers, func(r rune) bool { return r == ',' }) {
		t.Run(word, func(t *testing.T) {
			n, err := strconv.Atoi(word)
			if err != nil || n < 1 {
				t.Fatalf("-peers %q: want numbers of peers, separated by commas", *peers)
			}
			rate := *mbit * 1e6 / 8
			run(t, sim.Config{
				Peers: n, Size: *mib << 20, Rate: rate, SeedRate: *seed * rate, Latency: *latency, FIFO: *fifo, Spread: *spread,
				RateOf: func(i int) float64 {
					if *slow > 0 && i%*slow == 0 {
						return rate / 4
					}
					return rate
				},
			})
		})
	}
}
