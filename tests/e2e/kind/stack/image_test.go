package stack

import (
	"slices"
	"testing"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/nodeimage"
)

func TestNodesOfAFlavour(t *testing.T) {
	t.Parallel()
	const one, two = nodeimage.Containerd1, nodeimage.Containerd2
	tests := map[string]struct {
		options Options
		want    []nodeimage.Flavour
	}{
		"all have containerd 1":                  {Options{Flavour: one, Workers: 2}, []nodeimage.Flavour{one, one, one}},
		"all have containerd 2":                  {Options{Flavour: two, Workers: 1}, []nodeimage.Flavour{two, two}},
		"mixed is half of each":                  {Options{Flavour: Mixed, Workers: 3}, []nodeimage.Flavour{one, one, two, two}},
		"an odd one has containerd 1":            {Options{Flavour: Mixed, Workers: 2}, []nodeimage.Flavour{one, one, two}},
		"a control plane alone has containerd 1": {Options{Flavour: Mixed}, []nodeimage.Flavour{one}},
		"the second of two has containerd 2":     {Options{Flavour: Mixed, Workers: 1}, []nodeimage.Flavour{one, two}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := flavours(test.options); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
