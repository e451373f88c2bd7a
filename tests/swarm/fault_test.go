package swarm

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/cluster"
)

// programs builds the programs once, as they are shipped.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dragonfly-programs-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-p", "2", "-o", dir, "../../cmd/supernode", "../../cmd/dfdaemon")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := programs(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// processes starts a supernode and dfdaemons as processes, from the address 127.0.0.first on.
func processes(t *testing.T, o *origin, first, nodes int) *cluster.Cluster {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	plan := cluster.NewPlan(t.Context(), first, nodes, dir)
	if err := plan.CheckFree(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(t.Context(), cluster.Config{Plan: plan, Bin: bin, Dir: dir, Logs: dir, Registry: o.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range c.Processes {
				t.Logf("%s", p.Tail())
			}
		}
		_ = c.Processes[0].Signal(syscall.SIGCONT) // a frozen one could not end
		c.Stop()
	})
	return c
}

// measured is how a pull looked to its client.
type measured struct {
	first, stall time.Duration // until the first byte, and the longest wait between two reads after it
	err          error
}

// watch pulls a blob and calls at once a part of it has come.
func watch(ctx context.Context, mirror, digest string, at int64, call func()) measured {
	var m measured
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+mirror+"/v2/team/app/blobs/"+digest, nil)
	if err != nil {
		return measured{err: err}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return measured{err: err}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return measured{err: fmt.Errorf("answer %s", resp.Status)}
	}
	last, n := start, int64(0)
	m.err = check(readerFunc(func(p []byte) (int, error) {
		k, err := resp.Body.Read(p)
		now := time.Now()
		if n == 0 {
			m.first = now.Sub(start)
		} else {
			m.stall = max(m.stall, now.Sub(last))
		}
		last = now
		if n < at && n+int64(k) >= at && call != nil {
			call()
		}
		n += int64(k)
		return k, err
	}), digest)
	return m
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

var _ io.Reader = readerFunc(nil)

func TestEveryPullEndsWellWhateverHappensToTheSupernode(t *testing.T) {
	const size, rate, nodes = 32 << 20, 12 << 20, 3
	for i, tc := range []struct {
		name   string
		signal syscall.Signal
		at     int64 // bytes that one node has when the signal comes; 0: before the pull
	}{
		{"absent from the start", syscall.SIGKILL, 0},
		{"frozen from the start", syscall.SIGSTOP, 0},
		{"killed mid-pull", syscall.SIGKILL, size / 4},
		{"frozen mid-pull", syscall.SIGSTOP, size / 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrigin(t)
			c := processes(t, o, 100, nodes)
			digest := o.add(uint64(50+i), size)
			o.throttle(rate)
			var once sync.Once
			strike := func() {
				once.Do(func() {
					if err := c.Processes[0].Signal(tc.signal); err != nil {
						t.Error(err)
					}
					if tc.signal == syscall.SIGKILL {
						<-c.Processes[0].Ended()
					}
				})
			}
			if tc.at == 0 {
				strike()
			}
			var wg sync.WaitGroup
			for k, n := range c.Nodes {
				wg.Go(func() {
					m := watch(t.Context(), n.Mirror, digest, tc.at, strike)
					t.Logf("node %d: first byte after %v, longest stall %v", k+1, m.first.Round(time.Millisecond), m.stall.Round(time.Millisecond))
					if m.err != nil {
						t.Errorf("node %d: %v", k+1, m.err)
					}
				})
			}
			wg.Wait()
			_, sent := o.count(digest)
			t.Logf("the origin sent %.2f copies to %d nodes", float64(sent)/size, nodes)
		})
	}
}

func TestAKilledNodeKeepsWhatItHad(t *testing.T) {
	const size, rate = 32 << 20, 12 << 20
	o := newOrigin(t)
	c := processes(t, o, 120, 1)
	digest := o.add(60, size)
	o.throttle(rate)
	kill := func() { _ = c.Processes[1].Signal(syscall.SIGKILL) }
	if m := watch(t.Context(), c.Nodes[0].Mirror, digest, size/2, kill); m.err == nil {
		t.Fatal("the pull survived the kill of its dfdaemon")
	}
	<-c.Processes[1].Ended()
	data, err := filepath.Glob(filepath.Join(c.Nodes[0].Dir, "tasks", "*", "*", "data"))
	if err != nil || len(data) != 1 {
		t.Fatalf("the killed node left %v, %v; want one task", data, err)
	}
	if err := c.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if m := watch(t.Context(), c.Nodes[0].Mirror, digest, 0, nil); m.err != nil {
		t.Fatalf("the pull after the restart: %v", m.err)
	}
	st, err := c.Nodes[0].Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Received.Total() > size*6/10 {
		t.Errorf("after the restart %d of %d bytes came again, want no more than were missing", st.Received.Total(), size)
	}
}
