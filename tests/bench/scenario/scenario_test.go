package scenario

import (
	"strings"
	"testing"
)

func TestEverySetCanRun(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		set, err := Set(name)
		if err != nil || len(set) == 0 {
			t.Errorf("%s: %d scenarios, %v; want some", name, len(set), err)
		}
		for _, s := range set {
			if s.Name == "" || s.System == "" || s.Nodes < 1 || s.Rate <= 0 || s.Bytes() < 1 || s.SlowEvery > 0 && s.SlowRate <= 0 {
				t.Errorf("%s: %+v lacks something", name, s)
			}
		}
	}
	if _, err := Set("none"); err == nil || !strings.Contains(err.Error(), "standard") {
		t.Errorf("an unknown set: %v, want an error that lists the sets", err)
	}
}
