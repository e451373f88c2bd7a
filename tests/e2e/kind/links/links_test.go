package links

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

func TestWhatTcIsTold(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rate Rate
		want string
	}{
		"a rate holds what leaves": {200 * Mbit, "qdisc replace dev eth0 root tbf rate 200000000bit burst 131072 latency 25ms"},
		"no rate is no queue":      {0, "qdisc replace dev eth0 root noqueue"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := strings.Join(discipline("eth0", test.rate), " "); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// engine answers every command alike.
type engine struct {
	out string
	err error
}

func (e engine) Docker(context.Context, command.Command) (string, error) { return e.out, e.err }

func TestAPortIsFoundByItsNumber(t *testing.T) {
	t.Parallel()
	const loopback = "1" // its number in every network namespace
	if got, err := port(t.Context(), engine{out: loopback + "\n"}, "node"); got != "lo" || err != nil {
		t.Errorf("got %q, %v, want lo", got, err)
	}
	gone := errors.New("no such container")
	for name, e := range map[string]engine{
		"an engine elsewhere":           {out: "2147483647"},
		"not a number":                  {out: "eth0"},
		"nothing":                       {},
		"an engine without such a node": {err: gone},
	} {
		if got, err := port(t.Context(), e, "node"); err == nil {
			t.Errorf("%s: got port %q, want an error", name, got)
		}
	}
}
