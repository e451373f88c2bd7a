package kustomize

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// modes are the overlays, and the values that make the chart install the same.
var modes = map[string]struct {
	overlay    string
	components []string
	set        []string
	// onlyHelm and onlyOverlay are objects that the other does not have.
	onlyHelm, onlyOverlay []string
}{
	"deployment": {
		overlay: "deployment", onlyOverlay: []string{"ServiceAccount dragonfly-supernode"},
		set: []string{`supernode.nodeSelector.node-role\.kubernetes\.io/control-plane=`},
	},
	"deployment with everything": {
		overlay: "deployment", components: []string{"monitoring", "network-policy"}, onlyOverlay: []string{"ServiceAccount dragonfly-supernode"},
		set: []string{
			`supernode.nodeSelector.node-role\.kubernetes\.io/control-plane=`, "networkPolicy.enabled=true", "monitoring.serviceMonitor.enabled=true",
			"monitoring.podMonitor.enabled=true", "monitoring.prometheusRule.enabled=true", "monitoring.dashboard.enabled=true",
		},
	},
	"deployment that undoes nodes": {
		overlay: "deployment", components: []string{"node-config-rollback"}, onlyOverlay: []string{"ServiceAccount dragonfly-supernode"},
		set: []string{`supernode.nodeSelector.node-role\.kubernetes\.io/control-plane=`, "nodeConfig.mode=rollback"},
	},
	"static pod": { // the manifest is a file of the overlay, and for people; Helm can only print it
		overlay: "static-pod", onlyHelm: []string{"ConfigMap dragonfly-supernode-static-pod"}, set: []string{"supernode.kind=StaticPod"},
	},
	"docker": {
		overlay: "docker",
		set:     []string{"supernode.kind=External", "supernode.external.addresses={192.0.2.10,192.0.2.11}", "nodeConfig.runtimes={docker}"},
	},
}

func TestOverlaysAreWhatHelmInstalls(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fromHelm, built := helmRender(t, mode.set...), overlay(t, mode.overlay, mode.components...)
			compareObjects(t, fromHelm, built, mode.onlyHelm, mode.onlyOverlay)
		})
	}
}

// compareObjects takes the allowed differences out, and compares the rest.
func compareObjects(t *testing.T, fromHelm, built map[string]object, onlyHelm, onlyOverlay []string) {
	t.Helper()
	without := func(from map[string]object, keys []string) {
		for _, key := range keys {
			if from[key] == nil {
				t.Errorf("there is no %s, which one side should have for itself", key)
			}
			delete(from, key)
		}
	}
	without(fromHelm, onlyHelm)
	without(built, onlyOverlay)
	for _, rule := range allowed {
		for side, change := range map[*map[string]object]func(string, object){&fromHelm: rule.helm, &built: rule.overlay} {
			if change == nil {
				continue
			}
			for key, o := range *side {
				change(key, o)
			}
			*side = byName(*side)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(fromHelm)) {
		if built[key] == nil {
			t.Errorf("the overlay does not have %s", key)
		} else if diff := cmp.Diff(fromHelm[key], built[key]); diff != "" {
			t.Errorf("%s (-Helm +overlay):\n%s", key, diff)
		}
	}
	for key := range built {
		if fromHelm[key] == nil {
			t.Errorf("only the overlay has %s", key)
		}
	}
}

func byName(in map[string]object) map[string]object {
	out := map[string]object{}
	for _, o := range in {
		out[o["kind"].(string)+" "+field(o, "metadata", "name").(string)] = o
	}
	return out
}

// TestAllowedDifferencesAreThere keeps the list of differences true.
func TestAllowedDifferencesAreThere(t *testing.T) {
	t.Parallel()
	for _, rule := range allowed {
		changed := false
		fromHelm, built := helmRender(t), overlay(t, "deployment")
		for key, o := range fromHelm {
			changed = changed || rule.helm != nil && changes(t, key, o, rule.helm)
		}
		for key, o := range built {
			changed = changed || rule.overlay != nil && changes(t, key, o, rule.overlay)
		}
		if !changed {
			t.Errorf("nothing differs by %q any more: remove the rule", rule.why)
		}
	}
}

func changes(t *testing.T, key string, o object, change func(string, object)) bool {
	t.Helper()
	before := clone(map[string]any(o)).(map[string]any)
	change(key, o)
	return !cmp.Equal(object(before), o)
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			out[key] = clone(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = clone(v[i])
		}
		return out
	}
	return v
}
