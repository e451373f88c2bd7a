// Package local measures on loopback what links would hide: how long a node's programs take for a first byte and for small blobs, how much
// they move and what that costs, each beside nginx and curl in the same run.
package local

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dragonfly-kube/dragonfly/tests/bench/origin"
	"github.com/dragonfly-kube/dragonfly/tests/cluster"
)

// Bench is where the measurements run.
type Bench struct {
	// Bin is the folder of our programs.
	Bin string
	// Dir is for content and stores, Logs for the programs' logs.
	Dir, Logs string
	// Times is how often each is measured; the median counts.
	Times int
	// Large is the size of big content in bytes.
	Large int64
	// Profile asks perf(1) what one to one costs.
	Profile bool
	// Talk is told what happens.
	Talk io.Writer
}

// Finding is a row of the table.
type Finding struct {
	What string
	// Ours beside Theirs, in words; Theirs is "" where there is nothing to compare with.
	Ours, Theirs string
	// Value is what is asked for to be AtLeast or AtMost a bound; 0 is none. Unit follows the numbers.
	Value, AtLeast, AtMost float64
	Unit                   string
}

// Holds says whether the value keeps its bound.
func (f Finding) Holds() bool {
	return (f.AtLeast == 0 || f.Value >= f.AtLeast) && (f.AtMost == 0 || f.Value <= f.AtMost)
}

// first is the last byte of the first loopback address that is used: 127.0.0.first.
const first = 180

// field is what the measurements work with: an origin, a supernode and one dfdaemon on loopback.
type field struct {
	Bench
	origin  *origin.Origin
	plan    cluster.Plan
	cluster *cluster.Cluster
	blobs   []origin.Blob
	costs   []Cost
}

// Run measures everything. There are costs only with Profile.
func (b Bench) Run(ctx context.Context) (all []Finding, costs []Cost, err error) {
	f := &field{Bench: b}
	defer f.stop()
	if err := f.start(ctx); err != nil {
		return nil, nil, err
	}
	for _, measure := range []func(context.Context) ([]Finding, error){f.firstByte, f.smallWarm, f.smallCold, f.oneToOne, f.warm} {
		found, err := measure(ctx)
		all = append(all, found...)
		if err != nil {
			return all, f.costs, err
		}
		for _, row := range found {
			fmt.Fprintf(b.Talk, "%s: %s, %s\n", row.What, row.Ours, row.Theirs)
		}
		f.forget()
	}
	return all, f.costs, nil
}

func (f *field) start(ctx context.Context) error {
	dir := filepath.Join(f.Dir, "local")
	var err error
	if f.origin, err = origin.Start(ctx, filepath.Join(dir, "origin"), fmt.Sprintf("127.0.0.%d", first), nil); err != nil {
		return err
	}
	f.plan = cluster.NewPlan(ctx, first+1, 1, filepath.Join(dir, "stores"))
	room := []string{"--disk-min-free", "0"} // the folder may be on a small file system
	f.plan.Supernode.Args, f.plan.Nodes[0].Args = room, room
	if err := f.plan.CheckFree(ctx); err != nil {
		return err
	}
	f.cluster, err = cluster.Start(ctx, cluster.Config{Plan: f.plan, Bin: f.Bin, Dir: dir, Logs: f.Logs, Registry: f.origin.URL()})
	return err
}

func (f *field) stop() {
	if f.cluster != nil {
		f.cluster.Stop()
	}
	if f.origin != nil {
		f.origin.Stop()
	}
	_ = os.RemoveAll(filepath.Join(f.Dir, "local"))
}

// add makes a blob that lasts until forget.
func (f *field) add(size int64) (origin.Blob, error) {
	b, err := f.origin.Add(size)
	f.blobs = append(f.blobs, b)
	return b, err
}

// forget removes the blobs from the origin.
func (f *field) forget() {
	for _, b := range f.blobs {
		_ = f.origin.Remove(b)
	}
	f.blobs = nil
}

// mirror is the base URL of the dfdaemon.
func (f *field) mirror() string { return "http://" + f.plan.Nodes[0].Mirror }
