package main

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var smallSizes = []int64{1 << 20, 5000, 1}

func testImage(t *testing.T) (dir string, img v1.Image) {
	t.Helper()
	dir = t.TempDir()
	img, err := makeImage(t.Context(), dir, smallSizes)
	if err != nil {
		t.Fatal(err)
	}
	return dir, img
}

// testOrigin serves a small image and returns its name there.
func testOrigin(t *testing.T) (*origin, name.Tag, v1.Image) {
	t.Helper()
	dir, img := testImage(t)
	o, err := startOrigin(t.Context(), "127.0.0.1", dir, 100<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	tag, err := o.push(t.Context(), "library/demo", img)
	if err != nil {
		t.Fatal(err)
	}
	return o, tag, img
}

func TestTheImageIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	_, a := testImage(t)
	_, b := testImage(t)
	first, err := a.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := b.Digest(); err != nil || first != second {
		t.Errorf("second image is %s (%v), want %s", second, err, first)
	}
}

func TestAPullReadsAllAndTheOriginCountsIt(t *testing.T) {
	t.Parallel()
	o, tag, img := testOrigin(t)
	var p pull
	if err := p.run(t.Context(), tag); err != nil {
		t.Fatal(err)
	}
	if want, err := img.Digest(); err != nil || p.digest != want {
		t.Errorf("pulled %s, want %s (%v)", p.digest, want, err)
	}
	if p.bytes.Load() != p.total.Load() || p.total.Load() < sum(smallSizes) || int(p.layers.Load()) != len(smallSizes) {
		t.Errorf("read %d of %d bytes, %d layers", p.bytes.Load(), p.total.Load(), p.layers.Load())
	}
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	requests, sent, other := o.totals()
	if want := p.total.Load() + int64(len(config)); sent != want || requests != len(smallSizes)+1 || other == 0 {
		t.Errorf("the origin counts %d bytes in %d requests, %d others; want %d in %d, some others", sent, requests, other, want,
			len(smallSizes)+1)
	}
}

func TestAPullFailsOnAWrongByte(t *testing.T) {
	t.Parallel()
	o, tag, img := testOrigin(t)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	hash, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(o.dir, hash.Hex), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("wrong"), 70_000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := new(pull).run(t.Context(), tag); err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("pull of a damaged layer: %v, want an error about its sha256", err)
	}
}

func TestEveryAddressIsUsedOnce(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{true, false} {
		supernode, nodes := plan(5, "/tmp/x", own)
		seen := map[string]string{}
		for _, n := range append(nodes, supernode) {
			for addr, use := range n.addrs() {
				if before, ok := seen[addr]; ok {
					t.Errorf("own %v: %s is %s's %s and %s", own, addr, n.name, use, before)
				}
				seen[addr] = n.name
			}
		}
		if len(seen) != 5*3+2 {
			t.Errorf("own %v: %d addresses, want 17: %v", own, len(seen), seen)
		}
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	err = checkFree(t.Context(), node{name: "node 3", mirror: addr})
	if err == nil || !strings.Contains(err.Error(), addr+", the mirror address of node 3, is taken") {
		t.Errorf("checkFree = %v, want the address, its use and the node", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := checkFree(t.Context(), node{name: "node 3", mirror: addr}); err != nil {
		t.Errorf("checkFree of a free address = %v", err)
	}
}

func TestAProcessThatEndsIsTold(t *testing.T) {
	t.Parallel()
	p, err := start(t.Context(), "node 1", "/bin/sh", filepath.Join(t.TempDir(), "n"), "-c", "echo no such flag; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	err = p.ready(t.Context(), "http://127.0.0.1:1/readyz")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("ready = %v, want the exit status and the end of the log", err)
	}
}

func TestAProcessIsStopped(t *testing.T) {
	t.Parallel()
	p, err := start(t.Context(), "node 1", "/bin/sh", filepath.Join(t.TempDir(), "n"), "-c", "exec sleep 600")
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	select {
	case <-p.ended:
	default:
		t.Error("stop came back before the process had ended")
	}
}

func TestListenersAreRead(t *testing.T) {
	t.Parallel()
	const tail = " 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0"
	tests := map[string]struct {
		line, addr, want string
	}{
		"its very address":   {"   0: 0B00007F:FDE9 00000000:0000 0A" + tail, "127.0.0.11:65001", "4242"},
		"every address":      {"   0: 00000000:FDE9 00000000:0000 0A" + tail, "127.0.0.11:65001", "4242"},
		"every IPv6 address": {"   0: 00000000000000000000000000000000:FDE9 00000000000000000000000000000000:0000 0A" + tail, "127.0.0.11:65001", "4242"},
		"another address":    {"   0: 0C00007F:FDE9 00000000:0000 0A" + tail, "127.0.0.11:65001", ""},
		"another port":       {"   0: 0B00007F:FDEA 00000000:0000 0A" + tail, "127.0.0.11:65001", ""},
		"a connection":       {"   0: 0B00007F:FDE9 0B00007F:1234 01" + tail, "127.0.0.11:65001", ""},
		"the heading":        {"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", "127.0.0.11:65001", ""},
		"a line cut off":     {"   0: 0B00007F:FDE9", "127.0.0.11:65001", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := listener(tt.line, mustAddr(t, tt.addr)); got != tt.want {
				t.Errorf("listener(%q, %s) = %q, want %q", tt.line, tt.addr, got, tt.want)
			}
		})
	}
}

func TestTheTablesShowEveryNode(t *testing.T) {
	t.Parallel()
	p := &pull{}
	p.total.Store(200 << 20)
	p.bytes.Store(50 << 20)
	p.took.Store(2e9)
	n := node{name: "node 1", host: "127.0.0.11"}
	var live, plain, last bytes.Buffer
	v := view{w: &live, nodes: []node{n}, pulls: []*pull{p}}
	v.draw()
	v.draw()
	if got := live.String(); !strings.Contains(got, "25 %") || !strings.Contains(got, "\x1b[1A") {
		t.Errorf("live table %q: want 25 %% and the cursor moved up over the first table", got)
	}
	v.w = &plain
	v.line()
	if got := plain.String(); got != "node 1 25 %\n" {
		t.Errorf("plain line %q", got)
	}
	if err := table(&last, []outcome{{node: n, pull: p, shares: shares{seed: 1 << 20, peers: 2 << 20, given: 3 << 20}}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"node 1", "127.0.0.11", "2.00 s", "25 MiB/s", "1.0 MiB", "2.0 MiB", "3.0 MiB"} {
		if !strings.Contains(last.String(), want) {
			t.Errorf("final table lacks %q:\n%s", want, last.String())
		}
	}
}

func mustAddr(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
