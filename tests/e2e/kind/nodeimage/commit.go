package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

func (b *Builder) docker(ctx context.Context, args ...string) (string, error) {
	return b.Engine.Docker(ctx, command.Command{Args: args, Limit: 10 * time.Minute})
}

// commit imports the root filesystem, lets its own containerd take the control-plane images into its store, and keeps the result as an
// image.
func (b *Builder) commit(ctx context.Context, rootTar, images, node string) (err error) {
	base := node + "-base"
	if err := b.loadBase(ctx, rootTar, base); err != nil {
		return err
	}
	id, err := b.docker(ctx, "run", "--detach", "--network", "none", "--entrypoint", "/usr/local/bin/containerd", base)
	if err != nil {
		return err
	}
	defer func() {
		// The removal must happen when ctx is over, too.
		_, rmErr := b.docker(context.WithoutCancel(ctx), "rm", "--force", "--volumes", id)
		err = errors.Join(err, rmErr)
	}()
	if err := b.ready(ctx, id); err != nil {
		return err
	}
	f, err := os.Open(images)
	if err != nil {
		return err
	}
	defer f.Close()
	load := command.New("", "exec", "--interactive", id, "ctr", "--namespace=k8s.io", "images", "import", "--all-platforms", "--no-unpack",
		"--digests", "-")
	load.Stdin = f
	if _, err := b.Engine.Docker(ctx, load); err != nil {
		return err
	}
	if _, err := b.docker(ctx, "stop", "--time", "30", id); err != nil {
		return err
	}
	_, err = b.docker(ctx, "commit", "--change", fmt.Sprintf("ENTRYPOINT [%q, %q]", entrypoint()[0], entrypoint()[1]), id, node)
	return err
}

// loadBase makes an image of the root filesystem. (docker import can't set the stop signal.)
func (b *Builder) loadBase(ctx context.Context, rootTar, base string) (err error) {
	tag, err := name.NewTag(base)
	if err != nil {
		return err
	}
	img, err := image([]string{rootTar}, v1.Config{
		// systemd looks for it: https://systemd.io/CONTAINER_INTERFACE/
		Env: []string{"container=docker", searchPath},
		// On SIGTERM it would start anew.
		StopSignal: "SIGRTMIN+3",
		Entrypoint: entrypoint(),
	})
	if err != nil {
		return err
	}
	archive := rootTar + ".image"
	if err := tarball.WriteToFile(archive, tag, img); err != nil {
		return err
	}
	_, err = b.docker(ctx, "load", "--input", archive)
	return err
}

func entrypoint() []string { return []string{"/usr/local/bin/entrypoint", "/sbin/init"} }

// ready waits until the containerd in the container answers.
func (b *Builder) ready(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := b.docker(ctx, "exec", id, "ctr", "version")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			logs, _ := b.docker(context.WithoutCancel(ctx), "logs", id)
			return fmt.Errorf("containerd in the node image does not answer: %w\n%s", err, logs)
		case <-tick.C:
		}
	}
}
