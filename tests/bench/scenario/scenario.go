// Package scenario lists what the benchmark runs, in sets by name.
package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
)

const mib = 1 << 20

// sets by name. The standard one takes less than ten minutes, so many nodes with slow links pull less there than in equal64.
func sets() map[string][]lab.Scenario {
	small, large, mixed := equal(64*mib, 4, 16, 32, 64), equal(256*mib, 4, 16, 32, 64), slices.Concat(slow(), arrivals(), layers())
	return map[string][]lab.Scenario{
		"standard": slices.Concat(single(), equal(64*mib, 4), equal(32*mib, 16, 32), mixed, baselines()),
		"equal64":  small,
		"equal256": large,
		"mixed":    mixed,
		"single":   single(),
		"beside":   baselines(),
	}
}

// Names of the sets.
func Names() []string { return slices.Sorted(maps.Keys(sets())) }

// Set is the scenarios of a name.
func Set(name string) ([]lab.Scenario, error) {
	s, ok := sets()[name]
	if !ok {
		return nil, fmt.Errorf("no set of scenarios is called %q; there are %s", name, strings.Join(Names(), ", "))
	}
	return s, nil
}
