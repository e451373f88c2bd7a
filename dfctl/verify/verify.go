// Package verify is the command "dfctl verify": pulls an image through the node's dfdaemon as a container runtime does, checks every
// byte, and tells where the bytes came from.
package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/spf13/cobra"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/dfctl/ask"
	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

// options of the command.
type options struct {
	mirror, platform string
	minP2P           float64
	timeout          time.Duration
	output           cli.Output
	ask              ask.Config
}

// statusPatience is the longest wait for dfdaemon's status.
const statusPatience = 5 * time.Second

// NewCommand returns the command.
func NewCommand(streams cli.Streams) *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "verify IMAGE",
		Short: "Pull an image through dfdaemon, check every byte, and show where it came from",
		Long: "Pull an image through dfdaemon, check every byte, and show where it came from. Nothing is kept but what dfdaemon keeps.\n\n" +
			"The credentials are those of docker login and podman login (DOCKER_CONFIG, REGISTRY_AUTH_FILE).\n" +
			"The exit code is 0 when the image is whole, 1 when it is not or the registry refuses it, 3 when no dfdaemon answers, and 4 when\n" +
			"less than --min-p2p came from the swarm.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ask.Timeout = statusPatience
			client, err := o.ask.Client(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			r, err := o.run(cmd.Context(), args[0], client)
			if err != nil {
				return err
			}
			if err := o.output.Write(streams.Out, r, text()); err != nil {
				return err
			}
			return o.verdict(r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.mirror, "mirror", fmt.Sprintf("http://127.0.0.1:%d", api.MirrorPort), "`URL` of dfdaemon's registry mirror")
	f.Float64Var(&o.minP2P, "min-p2p", 0, "`PERCENT` of the bytes that has to come from the swarm or from what the node holds of it")
	f.StringVar(&o.platform, "platform", "", "`OS/ARCHITECTURE` of the image, or all; unset means linux and this machine's architecture")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "longest time for everything")
	f.StringVar(&o.ask.Socket, "socket", api.SocketPath, "Unix socket `FILE` of the host's dfdaemon, which tells what it received")
	f.StringVar(&o.ask.AdminAddr, "admin-addr", fmt.Sprintf("127.0.0.1:%d", api.AdminPort),
		"`HOST:PORT` of dfdaemon's admin port, asked where the socket does not answer")
	o.output.Flag(f)
	return cmd
}

// run pulls the image.
func (o *options) run(ctx context.Context, image string, client *ask.Client) (*Report, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return nil, cli.Usagef("%q is no name of an image: %w", image, err)
	}
	w := &walk{repository: ref.Context(), manifests: map[v1.Hash]bool{}, blobs: map[v1.Hash]v1.Descriptor{}}
	if w.platform, err = o.check(); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one
	defer transport.CloseIdleConnections()
	m, err := newMirror(o.mirror, ref.Context().Registry, transport)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done in %v (--timeout)", o.timeout))
	defer cancel()
	w.options = []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(m), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Steps: 2}),
	}
	before := received(ctx, client)
	start := time.Now()
	digest, err := w.manifest(ref, nil, 0)
	if err == nil {
		err = w.pull(ctx)
	}
	if err != nil {
		return nil, o.explain(ctx, image, err)
	}
	r := &Report{
		Image: image, Digest: digest.String(), Mirror: o.mirror, Platform: o.platform, Manifests: len(w.manifests), Blobs: len(w.order),
		Bytes: w.pulled.Load(), Seconds: time.Since(start).Seconds(), Answers: m.counts(),
	}
	if after := received(ctx, client); before != nil && after != nil {
		r.Received = &api.Shares{
			FromSeed: after.FromSeed - before.FromSeed, FromPeers: after.FromPeers - before.FromPeers, FromOrigin: after.FromOrigin - before.FromOrigin,
		}
	}
	r.P2PPercent = percent(r.Answers, r.Received)
	return r, nil
}

// check completes the options and returns the platform that is wanted, nil for all.
func (o *options) check() (*v1.Platform, error) {
	if o.minP2P < 0 || o.minP2P > 100 || o.timeout <= 0 {
		return nil, cli.Usagef("options \"min-p2p\" and \"timeout\": want a percentage and a time over 0, got %v and %v", o.minP2P, o.timeout)
	}
	if o.platform == "all" {
		return nil, nil
	}
	if o.platform == "" {
		o.platform = "linux/" + runtime.GOARCH
	}
	p, err := v1.ParsePlatform(o.platform)
	if err != nil || p.Architecture == "" {
		return nil, cli.Usagef("option \"platform\": %q is no OS/ARCHITECTURE, want for example linux/amd64, or all", o.platform)
	}
	return p, nil
}

// received is what dfdaemon has received since it started, nil where it does not tell.
func received(ctx context.Context, client *ask.Client) *api.Shares {
	d, err := client.Daemon(ctx)
	if err != nil {
		return nil
	}
	return &d.Received
}

// explain says what an error means, where that is not what it says.
func (o *options) explain(ctx context.Context, image string, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("verify %s: %w (%w)", image, context.Cause(ctx), err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return &cli.Error{Code: cli.ExitNothing, Err: fmt.Errorf("verify %s: %w; is dfdaemon running on this node, and is its mirror at %s? "+
			"dfctl status tells more", image, err, o.mirror)}
	}
	return fmt.Errorf("verify %s: %w", image, err)
}

// verdict is the exit code's error for an image that is whole.
func (o *options) verdict(r *Report) error {
	if r.P2PPercent < o.minP2P {
		return &cli.Error{Code: cli.ExitDegraded, Err: fmt.Errorf("%.1f %% came from the swarm, want %v %% (--min-p2p); "+
			"dfctl status tells whether dfdaemon reaches its supernodes", r.P2PPercent, o.minP2P)}
	}
	return nil
}
