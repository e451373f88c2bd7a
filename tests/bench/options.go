package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/network"
	"github.com/dragonfly-kube/dragonfly/tests/bench/scenario"
	"github.com/dragonfly-kube/dragonfly/tests/bench/system"
)

type streams struct {
	out, err io.Writer
}

// options of the command line.
type options struct {
	nodes        []int64
	sizes        [][]int64 // bytes
	rate, center network.Rate
	slowEvery    int
	slowRate     network.Rate
	over         time.Duration
	systems      []string
	repeat       int
	bin          string
	dir, logs    string
	set          string
	large        int64 // MiB
	profile      bool
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.bin, "bin", "bin", "folder of the programs")
	fs.StringVar(&o.dir, "dir", "", "folder for content and stores; unset means a file system in memory")
	fs.StringVar(&o.logs, "logs", "", "folder for the programs' logs, kept; unset means none are kept")
	fs.IntVar(&o.repeat, "repeat", 1, "runs of each scenario; the table has the median one")
	fs.IntVar(&o.slowEvery, "slow-every", 0, "every so many nodes one has a slow link")
	fs.DurationVar(&o.over, "over", 0, "time over which the nodes arrive")
	fs.StringVar(&o.set, "set", "", "sets of scenarios instead of one made of flags: "+strings.Join(setNames(), ", ")+"; several with commas between")
	fs.Int64Var(&o.large, "large", 3815, "size of big content on loopback in MiB; 3815 is 4 GB")
	fs.BoolVar(&o.profile, "profile", false, "with the set local: ask perf what moving big content costs")
	nodes := fs.String("nodes", "4,16", "numbers of nodes")
	sizes := fs.String("sizes", "64", "sizes of the blobs in MiB; those with a + between are pulled at once")
	rate := fs.Float64("rate", 40, "rate of the links in Mbit/s, each way")
	center := fs.Float64("center", 0, "rate of the links of the origin and the supernode in Mbit/s; 0 is that of the nodes")
	slowRate := fs.Float64("slow-rate", 10, "rate of the slow links in Mbit/s")
	systems := fs.String("systems", system.Dragonfly, "what pulls: "+strings.Join(system.Names(), ", ")+"; several with commas between")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("%q: only flags are known", fs.Arg(0))
	case *rate <= 0 || *slowRate <= 0:
		return o, fmt.Errorf("-rate %g -slow-rate %g: a link has to carry something", *rate, *slowRate)
	case *center < 0:
		return o, fmt.Errorf("-center %g: a rate is not below 0", *center)
	case o.repeat < 1:
		return o, fmt.Errorf("-repeat %d: at least 1", o.repeat)
	case o.large < 1:
		return o, fmt.Errorf("-large %d: at least 1", o.large)
	}
	mbit := func(r float64) network.Rate { return network.Rate(r * float64(network.Mbit)) }
	o.rate, o.center, o.slowRate = mbit(*rate), mbit(*center), mbit(*slowRate)
	o.systems = strings.Split(*systems, ",")
	if o.nodes, err = numbers(*nodes); err != nil {
		return o, fmt.Errorf("-nodes: %w", err)
	}
	for list := range strings.SplitSeq(*sizes, ",") {
		mib, err := numbers(strings.ReplaceAll(list, "+", ","))
		if err != nil {
			return o, fmt.Errorf("-sizes: %w", err)
		}
		for i := range mib {
			mib[i] <<= 20
		}
		o.sizes = append(o.sizes, mib)
	}
	for _, name := range o.systems {
		if !slices.Contains(system.Names(), name) {
			return o, fmt.Errorf("-systems: no system is called %q", name)
		}
	}
	return o, nil
}

func numbers(list string) ([]int64, error) {
	var ns []int64
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no number from 1", s)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

// localSet is the set that runs on loopback and is no scenario.
const localSet = "local"

func setNames() []string { return append(scenario.Names(), localSet) }

// scenarios are those of the sets, else one for each system, size and number of nodes. local says that what runs on loopback is asked for, too.
func (o options) scenarios() (all []lab.Scenario, local bool, err error) {
	if o.set != "" {
		for name := range strings.SplitSeq(o.set, ",") {
			if name == localSet {
				local = true
				continue
			}
			set, err := scenario.Set(name)
			if err != nil {
				return nil, false, err
			}
			all = append(all, set...)
		}
		return all, local, nil
	}
	for _, name := range o.systems {
		for _, size := range o.sizes {
			for _, n := range o.nodes {
				all = append(all, lab.Scenario{
					Name: "custom", System: name, Nodes: int(n), Sizes: size, Rate: o.rate, Center: o.center,
					SlowEvery: o.slowEvery, SlowRate: o.slowRate, Over: o.over,
				})
			}
		}
	}
	return all, false, nil
}
