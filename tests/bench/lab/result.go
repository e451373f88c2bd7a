package lab

import (
	"slices"
	"time"
)

// Result of one run. Shares are of all bytes that all nodes together have to receive.
type Result struct {
	// Limit is the time one curl needed for the same bytes over one link.
	Limit time.Duration
	// Times of the nodes, of the slow ones apart.
	Times, Slow []time.Duration
	// OriginCopies is what the origin sent, in copies of the content.
	OriginCopies   float64
	OriginRequests int
	// SeedCopies is what the center sent to the nodes, in copies of the content; negative where it is not counted, as the next two.
	SeedCopies, FromPeers, Wasted float64
	// CPU time of all the system's processes; Busy is the share of the machine that was busy, the network's and the clients' work included.
	CPU  time.Duration
	Busy float64
	// CenterRSS and NodeRSS are the peaks of the center and of the biggest node, in bytes; 0 where there is none.
	CenterRSS, NodeRSS int64
}

// First is the fastest node's time.
func (r Result) First() time.Duration { return slices.Min(r.Times) }

// Last is the slowest node's time.
func (r Result) Last() time.Duration { return slices.Max(r.Times) }

// Median node's time.
func (r Result) Median() time.Duration { return Median(r.Times) }

// Ratio of the last node's time to the limit.
func (r Result) Ratio() float64 { return r.Last().Seconds() / r.Limit.Seconds() }

// Median is the middle one of the values, the lower of two; there is at least one.
func Median[T interface{ ~int64 | ~float64 }](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// MedianRun is the run in the middle by the ratio of the last node; there is at least one.
func MedianRun(runs []Result) Result {
	sorted := slices.SortedFunc(slices.Values(runs), func(a, b Result) int {
		switch {
		case a.Ratio() < b.Ratio():
			return -1
		case a.Ratio() > b.Ratio():
			return 1
		default:
			return 0
		}
	})
	return sorted[(len(sorted)-1)/2]
}
