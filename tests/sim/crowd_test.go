//go:build heavy

package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/tests/process"
)

const (
	crowdTask = "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff"
	// crowdPieces of 1 MiB are the content.
	crowdPieces = 1024
	// crowdTime is how long the pull of 1 GiB takes each of the crowd: at a gigabit a second.
	crowdTime = 9 * time.Second
	crowdSize = 1000
	// maxIdle is what a member costs the supernode's memory at most, in bytes. docs/scale.md says what it should become. CPU time is printed
	// only: it depends on the machine.
	maxIdle = 96 << 10
)

// crowdHost is a supernode in a process of its own.
type crowdHost struct {
	t    *testing.T
	p    *process.Process
	addr string
}

func startSupernode(t *testing.T) *crowdHost {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "supernode")
	build := exec.CommandContext(t.Context(), "go", "build", "-p", "2", "-o", program, "../../cmd/supernode")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the supernode: %v\n%s", err, out)
	}
	addr := freeAddr(t)
	p, err := process.Start(process.Spec{
		Name: "supernode", Program: program, Log: filepath.Join(dir, "log"), Unset: []string{"DRAGONFLY_"},
		Args: []string{"--data-dir", filepath.Join(dir, "repo"), "--register-addr", addr, "--download-addr", freeAddr(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	if err := p.Ready(t.Context(), "http://"+addr+"/readyz"); err != nil {
		t.Fatal(err)
	}
	return &crowdHost{t: t, p: p, addr: addr}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// memory is what Go's heap and stacks take in the supernode, in bytes.
func (h *crowdHost) memory() (total float64) {
	h.t.Helper()
	for range 2 { // the first look may find garbage of what went before
		total = 0
		text := fetch(h.t, "http://"+h.addr+api.PathMetrics)
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch name {
			case "go_memstats_heap_alloc_bytes", "go_memstats_stack_inuse_bytes":
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					h.t.Fatal(err)
				}
				total += v
			}
		}
	}
	return total
}

// cpu is the processor time that the supernode used (proc(5)).
func (h *crowdHost) cpu() time.Duration {
	h.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.p.PID()))
	if err != nil {
		h.t.Fatal(err)
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, field := range f[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			h.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// member is one peer of the crowd: a connection for calls, and one for its event stream.
type member struct {
	host   *crowdHost
	name   string
	conn   net.Conn
	in     *bufio.Reader
	stream net.Conn
	heard  int64 // bytes of the stream
}

// call sends a JSON body on the member's connection and reads the answer.
func (m *member) call(path string, body any, out any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, len(b))
	if _, err := m.conn.Write(append([]byte(head), b...)); err != nil {
		return err
	}
	for {
		resp, err := http.ReadResponse(m.in, nil)
		if err != nil {
			return err
		}
		if resp.StatusCode/100 == 1 {
			continue
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("%s answered %s: %s", path, resp.Status, text)
		}
		if out != nil {
			return json.Unmarshal(text, out)
		}
		return nil
	}
}

// join registers and opens the event stream.
func (h *crowdHost) join(ctx context.Context, i int) (*member, error) {
	m := &member{host: h, name: fmt.Sprintf("peer-%05d", i)}
	var d net.Dialer
	var err error
	if m.conn, err = d.DialContext(ctx, "tcp", h.addr); err != nil {
		return nil, err
	}
	m.in = bufio.NewReader(m.conn)
	var u api.Update
	err = m.call(api.RegisterPath(crowdTask), api.RegisterRequest{
		Peer: m.name, Private: true,
		Host:   api.Host{ID: m.name, Name: m.name, Addrs: []string{fmt.Sprintf("10.1.%d.%d:65002", i>>8, i&255)}, Zone: fmt.Sprint("zone-", i%3)},
		Origin: api.Origin{URL: "https://registry.example/v2/app/blobs/x", Digest: "sha256:" + crowdTask},
	}, &u)
	if err != nil {
		return nil, err
	}
	if m.stream, err = d.DialContext(ctx, "tcp", h.addr); err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(m.stream, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", api.EventsPath(crowdTask, m.name, u.Seq))
	return m, err
}

func (m *member) report(r api.Report) error {
	return m.call(api.ReportsPath(crowdTask, m.name), r, nil)
}

// source tells the content, as a peer that the supernode elected to read the origin.
func (m *member) source() error {
	r := api.Report{Meta: &api.Meta{Length: crowdPieces << 20, PieceSize: 1 << 20}, Have: fmt.Sprintf("0-%d", crowdPieces-1)}
	for i := range crowdPieces {
		sum := make([]byte, 32)
		sum[0], sum[1] = byte(i>>8), byte(i)
		r.Pieces = append(r.Pieces, api.Piece{Index: i, SHA256: sum})
	}
	return m.report(r)
}

// pull reports as a download does, once a second, with a few holes in what it holds.
func (m *member) pull(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	start := time.Now()
	for time.Since(start) < crowdTime {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		upTo := min(crowdPieces, max(20, int(crowdPieces*time.Since(start)/crowdTime)))
		var have strings.Builder
		for lo := 0; lo+18 < upTo; lo += 20 {
			fmt.Fprintf(&have, "%d-%d,", lo, lo+17)
		}
		if err := m.report(api.Report{Have: strings.TrimSuffix(have.String(), ","), FromPeers: 100 << 20}); err != nil {
			return err
		}
	}
	return m.report(api.Report{Complete: true, FromPeers: 100 << 20})
}

func TestACrowdCostsTheSupernodeLittle(t *testing.T) {
	h := startSupernode(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := h.memory()
	first, err := h.join(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.source(); err != nil {
		t.Fatal(err)
	}
	used := h.cpu()
	members := make([]*member, crowdSize)
	var joins errgroup.Group
	joins.SetLimit(64)
	for i := range members {
		joins.Go(func() (err error) {
			members[i], err = h.join(ctx, i+1)
			return err
		})
	}
	if err := joins.Wait(); err != nil {
		t.Fatal(err)
	}
	var streams sync.WaitGroup
	all := slices.Concat(members, []*member{first})
	for _, m := range all {
		streams.Go(func() { m.heard, _ = io.Copy(io.Discard, m.stream) })
	}
	defer func() {
		for _, m := range all {
			m.conn.Close()
			m.stream.Close()
		}
		streams.Wait()
	}()
	joined := h.cpu() - used
	if err := settle(ctx, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	idle := (h.memory() - before) / crowdSize

	used = h.cpu()
	var pulls errgroup.Group
	for _, m := range members {
		pulls.Go(func() error { return m.pull(ctx) })
	}
	if err := pulls.Wait(); err != nil {
		t.Fatal(err)
	}
	took := joined + h.cpu() - used
	t.Logf("%d peers: %.1f KB of memory each with an open stream and a connection for reports; %.2f s of CPU for the pull of 1 GiB, %.2f s of it for joining",
		crowdSize, idle/1e3, took.Seconds(), joined.Seconds())
	if idle > maxIdle {
		t.Errorf("an idle peer costs %.0f bytes, want at most %d", idle, maxIdle)
	}
}

// settle lets a time pass on the real clock: the supernode's garbage collector runs by the pings that it sends meanwhile.
func settle(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
