//go:build heavy

package sim

import (
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/sim"
)

func TestSixtyFourPeersFinishNearTheLimit(t *testing.T) {
	check(t, run(t, sim.Config{Peers: 64}), 1.07) // runs differ by 0.02
}

func TestAThousandPeersFinishNearTheLimit(t *testing.T) {
	check(t, run(t, sim.Config{Peers: 1000, Size: 256 << 20}), 1.06)
}
