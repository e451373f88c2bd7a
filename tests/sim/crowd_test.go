//go:build heavy

package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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
	// firstPiece is when each of them has its first piece.
	firstPiece = 100 * time.Millisecond
	crowdSize  = 1000
	// beats are the heartbeats of each host of which the time is taken.
	beats = 10
	// maxPeer is what a member with an open stream costs the supernode's memory at most, in bytes, and maxHost what its host's connection
	// costs beside. CPU time is printed only: it depends on the machine.
	maxPeer, maxHost = 8 << 10, 24 << 10
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

// look reads the supernode's metrics that have no labels.
func (h *crowdHost) look() map[string]float64 {
	h.t.Helper()
	m := map[string]float64{}
	for line := range strings.Lines(string(fetch(h.t, "http://"+h.addr+api.PathMetrics))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			m[name] = v
		}
	}
	return m
}

// memory is what Go's heap and stacks take in the supernode, in bytes: the least of many looks, since garbage and what is not swept yet only
// add to it. The looks make the garbage that starts collections, and it takes some of these until stacks that were deep once are small.
func (h *crowdHost) memory() float64 {
	h.t.Helper()
	const collected, before, during = "go_gc_duration_seconds_count", 3, 3
	m := h.look()
	until, least := m[collected]+before, math.Inf(1)
	for ; m[collected] < until+during; m = h.look() {
		if m[collected] >= until {
			least = min(least, m["go_memstats_heap_alloc_bytes"]+m["go_memstats_stack_inuse_bytes"])
		}
	}
	return least
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

// member is one peer of the crowd. As a host does, it asks for its event stream on the connection that it registered on, and then has
// another one for heartbeats and reports.
type member struct {
	host   *crowdHost
	number int
	name   string
	conn   net.Conn
	in     *bufio.Reader
	stream net.Conn
	events *bufio.Reader
}

// connect opens the connection for calls.
func (m *member) connect(ctx context.Context) (err error) {
	var d net.Dialer
	if m.conn, err = d.DialContext(ctx, "tcp", m.host.addr); err == nil {
		m.in = bufio.NewReader(m.conn)
	}
	return err
}

// call sends a JSON body on the member's connection and reads the answer.
func (m *member) call(method, path string, body any, out any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", method, path, len(b))
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

func (h *crowdHost) member(i int) *member {
	return &member{host: h, number: i, name: fmt.Sprintf("peer-%05d", i)}
}

func (m *member) self() api.Host {
	return api.Host{
		ID: m.name, Name: m.name, Addrs: []string{fmt.Sprintf("10.1.%d.%d:65002", m.number>>8, m.number&255)}, Zone: fmt.Sprint("zone-", m.number%3),
	}
}

// join registers, opens the event stream and hears the first update.
func (m *member) join(ctx context.Context) error {
	if err := m.connect(ctx); err != nil {
		return err
	}
	var u api.Update
	err := m.call(http.MethodPost, api.RegisterPath(crowdTask), api.RegisterRequest{Proofs: true,
		Peer: m.name, Private: true, Host: m.self(),
		Origin: api.Origin{URL: "https://registry.example/v2/app/blobs/x", Digest: "sha256:" + crowdTask},
	}, &u)
	if err != nil {
		return err
	}
	m.stream, m.conn = m.conn, nil
	if _, err := fmt.Fprintf(m.stream, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", api.EventsPath(crowdTask, m.name, u.Seq)); err != nil {
		return err
	}
	resp, err := http.ReadResponse(m.in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the event stream answered %s", resp.Status)
	}
	m.events = bufio.NewReader(resp.Body)
	_, err = m.events.ReadBytes('\n')
	return err
}

func (m *member) close() {
	for _, c := range []net.Conn{m.conn, m.stream} {
		if c != nil {
			c.Close()
		}
	}
}

// beat sends a heartbeat. The first opens the connection for calls.
func (m *member) beat(ctx context.Context) error {
	if m.conn == nil {
		if err := m.connect(ctx); err != nil {
			return err
		}
	}
	return m.call(http.MethodPut, api.HostPath(m.name), api.Heartbeat{Host: m.self(), Version: "v1.0.0"}, nil)
}

func (m *member) report(r api.Report) error {
	return m.call(http.MethodPost, api.ReportsPath(crowdTask, m.name), r, nil)
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

// pull reports as a download does, every two seconds at first and then after half of the time that went by, with a few holes in what it
// holds.
func (m *member) pull(ctx context.Context) error {
	next := time.NewTimer(firstPiece)
	defer next.Stop()
	start := time.Now()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if time.Since(start) >= crowdTime {
			break
		}
		next.Reset(max(2*time.Second, time.Since(start)/2))
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
	first, members := h.member(0), make([]*member, crowdSize)
	for i := range members {
		members[i] = h.member(i + 1)
	}
	var streams sync.WaitGroup
	defer func() {
		for _, m := range append(members, first) {
			m.close()
		}
		streams.Wait()
	}()
	join := func(m *member) error {
		if err := m.join(ctx); err != nil {
			return err
		}
		streams.Go(func() { _, _ = io.Copy(io.Discard, m.events) })
		return nil
	}
	beat := func(m *member) error { return m.beat(ctx) }
	if err := errors.Join(join(first), beat(first), first.source()); err != nil {
		t.Fatal(err)
	}

	base, used := h.memory(), h.cpu()
	each(t, members, join)
	joining := h.cpu() - used
	peer := (h.memory() - base) / crowdSize
	each(t, members, beat)
	host := (h.memory()-base)/crowdSize - peer
	used = h.cpu()
	for range beats {
		each(t, members, beat)
	}
	beating := h.cpu() - used

	used = h.cpu()
	var pulls errgroup.Group
	for _, m := range members {
		pulls.Go(func() error { return m.pull(ctx) })
	}
	if err := pulls.Wait(); err != nil {
		t.Fatal(err)
	}
	pulling := h.cpu() - used
	t.Logf("%d peers: %.1f KB of memory for each and %.1f KB for its host; %.2f s of CPU for the pull of 1 GiB, %.2f s of it for joining; %v for a heartbeat",
		crowdSize, peer/1e3, host/1e3, (joining + pulling).Seconds(), joining.Seconds(), beating/beats/crowdSize)
	if peer > maxPeer {
		t.Errorf("an idle peer costs %.0f bytes, want at most %d", peer, maxPeer)
	}
	if host > maxHost {
		t.Errorf("a host costs %.0f bytes, want at most %d", host, maxHost)
	}
}

// each runs f for all members, some at a time.
func each(t *testing.T, members []*member, f func(*member) error) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(64)
	for _, m := range members {
		g.Go(func() error { return f(m) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}
