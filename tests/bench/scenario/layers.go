package scenario

import (
	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/system"
)

// layers are an image of 20 layers, as uneven as those of real images, all pulled at once.
func layers() []lab.Scenario {
	const kib = 1 << 10
	sizes := []int64{20 * mib, 12 * mib, 8 * mib, 6 * mib, 4 * mib, 4 * mib, 3 * mib, 2 * mib, 2 * mib, mib, mib}
	for _, k := range []int64{512, 256, 128, 64, 32, 16, 8, 4, 1} {
		sizes = append(sizes, k*kib)
	}
	return []lab.Scenario{{
		Name: "20 layers at once", System: system.Dragonfly, Nodes: 8, Sizes: sizes, Rate: rate(8), AtMost: 1.20,
	}}
}
