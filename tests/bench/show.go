package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/local"
	"github.com/dragonfly-kube/dragonfly/tests/bench/table"
)

// row is a scenario with its runs, or the reason why there are none.
type row struct {
	scenario lab.Scenario
	runs     []lab.Result
	note     string
}

// writeSwarm shows the median run of each scenario, and the ratios of all.
func writeSwarm(w io.Writer, rows []row) error {
	t := &table.Table{Heading: []string{
		"scenario", "system", "nodes", "MiB", "Mbit/s", "limit s", "first s", "median s", "last s", "last/limit", "at most", "all runs",
		"origin copies", "requests", "seed copies", "from peers", "not used", "CPU s", "machine busy", "center MiB", "node MiB",
	}}
	for _, r := range rows {
		t.Add(r.cells()...)
	}
	return t.Write(w)
}

// writeGrowth says how the time of the last node, over the limit, grows with the number of nodes on equal links.
func writeGrowth(w io.Writer, rows []row) error {
	var errs []error
	for _, few := range rows {
		for _, many := range rows {
			a, b := few.scenario, many.scenario
			if a.Nodes != 4 || b.Nodes != 64 || a.Name != b.Name || a.Bytes() != b.Bytes() || a.System != b.System || len(few.runs)*len(many.runs) == 0 {
				continue
			}
			growth := lab.MedianRun(many.runs).Ratio() / lab.MedianRun(few.runs).Ratio()
			_, err := fmt.Fprintf(w, "\n%s, %d MiB: with 64 nodes the last one takes %.3f × the time with 4, at most 1.05 is asked for.\n", a.Name, a.Bytes()>>20, growth)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r row) cells() []string {
	s := r.scenario
	cells := []string{s.Name, s.System, fmt.Sprint(s.Nodes), fmt.Sprint(s.Bytes() >> 20), strings.TrimSuffix(s.Rate.String(), " Mbit/s")}
	if len(r.runs) == 0 {
		cells[1] += ": " + r.note
		return cells
	}
	m := lab.MedianRun(r.runs)
	var all []string
	for _, run := range r.runs {
		all = append(all, fmt.Sprintf("%.2f", run.Ratio()))
	}
	atMost := ""
	if s.AtMost > 0 {
		atMost = fmt.Sprintf("%.2f", s.AtMost)
	}
	return append(cells, seconds(m.Limit), seconds(m.First()), seconds(m.Median()), seconds(m.Last()), fmt.Sprintf("%.3f", m.Ratio()), atMost,
		strings.Join(all, " "), fmt.Sprintf("%.3f", m.OriginCopies), fmt.Sprint(m.OriginRequests), counted("%.2f", m.SeedCopies, 1),
		counted("%.1f %%", m.FromPeers, 100), counted("%.2f %%", m.Wasted, 100), fmt.Sprintf("%.1f", m.CPU.Seconds()),
		fmt.Sprintf("%.0f %%", 100*m.Busy), mib(m.CenterRSS), mib(m.NodeRSS))
}

// writeLocal shows what was found on loopback.
func writeLocal(w io.Writer, found []local.Finding) error {
	t := &table.Table{Heading: []string{"on loopback", "Dragonfly", "beside it", "compared", "asked for", "holds"}}
	for _, f := range found {
		bound, holds := "", ""
		switch {
		case f.AtLeast > 0:
			bound = fmt.Sprintf("≥ %g%s", f.AtLeast, f.Unit)
		case f.AtMost > 0:
			bound = fmt.Sprintf("≤ %g%s", f.AtMost, f.Unit)
		}
		if bound != "" {
			holds = map[bool]string{true: "yes", false: "no"}[f.Holds()]
		}
		t.Add(f.What, f.Ours, f.Theirs, fmt.Sprintf("%.2f%s", f.Value, f.Unit), bound, holds)
	}
	return t.Write(w)
}

// writeCosts shows what moving a GB costs.
func writeCosts(w io.Writer, costs []local.Cost) error {
	if len(costs) == 0 {
		return nil
	}
	t := &table.Table{Heading: []string{"CPU s/GB", "outside the kernel", "kernel: copying", "kernel: pages of files", "kernel: rest", "system calls/GB"}}
	for _, c := range costs {
		t.Add(c.Program, fmt.Sprintf("%.2f", c.User), fmt.Sprintf("%.2f", c.Copying), fmt.Sprintf("%.2f", c.Pages), fmt.Sprintf("%.2f", c.Rest), fmt.Sprintf("%.0f", c.Calls))
	}
	return t.Write(w)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// counted shows what a system may not count.
func counted(format string, v, times float64) string {
	if v < 0 {
		return "–"
	}
	return fmt.Sprintf(format, times*v)
}

func mib(bytes int64) string {
	if bytes == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f", float64(bytes)/(1<<20))
}
