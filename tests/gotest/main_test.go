package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestTheSummaryTellsWhatHappened(t *testing.T) {
	t.Parallel()
	const passing = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`
	tests := map[string]struct {
		events  string
		verbose bool
		want    []string
		absent  string
	}{
		"a passing test is silent": {events: passing, want: []string{"ok  \tp", "1 packages", "1 passed, 0 failed, 0 skipped"}, absent: "noise"},
		"unless all is wanted":     {events: passing, verbose: true, want: []string{"noise", "PASS"}},
		"a failing test shows what it printed": {
			events: `{"Action":"output","Package":"p","Test":"TestB","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
`, want: []string{"got 1, want 2", "FAIL\tp", "0 passed, 1 failed, 0 skipped"},
		},
		"a package that does not build is a failure": {
			events: `{"Action":"build-output","ImportPath":"p","Output":"p.go:1: undefined: x\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p"}
`, want: []string{"undefined: x", "0 passed, 1 failed, 0 skipped"},
		},
		"a panic outside of tests is shown": {
			events: `{"Action":"output","Package":"p","Output":"panic: early\n"}
{"Action":"fail","Package":"p"}
`, want: []string{"panic: early", "0 passed, 1 failed, 0 skipped"},
		},
		"a skipped test is counted":        {events: `{"Action":"skip","Package":"p","Test":"TestC"}`, want: []string{"0 passed, 0 failed, 1 skipped"}},
		"what is no event is passed on":    {events: "go: downloading x\n", want: []string{"go: downloading x"}},
		"a last line cut off is passed on": {events: `{"Action":"pa`, want: []string{`{"Action":"pa`}},
		"nothing at all counts nothing":    {want: []string{"0 packages", "0 passed, 0 failed, 0 skipped"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			s := newSummary(&out)
			s.verbose = tt.verbose
			if err := s.read(strings.NewReader(tt.events)); err != nil {
				t.Fatal(err)
			}
			s.print(nil, 0)
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("output lacks %q:\n%s", want, out.String())
				}
			}
			if tt.absent != "" && strings.Contains(out.String(), tt.absent) {
				t.Errorf("output has %q:\n%s", tt.absent, out.String())
			}
		})
	}
}
