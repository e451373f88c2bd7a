package scenario

import (
	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/network"
	"github.com/dragonfly-kube/dragonfly/tests/bench/system"
)

// rate for a number of nodes at which two processors are not the limit: all nodes run on one machine, together with the network. What
// they receive in all is at most 240 Mbit/s.
func rate(nodes int) network.Rate {
	switch {
	case nodes <= 4:
		return 40 * network.Mbit
	case nodes <= 8:
		return 30 * network.Mbit
	case nodes <= 16:
		return 10 * network.Mbit
	case nodes <= 32:
		return 5 * network.Mbit
	default:
		return 3 * network.Mbit
	}
}

// most that 64 nodes pull: all their stores are in memory.
const most = 128 * mib

// equal links everywhere: the case that the limit is about.
func equal(size int64, nodes ...int) []lab.Scenario {
	var all []lab.Scenario
	for _, n := range nodes {
		bytes := size
		if n == 64 {
			bytes = min(size, most)
		}
		all = append(all, lab.Scenario{
			Name: "equal links", System: system.Dragonfly, Nodes: n, Sizes: []int64{bytes}, Rate: rate(n), AtMost: 1.10,
		})
	}
	return all
}

// single is one node that nobody can help.
func single() []lab.Scenario {
	return []lab.Scenario{{
		Name: "one node, cold", System: system.Dragonfly, Nodes: 1, Sizes: []int64{64 * mib}, Rate: 100 * network.Mbit, AtMost: 1.05,
	}}
}
