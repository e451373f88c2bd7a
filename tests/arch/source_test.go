package arch_test

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxFunction = 80  // lines
	maxFile     = 400 // lines
)

// rule says what a file breaks, one line a breach.
type rule func(file) []string

// rules for every file, by what they keep.
var rules = map[string]rule{
	"functions are short":                   longFunctions,
	"files are short":                       longFiles,
	"no init functions":                     initFunctions,
	"nothing is left to be done":            leftovers,
	"packages are named after what they do": vagueNames,
	"tests do not sleep":                    sleepingTests,
}

func TestSourceRules(t *testing.T) {
	t.Parallel()
	for name, check := range rules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var breaches []string
			for _, f := range sources(t) {
				breaches = append(breaches, check(f)...)
			}
			report(t, breaches)
		})
	}
}

func longFunctions(f file) []string {
	if f.isTest() {
		return nil
	}
	var breaches []string
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := f.line(fn.End()) - f.line(fn.Pos()) + 1; n > maxFunction {
			breaches = append(breaches, fmt.Sprintf("%s: %s has %d lines, at most %d", f.at(fn.Pos()), fn.Name.Name, n, maxFunction))
		}
	}
	return breaches
}

func longFiles(f file) []string {
	if n := f.lines(); !f.isTest() && n > maxFile {
		return []string{fmt.Sprintf("%s has %d lines, at most %d", f.path, n, maxFile)}
	}
	return nil
}

func initFunctions(f file) []string {
	var breaches []string
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			breaches = append(breaches, f.at(fn.Pos())+": init runs in every program that imports the package; make it a function")
		}
	}
	return breaches
}

var leftover = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)

func leftovers(f file) []string {
	var breaches []string
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if leftover.MatchString(c.Text) {
				breaches = append(breaches, f.at(c.Pos())+": "+c.Text)
			}
		}
	}
	return breaches
}

func vagueNames(f file) []string {
	vague := []string{"util", "utils", "common", "helper", "helpers", "misc"}
	if name := strings.TrimSuffix(f.ast.Name.Name, "_test"); slices.Contains(vague, name) {
		return []string{f.path + ": package " + name + " says nothing"}
	}
	return nil
}

// openedStores finds engine packages that choose a store themselves: they work on whichever the program hands them.
func openedStores(f file) []string {
	const engine = "components/internal/"
	if f.isTest() || !strings.HasPrefix(f.path, engine) || strings.HasPrefix(f.path, engine+"store/") ||
		strings.HasPrefix(f.path, engine+wiring+"/") {
		return nil
	}
	var breaches []string
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || !strings.HasPrefix(sel.Sel.Name, "Open") && !strings.HasPrefix(sel.Sel.Name, "New") {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "store" && f.imports(internalPath+"store") {
			breaches = append(breaches, f.at(sel.Pos())+": takes a store of its own by store."+sel.Sel.Name)
		}
		return true
	})
	return breaches
}

// sleepingTests finds time.Sleep in tests that run on the real clock. Under testing/synctest it takes no time and waits for
// everybody, so it is the right thing there.
func sleepingTests(f file) []string {
	if !f.isTest() || f.imports("testing/synctest") {
		return nil
	}
	var breaches []string
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Sleep" {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
			breaches = append(breaches, f.at(sel.Pos())+": time.Sleep on the real clock; wait for what should happen, or use testing/synctest")
		}
		return true
	})
	return breaches
}

func TestSourceRulesCanSayNo(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("\t_ = 1\n", n) }
	tests := map[string]struct {
		path, src string
		check     rule
		want      int
	}{
		"a function of 80 lines":            {"a.go", "package a\nfunc f() {\n" + long(78) + "}\n", longFunctions, 0},
		"a function of 81 lines":            {"a.go", "package a\nfunc f() {\n" + long(79) + "}\n", longFunctions, 1},
		"a long method":                     {"a.go", "package a\nfunc (t T) f() {\n" + long(79) + "}\n", longFunctions, 1},
		"a long test":                       {"a_test.go", "package a\nfunc f() {\n" + long(99) + "}\n", longFunctions, 0},
		"a file of 400 lines":               {"a.go", strings.Repeat("//\n", 399) + "package a\n", longFiles, 0},
		"a file of 401 lines":               {"a.go", strings.Repeat("//\n", 400) + "package a\n", longFiles, 1},
		"an init function":                  {"a.go", "package a\nfunc init() {}\n", initFunctions, 1},
		"a method called init":              {"a.go", "package a\nfunc (t T) init() {}\n", initFunctions, 0},
		"a comment that puts work off":      {"a.go", "package a\n\n// TODO: later\nvar x int\n", leftovers, 1},
		"a string that speaks of such work": {"a.go", "package a\n\nvar x = \"TODO\"\n", leftovers, 0},
		"a package called util":             {"a.go", "package util\n", vagueNames, 1},
		"a test of a package called util":   {"a_test.go", "package util_test\n", vagueNames, 1},
		"a test that sleeps":                {"a_test.go", "package a\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", sleepingTests, 1},
		"a test that sleeps on a fake clock": {
			"a_test.go", "package a\nimport (\"time\"; \"testing/synctest\")\nfunc f() { synctest.Wait(); time.Sleep(1) }\n", sleepingTests, 0,
		},
		"an engine package that opens a store": {
			"components/internal/mesh/a.go", "package mesh\nimport \"" + internalPath + "store\"\nvar s = store.OpenDisk()\n", openedStores, 1,
		},
		"a program that opens a store": {
			"components/supernode/a.go", "package supernode\nimport \"" + internalPath + "store\"\nvar s = store.OpenDisk()\n", openedStores, 0,
		},
		"a program that sleeps": {"a.go", "package a\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", sleepingTests, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := parse(tt.path, tt.src)
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.check(f); len(got) != tt.want {
				t.Errorf("breaches = %q, want %d", got, tt.want)
			}
		})
	}
}
