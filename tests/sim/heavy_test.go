//go:build heavy

package sim

import (
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/sim"
)

func TestSixtyFourPeersFinishNearTheLimit(t *testing.T) {
	// Half of what is above 1.04 is the digests on the supernode's link, see docs/scale.md. Runs differ by 0.02.
	check(t, run(t, sim.Config{Peers: 64}), 1.12)
}
