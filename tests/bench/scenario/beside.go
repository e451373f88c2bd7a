package scenario

import (
	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/system"
)

// baselines are other ways to pull that anyone can install, beside ours at the same size.
func baselines() []lab.Scenario {
	var all []lab.Scenario
	for _, s := range []string{system.Dragonfly, system.LibTorrent, system.Cache, system.Direct} {
		all = append(all, lab.Scenario{Name: "beside others", System: s, Nodes: 8, Sizes: []int64{8 * mib}, Rate: rate(8)})
	}
	return all
}
