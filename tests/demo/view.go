package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/tests/cluster"
)

// view shows the pulls while they run: a table that is redrawn on a terminal, now and then a line anywhere else.
type view struct {
	w        io.Writer
	terminal bool
	nodes    []cluster.Node
	pulls    []*pull
	origin   *origin // nil when the image comes from a registry elsewhere
	drawn    int     // lines of the last table
}

// run draws until ctx ends.
func (v *view) run(ctx context.Context) {
	every := 100 * time.Millisecond
	if !v.terminal {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if v.terminal {
				v.draw()
			}
			return
		case <-tick.C:
			if v.terminal {
				v.draw()
			} else {
				v.line()
			}
		}
	}
}

func (v *view) draw() {
	const up, clearRest = "\x1b[%dA", "\x1b[J"
	if v.drawn > 0 {
		fmt.Fprintf(v.w, up+clearRest, v.drawn)
	}
	v.drawn = 0
	for i, p := range v.pulls {
		fmt.Fprintf(v.w, "%-8s %-12s %s %4s  %9s of %-9s %d layers\n", v.nodes[i].Name, v.nodes[i].Host,
			bar(p.bytes.Load(), p.total.Load(), 30), percent(p.bytes.Load(), p.total.Load()),
			size(p.bytes.Load()), size(p.total.Load()), p.layers.Load())
		v.drawn++
	}
	if s := v.sent(); s != "" {
		fmt.Fprintln(v.w, s)
		v.drawn++
	}
}

func (v *view) line() {
	parts := make([]string, 0, len(v.pulls)+1)
	for i, p := range v.pulls {
		parts = append(parts, fmt.Sprintf("%s %s", v.nodes[i].Name, percent(p.bytes.Load(), p.total.Load())))
	}
	if s := v.sent(); s != "" {
		parts = append(parts, s)
	}
	fmt.Fprintln(v.w, strings.Join(parts, ", "))
}

func (v *view) sent() string {
	if v.origin == nil {
		return ""
	}
	_, bytes, _ := v.origin.totals()
	return fmt.Sprintf("registry %s sent in all", size(bytes))
}

func bar(n, of int64, width int) string {
	full := 0
	if of > 0 {
		full = int(min(n, of) * int64(width) / of)
	}
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

func percent(n, of int64) string {
	if of <= 0 {
		return "0 %"
	}
	return fmt.Sprintf("%d %%", n*100/of)
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// outcome is what one node did in the end.
type outcome struct {
	node     cluster.Node
	pull     *pull
	received api.Shares // bytes by where they came from
	sent     int64      // bytes that other peers got from it
}

// table prints the last word on every node.
func table(w io.Writer, outcomes []outcome) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "node\taddress\ttime\trate\tfirst byte\tfrom seed\tfrom peers\tfrom origin\tto peers\t")
	for _, o := range outcomes {
		took := time.Duration(o.pull.took.Load())
		fmt.Fprintf(t, "%s\t%s\t%.2f s\t%s/s\t%d ms\t%s\t%s\t%s\t%s\t\n", o.node.Name, o.node.Host, took.Seconds(),
			size(int64(float64(o.pull.bytes.Load())/max(took.Seconds(), 1e-9))), time.Duration(o.pull.firstByte.Load()).Milliseconds(),
			size(o.received.FromSeed), size(o.received.FromPeers), size(o.received.FromOrigin), size(o.sent))
	}
	return t.Flush()
}
