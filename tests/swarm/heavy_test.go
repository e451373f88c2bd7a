//go:build heavy

package swarm

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// peakRSS is the most memory that a process has had resident so far, in bytes (VmHWM, proc(5)). Files mapped or cached don't count for
// our programs: they read and write by system calls.
func peakRSS(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmHWM", pid)
}

func TestMemoryStaysSmallWhateverTheSizeOfTheContent(t *testing.T) {
	const size = 2 << 30
	for _, tc := range []struct {
		name             string
		nodes            int
		supernode, nodeN int64 // limits, bytes
	}{
		{"a node moves 2 GiB to a client and two peers", 3, 128 << 20, 64 << 20},
		{"a supernode seeds 2 GiB to 8 peers", 8, 128 << 20, 64 << 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrigin(t)
			c := processes(t, o, 140, tc.nodes)
			digest := o.add(uint64(80+tc.nodes), size)
			var wg sync.WaitGroup
			for i, n := range c.Nodes {
				wg.Go(func() {
					if m := watch(t.Context(), n.Mirror, digest, 0, nil); m.err != nil {
						t.Errorf("node %d: %v", i+1, m.err)
					}
				})
			}
			wg.Wait()
			for i, p := range c.Processes {
				name, limit := "supernode", tc.supernode
				if i > 0 {
					name, limit = fmt.Sprintf("node %d", i), tc.nodeN
				}
				rss, err := peakRSS(p.PID())
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: peak RSS %d MiB", name, rss>>20)
				if rss > limit {
					t.Errorf("%s: peak RSS %d MiB, want at most %d MiB", name, rss>>20, limit>>20)
				}
			}
			if _, sent := o.count(digest); float64(sent) > 1.02*size {
				t.Errorf("the origin sent %.3f copies, want at most 1.02", float64(sent)/size)
			}
		})
	}
}

// All at once is 240 pulls in one moment in one process: too much for two cores that the race detector slows down, see pullAll.
func TestSmallBlobsAllAtOnceLeaveTheOriginOnce(t *testing.T) { smallBlobs(t, 30) }
