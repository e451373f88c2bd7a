//go:build heavy

package sim

import (
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/sim"
)

func TestSixtyFourPeersFinishNearTheLimit(t *testing.T) {
	check(t, run(t, sim.Config{Peers: 64}), 1.06, 1.02) // runs differ by 0.02
}

func TestTwoHundredAndFiftySixPeersFinishNearTheLimit(t *testing.T) {
	check(t, run(t, sim.Config{Peers: 256}), 1.09, 1.05) // runs differ by 0.02
}

// What the supernode sends last goes through the most hands here.
func TestAThousandPeersFinishNearTheLimit(t *testing.T) {
	check(t, run(t, sim.Config{Peers: 1000, Size: 256 << 20}), 1.06, 1.05) // runs differ by 0.01
}

// Pieces of 256 KiB: an answer does not fit on its way at once.
func TestSixteenPeersWithLargePiecesFinishNearTheLimit(t *testing.T) {
	check(t, run(t, sim.Config{Peers: 16, Size: 256 << 20}), 1.09, 1.02) // runs differ by 0.03
}
