package kustomize

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	render "github.com/dragonfly-kube/dragonfly/dfctl/render/kustomize"
	"github.com/dragonfly-kube/dragonfly/kustomize"
)

func names(t *testing.T, kind render.Kind) []string {
	t.Helper()
	out, err := render.Names(kustomize.FS, kind)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 3 {
		t.Fatalf("only %d %s: %v", len(out), kind, out)
	}
	return out
}

func TestOverlaysAreAsReviewed(t *testing.T) {
	t.Parallel()
	for _, name := range names(t, render.Overlays) {
		out, err := render.Build(kustomize.FS, "overlays/"+name)
		if err != nil {
			t.Error(err)
			continue
		}
		compare(t, filepath.Join("testdata", name+".golden"), out)
	}
}

// TestEveryCombinationBuilds builds each overlay with each set of the components that it can take, and records which objects that makes.
func TestEveryCombinationBuilds(t *testing.T) {
	t.Parallel()
	var record strings.Builder
	for _, name := range names(t, render.Overlays) {
		for _, components := range [][]string{
			nil, {"monitoring"}, {"network-policy"}, {"node-config-rollback"}, {"monitoring", "network-policy", "node-config-rollback"},
		} {
			built := overlay(t, name, components...)
			for key, o := range built {
				if namespace := field(o, "metadata", "namespace"); namespace != "kube-system" {
					t.Errorf("%s with %v: %s is in the namespace %v", name, components, key, namespace)
				}
				if o["kind"] == "Secret" {
					t.Errorf("%s has %s: a secret that everybody can read", name, key)
				}
			}
			fmt.Fprintf(&record, "%s\n  %s\n", strings.Join(append([]string{name}, components...), " + "),
				strings.Join(slices.Sorted(maps.Keys(built)), "\n  "))
		}
	}
	compare(t, filepath.Join("testdata", "objects.golden"), []byte(record.String()))
}

// TestBasesStandAlone: a base is of use without the other, and asks for no object that it does not bring, but the Secret.
func TestBasesStandAlone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"supernode", "dfdaemon"} {
		out, err := render.Build(kustomize.FS, "bases/"+name)
		if err != nil {
			t.Fatal(err)
		}
		built := objects(t, out)
		for _, o := range built {
			account, _ := field(o, "spec", "template", "spec", "serviceAccountName").(string)
			if account != "" && built["ServiceAccount "+account] == nil {
				t.Errorf("the base %s does not have the ServiceAccount %s", name, account)
			}
			if field(o, "metadata", "namespace") != nil {
				t.Errorf("the base %s sets a namespace, which is for overlays", name)
			}
		}
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		overlay string
		o       render.Options
		want    string
	}{
		"an overlay that there is not":   {"daemonset", render.Options{}, `"daemonset" is none of the overlays: deployment, docker, static-pod`},
		"an overlay of another place":    {"../bases/dfdaemon", render.Options{}, "is none of the overlays"},
		"nothing":                        {"", render.Options{}, `"" is none of the overlays`},
		"a component that there is not":  {"docker", render.Options{Components: []string{"tls"}}, `"tls" is none of the components: high-availability, `},
		"an image without a replacement": {"docker", render.Options{Images: []string{"supernode"}}, `the image "supernode" is not IMAGE=NEW`},
		"an image that is none":          {"docker", render.Options{Images: []string{"a=B@x"}}, `the image "a=B@x" is not IMAGE=NEW`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := render.Overlay(kustomize.FS, tc.overlay, tc.o)
			if !errors.Is(err, render.ErrOptions) || !strings.Contains(err.Error(), tc.want) || out != nil {
				t.Errorf("got %q, %v, want an error with %q", out, err, tc.want)
			}
		})
	}
}

func TestImagesAreReplacedEverywhere(t *testing.T) {
	t.Parallel()
	out, err := render.Overlay(kustomize.FS, "deployment", render.Options{Images: []string{
		"ghcr.io/dragonfly-kube/supernode=registry.example.com:5000/mirror/supernode:1.2",
		"ghcr.io/dragonfly-kube/dfdaemon=registry.example.com/dfdaemon@sha256:" + strings.Repeat("a", 64),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{
		"ghcr.io": 0, "image: registry.example.com:5000/mirror/supernode:1.2\n": 1,
		"image: registry.example.com/dfdaemon@sha256:" + strings.Repeat("a", 64) + "\n": 4,
	} {
		if got := strings.Count(string(out), text); got != want {
			t.Errorf("%q is there %d times, want %d", text, got, want)
		}
	}
}
