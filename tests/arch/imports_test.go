package arch_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	internalPath = module + "/components/internal/"
	ginPath      = "github.com/gin-gonic/gin"
)

// base packages of the engine: any engine package may build on them. Of store they take the interfaces: see openedStores.
var base = []string{"piece", "proof", "store"}

// below is what a base package itself may build on.
var below = map[string][]string{
	"piece": {},
	"proof": {internalPath + "piece"},
	"store": {module + "/components/api", internalPath + "piece", internalPath + "proof"},
}

// allowed lists the imports between engine packages beyond the base, each with its reason. An entry that nothing uses fails the
// test, so that the table stays true.
var allowed = map[string]string{
	"swarm -> scheduler": "who is whose parent is pure state with its invariants; the swarm owns one of it for each task",
	"swarm -> seed":      "the swarm starts and ends the jobs of the seed, in the seed's own terms; only the job's values cross",
	"transfer -> mesh":   "which piece to ask of whom is pure state with its invariants; a transfer owns one of it",
	"transfer -> peer":   "a transfer is the one user of the client side of the piece protocol, and reacts to each of its events",
	"transfer -> origin": "a transfer's sink takes the parts that origin reads, and its callers branch on origin's typed errors",
}

// wiring puts the parts together; nothing else in the engine imports it.
const wiring = "engine"

// programs may import any engine package: they wire them.
var programs = []string{module + "/components/supernode", module + "/components/dfdaemon", module + "/components/dfget"}

func TestImportsGoInOneDirection(t *testing.T) {
	t.Parallel()
	pkgs := goList(t, "./...")
	if len(pkgs) < 5 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	breaches, used := importBreaches(pkgs, allowed)
	report(t, breaches)
	for edge, reason := range allowed {
		if !used[edge] {
			t.Errorf("the allow-list has %q (%s), but nothing imports so any more: remove the entry", edge, reason)
		}
		if reason == "" {
			t.Errorf("the allow-list has %q without a reason", edge)
		}
	}
}

// importBreaches checks every import of every package, and tells which entries of the allow-list were needed.
func importBreaches(pkgs []pkg, allow map[string]string) (breaches []string, used map[string]bool) {
	used = map[string]bool{}
	for _, p := range pkgs {
		for _, imp := range p.Imports {
			from, engine := strings.CutPrefix(p.ImportPath, internalPath)
			to, _ := strings.CutPrefix(imp, internalPath)
			edge := from + " -> " + to
			if _, ok := allow[edge]; ok && engine {
				used[edge] = true
				continue
			}
			if why := refuse(p.ImportPath, imp); why != "" {
				breaches = append(breaches, fmt.Sprintf("%s imports %s: %s", p.ImportPath, imp, why))
			}
		}
	}
	return breaches, used
}

// refuse says why from must not import imp, or "".
func refuse(from, imp string) string {
	ours := strings.HasPrefix(imp, module+"/")
	to, engine := strings.CutPrefix(imp, internalPath)
	switch {
	case from == module+"/components/api" && strings.Contains(strings.Split(imp, "/")[0], "."):
		return "the wire contract is for any tool, and imports the standard library only"
	case imp == ginPath && from != module+"/components/supernode":
		return "gin belongs to the supernode"
	case ours && within(imp, "cmd", "tests") && !within(from, "cmd", "tests"):
		return "programs and tests are nobody's library"
	case ours && within(imp, "dfctl") && !within(from, "dfctl", "cmd", "tests"):
		return "the tool for people stands on top of the components, not under them"
	case ours && within(from, "dfctl") && !within(imp, "dfctl", "components/api", "components/version", "charts", "kustomize"):
		return "dfctl knows the components by their wire contract only"
	case ours && within(imp, "charts", "kustomize") && !within(from, "dfctl/render", "cmd", "tests"):
		return "the chart and the overlays are for dfctl render"
	case !strings.HasPrefix(from, internalPath) || !ours:
		return ""
	case slices.Contains(programs, imp):
		return "the engine does not know the programs"
	}
	if strings.TrimPrefix(from, internalPath) == wiring {
		return ""
	}
	if ok, isBase := below[strings.TrimPrefix(from, internalPath)]; isBase && !slices.Contains(ok, imp) {
		return "the base of the engine does not build on the rest of it"
	}
	if engine && !slices.Contains(base, to) && !related(from, imp) {
		return "engine packages do not import each other's concretes: declare the interface you need, or add the edge and its reason to the allow-list"
	}
	return ""
}

// within reports whether a package of ours lies in one of the folders.
func within(importPath string, dirs ...string) bool {
	for _, dir := range dirs {
		if p := path.Join(module, dir); importPath == p || strings.HasPrefix(importPath, p+"/") {
			return true
		}
	}
	return false
}

// related reports whether two engine packages belong to one family: the first element of their paths is the same.
func related(a, b string) bool {
	family := func(p string) string {
		first, _, _ := strings.Cut(strings.TrimPrefix(p, internalPath), "/")
		return first
	}
	return family(a) == family(b)
}

func TestImportRulesCanSayNo(t *testing.T) {
	t.Parallel()
	in := func(p string) string { return module + "/" + p }
	tests := map[string]struct {
		from, imp string
		refused   bool
	}{
		"api may use the standard library":          {in("components/api"), "net/url", false},
		"api may not use a module":                  {in("components/api"), "golang.org/x/sync/errgroup", true},
		"api may not use ours":                      {in("components/api"), in("components/internal/piece"), true},
		"piece may not use the api":                 {in("components/internal/piece"), in("components/api"), true},
		"store may use piece":                       {in("components/internal/store"), in("components/internal/piece"), false},
		"store may use proof":                       {in("components/internal/store"), in("components/internal/proof"), false},
		"proof may not use store":                   {in("components/internal/proof"), in("components/internal/store"), true},
		"proof may not use the api":                 {in("components/internal/proof"), in("components/api"), true},
		"store may not use the rest of the engine":  {in("components/internal/store"), in("components/internal/origin"), true},
		"an engine package may use store":           {in("components/internal/upload"), in("components/internal/store"), false},
		"piece may use a module":                    {in("components/internal/piece"), "github.com/bits-and-blooms/bitset", false},
		"an engine package may use piece":           {in("components/internal/mesh"), in("components/internal/piece"), false},
		"an engine package may use the api":         {in("components/internal/mesh"), in("components/api"), false},
		"an engine package may not use another":     {in("components/internal/mesh"), in("components/internal/origin"), true},
		"a family of packages may use its own":      {in("components/internal/registry/egress"), in("components/internal/registry/upstream"), false},
		"a suite may use the interface it tests":    {in("components/internal/store/storetest"), in("components/internal/store"), false},
		"an engine package may not use a program":   {in("components/internal/mesh"), in("components/dfdaemon"), true},
		"the wiring may use the engine's parts":     {in("components/internal/engine"), in("components/internal/origin"), false},
		"the wiring may not use a program":          {in("components/internal/engine"), in("components/dfdaemon"), true},
		"an engine package may not use the wiring":  {in("components/internal/mesh"), in("components/internal/engine"), true},
		"an engine package may not use gin":         {in("components/internal/upload"), ginPath, true},
		"the supernode may use gin":                 {in("components/supernode"), ginPath, false},
		"dfdaemon may not use gin":                  {in("components/dfdaemon"), ginPath, true},
		"a program may wire the engine":             {in("components/dfdaemon"), in("components/internal/transfer"), false},
		"a component may not use dfctl":             {in("components/dfget"), in("dfctl/status"), true},
		"dfctl may not use a program":               {in("dfctl/status"), in("components/supernode"), true},
		"dfctl render may use the chart":            {in("dfctl/render"), in("charts"), false},
		"another command may not use the chart":     {in("dfctl/status"), in("charts"), true},
		"dfctl may use the api":                     {in("dfctl/status"), in("components/api"), false},
		"nobody may use a test's package":           {in("components/dfget"), in("tests/demo"), true},
		"a folder of a like name is another folder": {in("components/apiary"), in("components/internal/origin"), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			breaches, _ := importBreaches([]pkg{{ImportPath: tt.from, Imports: []string{tt.imp}}}, nil)
			if got := len(breaches) > 0; got != tt.refused {
				t.Errorf("%s imports %s: refused %v, want %v (%v)", tt.from, tt.imp, got, tt.refused, breaches)
			}
		})
	}
}

func TestAllowListIsUsedOnlyForItsEdge(t *testing.T) {
	t.Parallel()
	pkgs := []pkg{{ImportPath: internalPath + "a", Imports: []string{internalPath + "b", internalPath + "c"}}}
	breaches, used := importBreaches(pkgs, map[string]string{"a -> b": "why", "b -> a": "why"})
	if len(breaches) != 1 || !strings.Contains(breaches[0], "internal/c") {
		t.Errorf("breaches = %v, want only a -> c", breaches)
	}
	if !used["a -> b"] || used["b -> a"] {
		t.Errorf("used = %v, want only a -> b", used)
	}
}
