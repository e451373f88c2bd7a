package scenario

import (
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/system"
)

// arrivals are nodes that come one after the other; each has its own limit from its arrival on.
func arrivals() []lab.Scenario {
	return []lab.Scenario{{
		Name: "arriving over 10 s", System: system.Dragonfly, Nodes: 8, Sizes: []int64{32 * mib},
		Rate: rate(8), Over: 10 * time.Second, AtMost: 1.15,
	}}
}
