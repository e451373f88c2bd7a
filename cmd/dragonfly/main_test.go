package main

import "testing"

func TestTheNameChoosesTheProgram(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dfdaemon", "dfget", "dfctl"} {
		if cmd := command(name); cmd == nil || cmd.Name() != name {
			t.Errorf("called as %s: got %v", name, cmd)
		}
	}
	if cmd := command("dragonfly"); cmd != nil {
		t.Errorf("called as dragonfly: got %s, want none", cmd.Name())
	}
}
