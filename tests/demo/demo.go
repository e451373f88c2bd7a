package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/dragonfly-kube/dragonfly/tests/cluster"
)

// maxCopies is how much of the image the registry may send, as a share of the image: everything once, and a little for requests
// that overlap.
const maxCopies = 1.02

type demo struct {
	options
	dir      string
	w        io.Writer
	terminal bool

	origin *origin        // nil for a real image
	source name.Reference // the image where it comes from
	digest v1.Hash        // of its manifest, where it is known beforehand
}

func (d *demo) run(ctx context.Context) error {
	const firstAddress = 10 // 127.0.0.10: far from what else runs on a developer's machine
	plan := cluster.NewPlan(ctx, firstAddress, d.daemons, d.dir)
	if err := plan.CheckFree(ctx); err != nil {
		return err
	}
	upstream, err := d.prepare(ctx)
	if d.origin != nil {
		defer d.origin.Close()
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(d.w, "starting one supernode on %s and %d dfdaemons on %s to %s\n", plan.Supernode.Admin, d.daemons,
		plan.Nodes[0].Mirror, plan.Nodes[len(plan.Nodes)-1].Mirror)
	c, err := cluster.Start(ctx, cluster.Config{Plan: plan, Bin: d.bin, Dir: d.dir, Logs: d.dir, Registry: upstream})
	if err != nil {
		return err
	}
	defer c.Stop()
	outcomes, err := d.pullAll(ctx, c)
	if err != nil {
		return err
	}
	if err := d.conclude(outcomes); err != nil || !d.keep {
		return err
	}
	d.inviteToLook(c)
	<-ctx.Done()
	return nil
}

// prepare makes the image and its registry, or finds out where the real one is, and returns the URL for the dfdaemons to mirror.
func (d *demo) prepare(ctx context.Context) (upstream string, err error) {
	if d.image != "" {
		if d.source, err = name.ParseReference(d.image); err != nil {
			return "", fmt.Errorf("DEMO_IMAGE: %w", err)
		}
		registry := d.source.Context().Registry
		fmt.Fprintf(d.w, "the image is %s\n", d.source.Name())
		return registry.Scheme() + "://" + registry.RegistryStr(), nil
	}
	layers := filepath.Join(d.dir, "layers")
	if err := os.Mkdir(layers, 0o755); err != nil {
		return "", err
	}
	img, err := makeImage(ctx, layers, layerSizes)
	if err != nil {
		return "", err
	}
	if d.digest, err = img.Digest(); err != nil {
		return "", err
	}
	if d.origin, err = startOrigin(ctx, "127.0.0.1", layers, d.link<<20); err != nil {
		return "", err
	}
	if d.source, err = d.origin.push(ctx, "library/demo", img); err != nil {
		return "", err
	}
	fmt.Fprintf(d.w, "the image is %s: %d layers, %s\nits registry can send %d MiB/s in all\n", d.source, len(layerSizes),
		size(sum(layerSizes)), d.link)
	return "http://" + d.origin.addr, nil
}

// pullAll pulls the image through every node's mirror at the same moment.
func (d *demo) pullAll(ctx context.Context, c *cluster.Cluster) ([]outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.Watch(ctx, cancel)

	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, d.source.Context())
	if err != nil {
		return nil, fmt.Errorf("find the credentials for %s: %w", d.source.Context(), err)
	}
	pulls := make([]*pull, len(c.Nodes))
	g := errgroup.Group{}
	for i, n := range c.Nodes {
		ref, err := d.through(n)
		if err != nil {
			return nil, err
		}
		pulls[i] = &pull{}
		g.Go(func() error {
			if err := pulls[i].run(ctx, ref, auth); err != nil {
				err = fmt.Errorf("%s: %w", n.Name, err)
				cancel(err)
				return err
			}
			return nil
		})
	}
	viewCtx, stopView := context.WithCancel(ctx)
	viewed := make(chan struct{})
	go func() {
		defer close(viewed)
		(&view{w: d.w, terminal: d.terminal, nodes: c.Nodes, pulls: pulls, origin: d.origin}).run(viewCtx)
	}()
	err = g.Wait()
	stopView()
	<-viewed
	if err != nil {
		return nil, context.Cause(ctx)
	}
	outcomes := make([]outcome, len(c.Nodes))
	for i, n := range c.Nodes {
		s, err := n.Status(ctx)
		if err != nil {
			return nil, err
		}
		outcomes[i] = outcome{node: n, pull: pulls[i], received: s.Received, sent: s.Sent}
	}
	return outcomes, nil
}

// through is the image's name at a node's mirror.
func (d *demo) through(n cluster.Node) (name.Reference, error) {
	repository, err := name.NewRepository(n.Mirror+"/"+d.source.Context().RepositoryStr(), name.Insecure)
	if err != nil {
		return nil, err
	}
	if digest, ok := d.source.(name.Digest); ok {
		return repository.Digest(digest.DigestStr()), nil
	}
	return repository.Tag(d.source.Identifier()), nil
}

// conclude prints the tables and what was proved.
func (d *demo) conclude(outcomes []outcome) error {
	fmt.Fprintln(d.w)
	if err := table(d.w, outcomes); err != nil {
		return err
	}
	first := outcomes[0].pull
	var slowest time.Duration
	var all, fromPeers int64
	for _, o := range outcomes {
		if want := d.digest; want != (v1.Hash{}) && o.pull.digest != want || o.pull.digest != first.digest {
			return fmt.Errorf("%s got the manifest %s, want %s", o.node.Name, o.pull.digest, first.digest)
		}
		slowest = max(slowest, time.Duration(o.pull.took.Load()))
		all += o.pull.bytes.Load()
		fromPeers += o.received.FromPeers
	}
	fmt.Fprintf(d.w, "\nproved: %d clients pulled %d layers (%s) each in %.2f s; every one of %s matched its sha256; %s came from peers\n",
		len(outcomes), first.layers.Load(), size(first.total.Load()), slowest.Seconds(), size(all), percent(fromPeers, all))
	if d.origin == nil {
		return nil
	}
	requests, bytes, other := d.origin.totals()
	copies := float64(bytes) / float64(first.total.Load())
	fmt.Fprintf(d.w, "proved: the registry sent %.3f copies of the image in %d blob requests (%d for manifests and the like);\n"+
		"        without Dragonfly it would send %d copies, %.1f s on its link\n", copies, requests, other, len(outcomes),
		float64(all)/float64(d.link<<20))
	if copies > maxCopies {
		return errors.New("the registry should send the image once")
	}
	return nil
}

// inviteToLook says what is there to see.
func (d *demo) inviteToLook(c *cluster.Cluster) {
	fmt.Fprintf(d.w, "\nall is still running; Ctrl-C stops it and removes %s\n", d.dir)
	fmt.Fprintf(d.w, "  supernode  metrics http://%s/metrics\n", c.Supernode.Admin)
	for _, n := range c.Nodes {
		fmt.Fprintf(d.w, "  %-9s  mirror http://%s  status http://%s/v1/status\n", n.Name, n.Mirror, n.Admin)
	}
	fmt.Fprintf(d.w, "  try        curl http://%s/v2/%s/manifests/%s\n", c.Nodes[0].Mirror, d.source.Context().RepositoryStr(), d.source.Identifier())
}

func sum(sizes []int64) (n int64) {
	for _, s := range sizes {
		n += s
	}
	return n
}
