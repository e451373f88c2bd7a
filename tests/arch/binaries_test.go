package arch_test

import (
	"slices"
	"strings"
	"testing"
)

// tooBig for a program that runs on every node: prefixes of import paths.
var tooBig = []string{"helm.sh/", "k8s.io/", "sigs.k8s.io/"}

// imageTag is the build tag of the programs in the images: without it, dfctl renders charts and overlays.
const imageTag = "node"

func TestProgramsLinkOnlyWhatTheyNeed(t *testing.T) {
	t.Parallel()
	forbidden := map[string][]string{
		"supernode": tooBig,
		"dfdaemon":  append([]string{ginPath}, tooBig...),
		"dfget":     append([]string{ginPath}, tooBig...),
		"dragonfly": append([]string{ginPath}, tooBig...), // the nodes' image: dfdaemon, dfget and dfctl
	}
	for program, prefixes := range forbidden {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			deps := goList(t, "-deps", "-tags", imageTag, "./cmd/"+program)
			if !slices.ContainsFunc(deps, func(p pkg) bool { return p.ImportPath == "net/http" }) {
				t.Fatalf("cmd/%s does not link net/http: go list looks at the wrong thing (%d packages)", program, len(deps))
			}
			report(t, linkBreaches(deps, prefixes))
		})
	}
}

// linkBreaches are the packages that a program links and should not.
func linkBreaches(deps []pkg, prefixes []string) []string {
	var breaches []string
	for _, p := range deps {
		if p.ImportPath == "testing" {
			breaches = append(breaches, "testing: a package for tests is linked")
		}
		for _, prefix := range prefixes {
			if strings.HasPrefix(p.ImportPath, prefix) {
				breaches = append(breaches, p.ImportPath)
			}
		}
	}
	return breaches
}

func TestLinkRulesCanSayNo(t *testing.T) {
	t.Parallel()
	deps := []pkg{
		{ImportPath: "net/http"},
		{ImportPath: "helm.sh/helm/v3/pkg/chart"},
		{ImportPath: "k8s.io/api/core/v1"},
		{ImportPath: "sigs.k8s.io/kind/pkg/cluster"},
		{ImportPath: "sigs.k8s.io/kustomize/api/krusty"},
		{ImportPath: "testing"},
	}
	if got := linkBreaches(deps, tooBig); len(got) != 5 {
		t.Errorf("linkBreaches = %v, want all but net/http", got)
	}
}
