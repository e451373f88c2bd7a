package system

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/origin"
	"github.com/dragonfly-kube/dragonfly/tests/process"
)

//go:embed torrent.py
var torrentScript []byte

// torrent has a libtorrent peer on every host. The one on the center has the content from the start, which the others of this package have to
// fetch. Every peer is told of all that are before it, as a tracker would.
type torrent struct {
	Site
	procs []*process.Process // the seed first
}

func (t *torrent) path(name string) string { return filepath.Join(t.Dir, name) }

func (t *torrent) Start(ctx context.Context, blobs []origin.Blob) error {
	python, err := exec.LookPath("/usr/bin/python3") // Debian's, for which the package is
	if err != nil || exec.CommandContext(ctx, python, "-c", "import libtorrent").Run() != nil {
		return Missing("python3-libtorrent")
	}
	content := filepath.Join(t.path("seed"), "content")
	if err := os.MkdirAll(content, 0o755); err != nil {
		return err
	}
	for _, b := range blobs {
		if err := os.Link(t.Origin.File(b), filepath.Join(content, b.Hex)); err != nil {
			return fmt.Errorf("give the seed its content: %w", err)
		}
	}
	if err := os.WriteFile(t.path("torrent.py"), torrentScript, 0o600); err != nil {
		return err
	}
	if err := t.launch(ctx, python, "seed", t.Center, "seed", nil); err != nil {
		return err
	}
	peers := []string{t.Net.Addr(t.Center)}
	for i, host := range t.Nodes {
		if err := t.launch(ctx, python, node(i), host, "leech", peers); err != nil {
			return err
		}
		peers = append(peers, t.Net.Addr(host))
	}
	return nil
}

func node(i int) string { return fmt.Sprintf("node-%d", i+1) }

func (t *torrent) launch(ctx context.Context, python, name string, host int, role string, peers []string) error {
	if err := os.MkdirAll(t.path(name), 0o755); err != nil {
		return err
	}
	args := slices.Concat(t.Net.Via(host),
		[]string{python, t.path("torrent.py"), role, t.path("torrent"), t.path(name), t.Net.Addr(host), t.path("go-" + name)}, peers)
	p, err := process.Start(process.Spec{
		Name: "libtorrent, " + name, Program: args[0], Args: args[1:], Log: filepath.Join(t.Logs, "torrent-"+name+".log"), Stdout: t.path(name + ".out"),
	})
	if err != nil {
		return err
	}
	t.procs = append(t.procs, p)
	return p.ReadyWhen(ctx, func(context.Context) bool { return len(t.said(name)) > 0 })
}

// said are the lines that a peer has printed so far.
func (t *torrent) said(name string) []string {
	b, err := os.ReadFile(t.path(name + ".out"))
	if err != nil {
		return nil
	}
	lines := strings.Split(string(b), "\n")
	return lines[:len(lines)-1] // the last one is not complete
}

func (t *torrent) Pull(ctx context.Context, i int) error {
	name := node(i)
	if err := os.WriteFile(t.path("go-"+name), nil, 0o600); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if lines := t.said(name); len(lines) > 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.procs[i+1].Ended():
			return t.procs[i+1].Died()
		case <-tick.C:
		}
	}
}

func (t *torrent) Cost(context.Context) (Cost, error) {
	c := Cost{Seed: -1, Peers: -1, Wasted: -1}
	for _, p := range t.procs {
		c.Processes = append(c.Processes, p.PID())
	}
	return c, nil
}

func (t *torrent) Stop() {
	var wg sync.WaitGroup
	for _, p := range t.procs {
		wg.Go(p.Stop)
	}
	wg.Wait()
}
