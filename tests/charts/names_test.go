package charts_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestNamesFitWhateverTheReleaseIsCalled(t *testing.T) {
	t.Parallel()
	values := examples(t)["full"]
	values = with(with(values, []string{"nameOverride"}, nil), []string{"fullnameOverride"}, nil)
	for _, release := range []string{"a", "dragonfly", "my-dragonfly", "1st.release", "x.y-dragonfly.z", strings.Repeat("long-", 10) + "end"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			seen := map[string]bool{}
			for _, u := range objects(t, render(t, values, how{release: release, namespace: "images"})) {
				name, id := u.GetName(), u.GetKind()+"/"+u.GetName()
				if seen[id] {
					t.Errorf("%s comes twice", id)
				}
				seen[id] = true
				check := validation.IsDNS1123Subdomain
				switch u.GetKind() {
				case "Service":
					check = validation.IsDNS1035Label
				case "DaemonSet", "Deployment", "Job", "Pod":
					check = validation.IsDNS1123Label
				}
				if wrong := check(name); len(wrong) > 0 {
					t.Errorf("%s: %v", id, wrong)
				}
				if !strings.Contains(id, "ConfigMap/"+release) && u.GetNamespace() != "images" {
					t.Errorf("%s is in the namespace %q", id, u.GetNamespace())
				}
				for key, label := range u.GetLabels() {
					if wrong := validation.IsValidLabelValue(label); len(wrong) > 0 {
						t.Errorf("%s: label %s: %v", id, key, wrong)
					}
				}
			}
		})
	}
}

// podSpecs are the pods of all objects by the object.
func podSpecs(t *testing.T, manifest string) map[string]map[string]any {
	t.Helper()
	specs := map[string]map[string]any{}
	for _, u := range objects(t, manifest) {
		path := []string{"spec", "template", "spec"}
		if u.GetKind() == "Pod" {
			path = []string{"spec"}
		}
		if spec, ok, _ := unstructured.NestedMap(u.Object, path...); ok && spec["containers"] != nil {
			specs[u.GetKind()+" "+u.GetName()] = spec
		}
	}
	return specs
}

func TestContainersHaveNoMoreRightsThanTheyNeed(t *testing.T) {
	t.Parallel()
	for name, values := range examples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for id, spec := range podSpecs(t, render(t, values, how{})) {
				checkPod(t, id, spec)
			}
		})
	}
}

func checkPod(t *testing.T, id string, spec map[string]any) {
	t.Helper()
	if token := spec["automountServiceAccountToken"]; token != (id == "Job dragonfly-node-config-undo" || id == "Job swarm-node-config-undo") {
		t.Errorf("%s: automountServiceAccountToken is %v", id, token)
	}
	if spec["enableServiceLinks"] != false {
		t.Errorf("%s: gets the variables of Services", id)
	}
	if profile, _, _ := unstructured.NestedString(spec, "securityContext", "seccompProfile", "type"); profile != "RuntimeDefault" {
		t.Errorf("%s: seccomp is %q", id, profile)
	}
	initial, _ := spec["initContainers"].([]any)
	for _, c := range slices.Concat(initial, spec["containers"].([]any)) {
		c := c.(map[string]any)
		context, _ := c["securityContext"].(map[string]any)
		drop, _, _ := unstructured.NestedStringSlice(context, "capabilities", "drop")
		if context["allowPrivilegeEscalation"] != false || context["readOnlyRootFilesystem"] != true || context["privileged"] != nil || !slices.Equal(drop, []string{"ALL"}) {
			t.Errorf("%s, container %s: %v", id, c["name"], context)
		}
		root := slices.Contains([]any{"host-dirs", "node-config"}, c["name"])
		if _, added, _ := unstructured.NestedSlice(context, "capabilities", "add"); added != root || (context["runAsUser"] != nil) != root {
			t.Errorf("%s, container %s: has rights of root, or should have: %v", id, c["name"], context)
		}
		if limit, _, _ := unstructured.NestedString(c, "resources", "limits", "memory"); limit == "" {
			t.Errorf("%s, container %s: no bound of memory", id, c["name"])
		}
		mounts, _ := c["volumeMounts"].([]any)
		for _, m := range mounts {
			m := m.(map[string]any)
			if m["name"] == "host" && (c["name"] != "node-config" || m["readOnly"] != true) {
				t.Errorf("%s, container %s: has the host's root", id, c["name"])
			}
		}
	}
}

func TestStaticPodRefersToNothingOfTheAPI(t *testing.T) {
	t.Parallel()
	found := 0
	for _, name := range []string{"static-pod", "static-pod-full"} {
		for id, spec := range podSpecs(t, render(t, examples(t)[name], how{})) {
			if !strings.HasPrefix(id, "Pod ") || strings.Contains(id, "test") {
				continue
			}
			found++
			for _, key := range []string{"serviceAccountName", "imagePullSecrets", "nodeSelector", "nodeName"} {
				if spec[key] != nil {
					t.Errorf("%s: has %s", id, key)
				}
			}
			for _, v := range spec["volumes"].([]any) {
				if v := v.(map[string]any); v["hostPath"] == nil {
					t.Errorf("%s: the volume %v is not of the host", id, v["name"])
				}
			}
		}
	}
	if found != 2 {
		t.Errorf("found %d static pods, want 2", found)
	}
}
