// Package arch_test proves the rules of the repository's layout: who may import whom, what a program may link, how long a
// function may be. Each rule is a function over packages or files, and has a test of its own that it can say no.
package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/dragonfly-kube/dragonfly"

// pkg is what the rules want to know of a package, as `go list -json` tells it.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// goList runs go list in the module's root.
func goList(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Standard,Imports"}, args...)...)
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatalf("go list %s: %v", strings.Join(args, " "), err)
		}
		pkgs = append(pkgs, p)
	}
}

// root is the folder of the module's go.mod: two above this package, where go test runs.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// file is one parsed Go file.
type file struct {
	path string // relative to the root, with slashes
	fset *token.FileSet
	ast  *ast.File
}

func (f file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f file) line(p token.Pos) int { return f.fset.Position(p).Line }

// lines the file has.
func (f file) lines() int { return f.fset.File(f.ast.FileStart).LineCount() }

// at says where something is, as an editor understands it.
func (f file) at(p token.Pos) string { return fmt.Sprintf("%s:%d", f.path, f.line(p)) }

func (f file) imports(path string) bool {
	for _, spec := range f.ast.Imports {
		if strings.Trim(spec.Path.Value, `"`) == path {
			return true
		}
	}
	return false
}

func parse(path, src string) (file, error) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	return file{path: path, fset: fset, ast: parsed}, err
}

var parseAll = sync.OnceValues(func() ([]file, error) {
	const top = "../.."
	var files []file
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(path, rel)
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parse(filepath.ToSlash(rel), string(src))
		files = append(files, f)
		return err
	})
	return files, err
})

// skipDir leaves out what is not source of this module: hidden folders, test data, built files, modules within the module.
func skipDir(path, rel string) error {
	if rel == "." {
		return nil
	}
	name := filepath.Base(rel)
	if strings.HasPrefix(name, ".") || name == "testdata" || rel == "bin" {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

// sources are all Go files of the module.
func sources(t *testing.T) []file {
	t.Helper()
	files, err := parseAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("found only %d Go files: the walk looks in the wrong place", len(files))
	}
	return files
}

// report fails the test with every breach, one a line.
func report(t *testing.T, breaches []string) {
	t.Helper()
	if len(breaches) > 0 {
		t.Errorf("%d breaches:\n%s", len(breaches), strings.Join(breaches, "\n"))
	}
}
