package scenario

import (
	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/system"
)

// slow links: the center's, where the limit is what the origin needs for one copy, and that of one node in eight, whose own times don't count.
func slow() []lab.Scenario {
	return []lab.Scenario{
		{
			Name: "origin and seed at 1/4", System: system.Dragonfly, Nodes: 8, Sizes: []int64{24 * mib},
			Rate: rate(8), Center: rate(8) / 4, AtMost: 1.15,
		},
		{
			Name: "one node in 8 at 1/4", System: system.Dragonfly, Nodes: 8, Sizes: []int64{32 * mib},
			Rate: rate(8), SlowEvery: 8, SlowRate: rate(8) / 4, AtMost: 1.20,
		},
	}
}
