// Package lab runs a scenario: it makes the network, measures the limit, has the nodes pull and gathers what it took.
package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/network"
	"github.com/dragonfly-kube/dragonfly/tests/bench/origin"
	"github.com/dragonfly-kube/dragonfly/tests/bench/system"
)

// Scenario says what is pulled by whom over which links.
type Scenario struct {
	Name   string
	System string
	Nodes  int
	// Sizes of the blobs in bytes, pulled at once.
	Sizes []int64
	// Rate of the nodes' links, Center of the origin's and the center's, the same when 0.
	Rate, Center network.Rate
	// Every SlowEvery-th node has a link of SlowRate; 0 is none. Their times don't count for first, median and last.
	SlowEvery int
	SlowRate  network.Rate
	// Over is the time over which the nodes arrive, evenly. A node's time counts from its own arrival.
	Over time.Duration
	// AtMost is the ratio of the last node's time to the limit that is asked for; 0 is none.
	AtMost float64
}

// Bytes of all blobs.
func (s Scenario) Bytes() int64 {
	var sum int64
	for _, n := range s.Sizes {
		sum += n
	}
	return sum
}

func (s Scenario) center() network.Rate {
	if s.Center != 0 {
		return s.Center
	}
	return s.Rate
}

// slow says whether the i-th node, counted from 0, has a slow link.
func (s Scenario) slow(i int) bool { return s.SlowEvery > 0 && i%s.SlowEvery == s.SlowEvery-1 }

// Places of the hosts in the network.
const (
	originHost = iota
	centerHost
	probeHost // measures the limit and does nothing else
	firstNode
)

func (s Scenario) hosts() []network.Host {
	hosts := []network.Host{{Name: "origin", Rate: s.center()}, {Name: "center", Rate: s.center()}, {Name: "probe", Rate: s.Rate}}
	for i := range s.Nodes {
		h := network.Host{Name: fmt.Sprintf("node-%d", i+1), Rate: s.Rate}
		if s.slow(i) {
			h.Rate = s.SlowRate
		}
		hosts = append(hosts, h)
	}
	return hosts
}

// Lab is where scenarios run.
type Lab struct {
	// Bin is the folder of our programs.
	Bin string
	// Dir is for content and stores, Logs for the programs' logs.
	Dir, Logs string
	// Talk is told what happens.
	Talk io.Writer

	limits map[string]time.Duration // measured so far, by what they are for
}

// New makes a lab.
func New(bin, dir, logs string, talk io.Writer) *Lab {
	return &Lab{Bin: bin, Dir: dir, Logs: logs, Talk: talk, limits: map[string]time.Duration{}}
}

// Run runs a scenario several times, each with new content and new programs.
func (l *Lab) Run(ctx context.Context, s Scenario, times int) (_ []Result, err error) {
	if err := l.room(s); err != nil {
		return nil, err
	}
	net, err := network.New(ctx, s.hosts())
	defer func() {
		if e := net.Remove(context.WithoutCancel(ctx)); err == nil {
			err = e
		}
	}()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(l.Dir, "origin")
	defer os.RemoveAll(dir)
	o, err := origin.Start(ctx, dir, net.Addr(originHost), net.Via(originHost))
	if err != nil {
		return nil, err
	}
	defer o.Stop()
	if err := l.quiet(ctx); err != nil {
		return nil, err
	}
	limit, err := l.limit(ctx, net, o, s)
	if err != nil {
		return nil, err
	}
	site := system.Site{Net: net, Origin: o, Center: centerHost, Bin: l.Bin, Dir: filepath.Join(l.Dir, "stores"), Logs: l.Logs}
	for i := range s.Nodes {
		site.Nodes = append(site.Nodes, firstNode+i)
	}
	var results []Result
	for k := range times {
		r, err := l.once(ctx, s, site)
		if err != nil {
			return results, fmt.Errorf("%s, %d nodes, run %d: %w", s.Name, s.Nodes, k+1, err)
		}
		r.Limit = limit
		fmt.Fprintf(l.Talk, "%s, %s, %d nodes, run %d of %d: last %.2f s, limit %.2f s, %.3f\n",
			s.Name, s.System, s.Nodes, k+1, times, r.Last().Seconds(), limit.Seconds(), r.Ratio())
		results = append(results, r)
	}
	return results, nil
}

// content makes blobs; remove removes them, also after an error.
func content(o *origin.Origin, sizes []int64) (blobs []origin.Blob, remove func(), err error) {
	remove = func() {
		for _, b := range blobs {
			_ = o.Remove(b)
		}
	}
	for _, size := range sizes {
		b, err := o.Add(size)
		if err != nil {
			return blobs, remove, err
		}
		blobs = append(blobs, b)
	}
	return blobs, remove, nil
}
