package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

func (b *Builder) docker(ctx context.Context, args ...string) (string, error) {
	return b.Engine.Docker(ctx, command.Command{Args: args, Limit: 10 * time.Minute})
}

// commit imports the root filesystem, lets its own containerd take the control-plane images into its store, and keeps the result as an
// image.
func (b *Builder) commit(ctx context.Context, rootTar, images, image string) (err error) {
	base := image + "-base"
	if _, err := b.docker(ctx, "import", "--change", "ENV container=docker", "--change", "STOPSIGNAL SIGRTMIN+3", rootTar, base); err != nil {
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
	_, err = b.docker(ctx, "commit", "--change", `ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]`, id, image)
	return err
}

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
