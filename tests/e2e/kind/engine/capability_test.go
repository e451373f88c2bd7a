package engine

import "testing"

func TestTheBoundingSetIsRead(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status string
		lacks  bool
		fails  bool
	}{
		"all capabilities":         {"Name:\tx\nCapBnd:\t000001ffffffffff\n", false, false},
		"all but sys_resource":     {"CapEff:\t0\nCapBnd:\t000001fffeffffff\nCapAmb:\t0\n", true, false},
		"none":                     {"CapBnd:\t0000000000000000\n", true, false},
		"no such line":             {"CapEff:\t000001ffffffffff\n", false, true},
		"a line that is no number": {"CapBnd:\tall\n", false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := lacks(tt.status, sysResource)
			if got != tt.lacks || (err != nil) != tt.fails {
				t.Errorf("lacks = %v, error %v; want %v, failure %v", got, err, tt.lacks, tt.fails)
			}
		})
	}
}
