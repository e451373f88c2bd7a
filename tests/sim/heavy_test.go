//go:build heavy

package sim

import (
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/sim"
)

func TestSixtyFourPeersFinishNearTheLimit(t *testing.T) {
	check(t, run(t, sim.Config{Peers: 64}), 1.10)
}
