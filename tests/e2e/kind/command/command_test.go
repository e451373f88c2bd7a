package command

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTheOutputComesBack(t *testing.T) {
	t.Parallel()
	c := Command{Program: "sh", Args: []string{"-c", `cat; echo "$WORD"; echo noise >&2`}, Env: []string{"WORD=there"}, Stdin: strings.NewReader("hello ")}
	if got, err := c.Run(t.Context()); err != nil || got != "hello there" {
		t.Errorf("got %q (%v), want hello there", got, err)
	}
}

func TestAnErrorSaysWhatTheProgramSaid(t *testing.T) {
	t.Parallel()
	_, err := New("sh", "-c", "echo out; echo disk is full >&2; exit 3").Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("got %v, want the exit code and what was said", err)
	}
}

func TestACommandIsStoppedInTime(t *testing.T) {
	t.Parallel()
	_, err := Command{Program: "sleep", Args: []string{"60"}, Limit: 50 * time.Millisecond}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not done after") {
		t.Errorf("got %v, want that it was not done in time", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New("sleep", "60").Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was canceled", err)
	}
}
