package lab

import (
	"context"
	"fmt"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/network"
	"github.com/dragonfly-kube/dragonfly/tests/bench/origin"
	"github.com/dragonfly-kube/dragonfly/tests/bench/proc"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// limit is the time one curl needs for content of the same size over one link, measured once for each kind of link and size.
func (l *Lab) limit(ctx context.Context, net *network.Network, o *origin.Origin, s Scenario) (time.Duration, error) {
	key := fmt.Sprintln(s.Rate, s.center(), s.Bytes())
	if t, ok := l.limits[key]; ok {
		return t, nil
	}
	blobs, remove, err := content(o, []int64{s.Bytes()})
	defer remove()
	if err != nil {
		return 0, err
	}
	via := net.Via(probeHost)
	c := command.New(via[0], append(via[1:], "curl", "-sSf", "--noproxy", "*", "-o", "/dev/null", "-w", "%{time_total}", o.URL()+blobs[0].Path())...)
	c.Limit = time.Hour
	out, err := c.Run(ctx)
	if err != nil {
		return 0, fmt.Errorf("measure the limit: %w", err)
	}
	t, err := time.ParseDuration(out + "s")
	if err != nil {
		return 0, fmt.Errorf("measure the limit: %w", err)
	}
	l.limits[key] = t
	return t, nil
}

// quiet tells when the machine has other work: then the figures are of that, too.
func (l *Lab) quiet(ctx context.Context) error {
	const loud = 0.10
	before, err := proc.ReadMachine()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Second):
	}
	after, err := proc.ReadMachine()
	if err != nil {
		return err
	}
	if busy := after.Share(before); busy > loud {
		fmt.Fprintf(l.Talk, "the machine is %.0f %% busy with other things\n", 100*busy)
	}
	return nil
}
