// Package dockernode makes hosts whose container runtime is Docker, beside the nodes of a cluster: each is a container with an engine of its
// own. The engine's programs are this machine's.
package dockernode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// Engine is the Docker engine that runs the hosts.
type Engine interface {
	// Docker runs the docker command against the engine, with c's arguments.
	Docker(ctx context.Context, c command.Command) (string, error)
}

const (
	configDir = "/etc/docker"
	// onHost is where a host finds the engine's special runtime.
	onHost     = "/restrict"
	readyLimit = time.Minute
	interval   = 100 * time.Millisecond
)

// Host is such a host.
type Host struct {
	// Name of the container, and IP in the network of the node that it is like.
	Name, IP string
	engine   Engine
}

// Start runs a host in the network of a node, of that node's image. On an error after the container was made, the host is not nil: for
// Remove.
func Start(ctx context.Context, e Engine, name, node string) (*Host, error) {
	dockerd, err := exec.LookPath("dockerd")
	if err != nil {
		return nil, fmt.Errorf("start host %s: dockerd is missing (Debian: apt-get install docker.io): %w", name, err)
	}
	h := &Host{Name: name, engine: e}
	image, err := h.inspect(ctx, node, "{{.Config.Image}}")
	if err != nil {
		return nil, err
	}
	network, err := h.inspect(ctx, node, "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}")
	if err != nil {
		return nil, err
	}
	config, mounts, err := h.runtime(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{
		"create", "--name", name, "--hostname", name, "--net", network, "--init=false", "--cgroupns=private", "--privileged",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--tmpfs", "/run", "--tmpfs", "/tmp",
		"--volume", "/var", "--volume", "/usr:/usr:ro",
	}
	args = append(append(args, mounts...), "--entrypoint", dockerd, image)
	if _, err := h.docker(ctx, args...); err != nil {
		return nil, fmt.Errorf("start host %s: %w", name, err)
	}
	return h, h.start(ctx, config)
}

// runtime is the configuration of the host's engine, which starts containers as the engine that runs it does: see package engine.
func (h *Host) runtime(ctx context.Context) (config string, mounts []string, err error) {
	const restrict = "restrict"
	path, err := h.docker(ctx, "info", "--format", `{{if eq .DefaultRuntime "`+restrict+`"}}{{(index .Runtimes "`+restrict+`").Path}}{{end}}`)
	if err != nil || path == "" {
		return "{}\n", nil, err
	}
	config = fmt.Sprintf(`{"runtimes": {%[1]q: {"path": %[2]q}}, "default-runtime": %[1]q}`+"\n", restrict, onHost)
	return config, []string{"--volume", path + ":" + onHost + ":ro"}, nil
}

func (h *Host) start(ctx context.Context, config string) error {
	dir, err := os.MkdirTemp("", "dragonfly-e2e-docker-")
	if err != nil {
		return fmt.Errorf("start host %s: %w", h.Name, err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte(config), 0o600); err != nil {
		return fmt.Errorf("start host %s: %w", h.Name, err)
	}
	for _, args := range [][]string{{"cp", dir, h.Name + ":" + configDir}, {"start", h.Name}} {
		if _, err := h.docker(ctx, args...); err != nil {
			return fmt.Errorf("start host %s: %w", h.Name, err)
		}
	}
	if h.IP, err = h.inspect(ctx, h.Name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"); err != nil {
		return err
	}
	return h.ready(ctx)
}

// ready waits for the host's engine.
func (h *Host) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, errors.New("its engine is not ready in time"))
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		_, err := h.Exec(ctx, "docker", "version")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start host %s: %w: %w", h.Name, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

func (h *Host) docker(ctx context.Context, args ...string) (string, error) {
	return h.engine.Docker(ctx, command.New("", args...))
}

func (h *Host) inspect(ctx context.Context, container, format string) (string, error) {
	return h.docker(ctx, "inspect", "--format", format, container)
}

// Exec runs a program on the host and returns its standard output.
func (h *Host) Exec(ctx context.Context, args ...string) (string, error) {
	return h.docker(ctx, append([]string{"exec", h.Name}, args...)...)
}

// Shell runs a script on the host, as root.
func (h *Host) Shell(ctx context.Context, script string) (string, error) {
	return h.engine.Docker(ctx, command.Command{Args: []string{"exec", "--interactive", h.Name, "sh", "-e"}, Stdin: strings.NewReader(script)})
}

// WriteFile writes a file on the host, and its folders.
func (h *Host) WriteFile(ctx context.Context, path, content string) error {
	_, err := h.engine.Docker(ctx, command.Command{
		Args:  []string{"exec", "--interactive", h.Name, "sh", "-c", `mkdir -p "$(dirname "$0")" && cat >"$0"`, path},
		Stdin: strings.NewReader(content),
	})
	return err
}

// Load gives the host's engine the images of an archive, as docker save writes it.
func (h *Host) Load(ctx context.Context, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("load images: %w", err)
	}
	defer f.Close()
	_, err = h.engine.Docker(ctx, command.Command{Args: []string{"exec", "--interactive", h.Name, "docker", "load"}, Stdin: f})
	return err
}

// Logs are what the host's engine and its containers say.
func (h *Host) Logs(ctx context.Context) string {
	const containers = `for c in $(docker ps -aq); do docker inspect --format '{{.Name}} {{.State.Status}}' $c; docker logs $c 2>&1; done`
	said, err := h.docker(ctx, "logs", "--tail=50", h.Name)
	inside, insideErr := h.Shell(ctx, containers)
	return fmt.Sprintf("%s\n%s\n%v", said, inside, errors.Join(err, insideErr))
}

// Remove removes the host with all it holds.
func (h *Host) Remove(ctx context.Context) error {
	if _, err := h.docker(ctx, "rm", "--force", "--volumes", h.Name); err != nil {
		return fmt.Errorf("remove host %s: %w", h.Name, err)
	}
	return nil
}
