package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/local"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestOptions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string // in the error, "" for none
		n    int    // scenarios
	}{
		"none":                          {nil, "", 2},
		"several of everything":         {[]string{"-nodes", "4,16", "-sizes", "1,2+3", "-systems", "dragonfly,direct"}, "", 8},
		"a set":                         {[]string{"-set", "equal64"}, "", 4},
		"two sets":                      {[]string{"-set", "equal64,single"}, "", 5},
		"a set that there is not":       {[]string{"-set", "fast"}, `called "fast"`, 0},
		"no nodes":                      {[]string{"-nodes", "0"}, `-nodes: "0" is no number from 1`, 0},
		"words":                         {[]string{"-nodes", "many"}, `-nodes: "many"`, 0},
		"an empty size":                 {[]string{"-sizes", "1+"}, `-sizes: ""`, 0},
		"no run":                        {[]string{"-repeat", "0"}, "-repeat 0", 0},
		"a rate that stops everything":  {[]string{"-rate", "0"}, "-rate 0", 0},
		"a rate below zero":             {[]string{"-center", "-1"}, "-center -1", 0},
		"words that belong to no flag":  {[]string{"all"}, `"all"`, 0},
		"a system that there is not":    {[]string{"-systems", "ftp"}, `"ftp"`, 0},
		"more nodes than any machine's": {[]string{"-nodes", "99999999999"}, "-nodes", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := parse(tt.args, io.Discard)
			var all []lab.Scenario
			if err == nil {
				all, _, err = o.scenarios()
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("parse(%q) = %v, want an error with %q", tt.args, err, tt.want)
			}
			if len(all) != tt.n {
				t.Errorf("parse(%q): %d scenarios, want %d: %+v", tt.args, len(all), tt.n, all)
			}
		})
	}
}

func TestLocalIsASetOfItsOwn(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-set", "single,local"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	all, onLoopback, err := o.scenarios()
	if err != nil || len(all) != 1 || !onLoopback {
		t.Errorf("%d scenarios, on loopback %v, %v; want 1, true", len(all), onLoopback, err)
	}
	if !slices.Contains(setNames(), localSet) {
		t.Error("the set is not named in the help")
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	ran := lab.Result{
		Limit: 14 * time.Second, Times: []time.Duration{14 * time.Second, 15 * time.Second, 16 * time.Second}, OriginCopies: 1, OriginRequests: 3,
		SeedCopies: 1.02, FromPeers: 0.75, Wasted: 0.0012, CPU: 3500 * time.Millisecond, Busy: 0.34, CenterRSS: 25 << 20, NodeRSS: 21 << 20,
	}
	slower, direct := ran, ran
	slower.Times = []time.Duration{20 * time.Second}
	direct.SeedCopies, direct.FromPeers, direct.Wasted, direct.CPU, direct.CenterRSS, direct.NodeRSS = -1, -1, -1, 0, 0, 0
	s := lab.Scenario{Name: "equal links", System: "dragonfly", Nodes: 3, Sizes: []int64{64 << 20}, Rate: 40_000_000, AtMost: 1.1}
	other := s
	other.System, other.AtMost = "direct", 0
	var b bytes.Buffer
	if err := writeSwarm(&b, []row{{s, []lab.Result{slower, ran, ran}, ""}, {other, []lab.Result{direct}, ""}, {other, nil, "not installed: apt-get install x"}}); err != nil {
		t.Fatal(err)
	}
	few, many := s, s
	few.Nodes, many.Nodes = 4, 64
	if err := writeGrowth(&b, []row{{few, []lab.Result{ran}, ""}, {many, []lab.Result{slower, ran, ran}, ""}, {many, nil, "none"}}); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	if err := writeLocal(&b, []local.Finding{
		{What: "first byte", Ours: "3.00 ms", Theirs: "1.00 ms", Value: 2, AtMost: 10, Unit: " ms more"},
		{What: "small blobs", Ours: "2000/s", Theirs: "7000/s", Value: 2000, AtLeast: 3000, Unit: "/s"},
		{What: "CPU", Ours: "1 s", Theirs: "2 s", Value: 0.5, Unit: " ×"},
	}); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "tables.md")
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("tables differ from %s (-want +got); -update writes it anew:\n%s", golden, diff)
	}
}
