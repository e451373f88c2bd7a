package lab

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/origin"
	"github.com/dragonfly-kube/dragonfly/tests/bench/proc"
	"github.com/dragonfly-kube/dragonfly/tests/bench/system"
)

// once runs a scenario once.
func (l *Lab) once(ctx context.Context, s Scenario, site system.Site) (r Result, err error) {
	blobs, remove, err := content(site.Origin, s.Sizes)
	defer remove()
	if err != nil {
		return r, err
	}
	sys, err := system.New(s.System, site)
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(site.Dir)
	defer sys.Stop()
	if err := sys.Start(ctx, blobs); err != nil {
		return r, err
	}
	before, err := snapshot(ctx, sys)
	if err != nil {
		return r, err
	}
	times, err := pull(ctx, s, sys)
	if err != nil {
		return r, err
	}
	after, err := snapshot(ctx, sys)
	if err != nil {
		return r, err
	}
	for i, t := range times {
		if s.slow(i) {
			r.Slow = append(r.Slow, t)
		} else {
			r.Times = append(r.Times, t)
		}
	}
	return r, r.account(s, site.Origin, blobs, before, after)
}

// pull has every node pull at its time and returns how long each took.
func pull(ctx context.Context, s Scenario, sys system.System) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	times := make([]time.Duration, s.Nodes)
	var wg sync.WaitGroup
	for i := range s.Nodes {
		wg.Go(func() {
			arrival := time.NewTimer(s.Over * time.Duration(i) / time.Duration(s.Nodes))
			defer arrival.Stop()
			select {
			case <-ctx.Done():
				return
			case <-arrival.C:
			}
			start := time.Now()
			if err := sys.Pull(ctx, i); err != nil {
				cancel(fmt.Errorf("node %d: %w", i+1, err)) // the others' times count no more
			}
			times[i] = time.Since(start)
		})
	}
	wg.Wait()
	return times, context.Cause(ctx)
}

// state is what can be counted at one moment.
type state struct {
	machine proc.Machine
	cost    system.Cost
	cpu     []time.Duration // of cost.Processes
	rss     []int64         // of cost.Processes
}

func snapshot(ctx context.Context, sys system.System) (st state, err error) {
	if st.machine, err = proc.ReadMachine(); err != nil {
		return st, err
	}
	if st.cost, err = sys.Cost(ctx); err != nil {
		return st, err
	}
	st.cpu, st.rss = make([]time.Duration, len(st.cost.Processes)), make([]int64, len(st.cost.Processes))
	for i, pid := range st.cost.Processes {
		if pid < 0 {
			continue
		}
		if st.cpu[i], err = proc.CPU(pid); err != nil {
			return st, err
		}
		if st.rss[i], err = proc.PeakRSS(pid); err != nil {
			return st, err
		}
	}
	return st, nil
}

// account books what happened between two states.
func (r *Result) account(s Scenario, o *origin.Origin, blobs []origin.Blob, before, after state) error {
	gets, err := o.Gets(blobs)
	if err != nil {
		return err
	}
	size, all := float64(s.Bytes()), float64(s.Bytes())*float64(s.Nodes)
	r.OriginCopies, r.OriginRequests = float64(gets.Bytes)/size, gets.Requests
	r.SeedCopies, r.FromPeers, r.Wasted = float64(after.cost.Seed)/size, float64(after.cost.Peers)/all, float64(after.cost.Wasted)/all
	r.Busy = after.machine.Share(before.machine)
	for i := range after.cpu {
		r.CPU += after.cpu[i] - before.cpu[i]
		if i == 0 {
			r.CenterRSS = after.rss[i]
		} else {
			r.NodeRSS = max(r.NodeRSS, after.rss[i])
		}
	}
	return nil
}
