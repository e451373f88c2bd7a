package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/table"
)

// row is a scenario with its runs.
type row struct {
	scenario lab.Scenario
	runs     []lab.Result
}

// swarmTable shows the median run of each scenario, and the ratios of all.
func swarmTable(rows []row) *table.Table {
	t := &table.Table{Heading: []string{
		"scenario", "system", "nodes", "MiB", "link", "first s", "median s", "last s", "limit s", "last/limit", "all runs",
		"origin copies", "origin requests", "seed copies", "from peers", "not used", "CPU s", "machine busy", "supernode MiB", "dfdaemon MiB",
	}}
	for _, r := range rows {
		m := lab.MedianRun(r.runs)
		var all []string
		for _, run := range r.runs {
			all = append(all, fmt.Sprintf("%.3f", run.Ratio()))
		}
		if len(all) == 1 {
			all = nil
		}
		s := r.scenario
		t.Add(s.Name, s.System, fmt.Sprint(s.Nodes), fmt.Sprint(s.Bytes()>>20), strings.TrimSuffix(s.Rate.String(), " Mbit/s"),
			seconds(m.First()), seconds(m.Median()), seconds(m.Last()), seconds(m.Limit), fmt.Sprintf("%.3f", m.Ratio()), strings.Join(all, " "),
			fmt.Sprintf("%.3f", m.OriginCopies), fmt.Sprint(m.OriginRequests), counted("%.2f", m.SeedCopies, 1), counted("%.1f %%", m.FromPeers, 100),
			counted("%.2f %%", m.Wasted, 100), fmt.Sprintf("%.1f", m.CPU.Seconds()), fmt.Sprintf("%.0f %%", 100*m.Busy), mib(m.CenterRSS), mib(m.NodeRSS))
	}
	return t
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
