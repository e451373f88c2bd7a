package cache

import (
	"errors"
	"log/slog"
	"os"
	"testing"
)

func TestAStepIsMadeOnceAndOnlyWhole(t *testing.T) {
	t.Parallel()
	c, err := Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const name = "folder/entry"
	broken := errors.New("broken")
	_, err = c.Step(name, func(path string) error {
		return errors.Join(os.WriteFile(path, []byte("half"), 0o600), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatalf("got %v, want the step's own error", err)
	}
	left, err := os.ReadDir(c.Path("folder"))
	if err != nil || len(left) != 0 {
		t.Fatalf("a step that failed left %v (%v)", left, err)
	}
	// What a killed process leaves.
	if err := os.MkdirAll(c.Path(name)+".part/deep", 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := c.Step(name, func(path string) error { return os.WriteFile(path, []byte("whole"), 0o600) })
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "whole" {
		t.Errorf("the entry is %q (%v), want what the step wrote", b, err)
	}
	again, err := c.Step(name, func(string) error { return errors.New("made twice") })
	if err != nil || again != path {
		t.Errorf("the second time: %q, %v; want %q as it was", again, err, path)
	}
}
