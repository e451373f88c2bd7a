package daemon

import (
	"context"
	"os"
	"strings"
	"testing"
)

func yes(context.Context) bool { return true }

func TestAProgramIsFoundAgainAndStopped(t *testing.T) {
	t.Parallel()
	s := Spec{Name: "sleeper", Dir: t.TempDir(), Program: "sleep", Args: []string{"60"}, Ready: yes}
	if Running(s) {
		t.Fatal("it runs before it was started")
	}
	if err := Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	first, _ := running(s.record())
	if err := Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if second, _ := running(s.record()); second != first || first == 0 {
		t.Errorf("a second start: process %d, want %d as before", second, first)
	}
	if err := Stop(s); err != nil {
		t.Fatal(err)
	}
	if startTime(first) != "" {
		t.Errorf("process %d runs after Stop", first)
	}
	if err := Stop(s); err != nil {
		t.Errorf("stop again: %v", err)
	}
}

func TestAnotherProcessWithTheSameIDIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := Spec{Name: "other", Dir: t.TempDir(), Ready: yes}
	if err := os.WriteFile(s.record(), []byte("1 12345678901234567890\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if Running(s) {
		t.Error("process 1 is taken for ours, though it started at another time")
	}
	if err := Stop(s); err != nil {
		t.Error(err)
	}
}

func TestAProgramThatEndsSaysWhy(t *testing.T) {
	t.Parallel()
	s := Spec{
		Name: "broken", Dir: t.TempDir(), Program: "sh", Args: []string{"-c", "echo no such flag; exit 1"},
		Ready: func(context.Context) bool { return false },
	}
	err := Start(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("got %v, want an error with what it said", err)
	}
}
