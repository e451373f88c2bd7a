//go:build heavy

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheRigRuns needs Linux, root, nginx and curl, and the programs in bin: `make heavy` builds them.
func TestTheRigRuns(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	var out, talk bytes.Buffer
	err = run(t.Context(), []string{"-bin", bin, "-nodes", "2", "-sizes", "1", "-rate", "20", "-dir", t.TempDir(), "-logs", t.TempDir()}, streams{&out, &talk})
	if err != nil {
		t.Fatalf("run: %v\n%s", err, talk.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("the table has %d lines, want a heading, a rule and one row:\n%s", len(lines), out.String())
	}
	cells := map[string]string{}
	for i, name := range strings.Split(lines[0], "|") {
		cells[strings.TrimSpace(name)] = strings.TrimSpace(strings.Split(lines[2], "|")[i])
	}
	for name, want := range map[string]string{"system": "dragonfly", "nodes": "2", "MiB": "1", "Mbit/s": "20", "origin copies": "1.000"} {
		if cells[name] != want {
			t.Errorf("%s is %q, want %q:\n%s", name, cells[name], want, out.String())
		}
	}
	if cells["last s"] < cells["first s"] || cells["limit s"] < "0.4" {
		t.Errorf("first %s s, last %s s, limit %s s; 1 MiB over 20 Mbit/s takes more than 0.4 s", cells["first s"], cells["last s"], cells["limit s"])
	}
}
