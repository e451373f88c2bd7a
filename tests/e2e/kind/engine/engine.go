// Package engine gives the tests a Docker engine: the machine's own where one answers, else one that is started for them, with data,
// sockets and records in a folder of its own.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/daemon"
)

// Engine is a Docker engine.
type Engine struct {
	// Host is its address as DOCKER_HOST has it; "" means the docker command's default.
	Host string
	own  *daemon.Spec
}

// Config of an engine that has to be started.
type Config struct {
	// Dir is the folder for all that is its own.
	Dir string
	// Root is the folder of this repository.
	Root string
	Log  *slog.Logger
}

// Find returns the engine of an earlier Start in the folder, or the machine's own, or nil.
func Find(ctx context.Context, c Config) (*Engine, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, errors.New("the docker command is missing (Debian: apt-get install docker.io)")
	}
	own := c.own()
	if e := own.engine(); daemon.Running(*e.own) {
		return e, daemon.Start(ctx, *e.own)
	}
	if e := (&Engine{Host: os.Getenv("DOCKER_HOST")}); e.answers(ctx) {
		return e, nil
	}
	return nil, nil
}

// Start finds an engine or starts one, which Stop or a later process's Stop ends.
func Start(ctx context.Context, c Config) (*Engine, error) {
	if e, err := Find(ctx, c); e != nil || err != nil {
		return e, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("no Docker engine answers, and only root can start one: start Docker, or run this as root")
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		return nil, errors.New("no Docker engine answers, and dockerd is missing (Debian: apt-get install docker.io)")
	}
	own := c.own()
	for _, dir := range []string{own.dir, own.run} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("start an engine: %w", err)
		}
	}
	if err := os.WriteFile(own.config(), []byte("{}\n"), 0o600); err != nil {
		return nil, fmt.Errorf("start an engine: %w", err)
	}
	if lacks, err := lacksSysResource(); err != nil {
		return nil, err
	} else if lacks {
		c.Log.Info("root lacks CAP_SYS_RESOURCE here: containers start through a runtime that does without")
		if err := own.restrict(ctx, c.Root); err != nil {
			return nil, err
		}
	}
	c.Log.Info("starting a Docker engine", "socket", own.socket(), "log", own.engine().own.LogFile())
	e := own.engine()
	return e, daemon.Start(ctx, *e.own)
}

// Own reports whether the engine was started by this package.
func (e *Engine) Own() bool { return e.own != nil }

// Stop ends the engine if it was started by this package. Images stay in its folder for the next one.
func (e *Engine) Stop() error {
	if e.own == nil {
		return nil
	}
	return daemon.Stop(*e.own)
}

// Docker runs the docker command against the engine, with the arguments of c.
func (e *Engine) Docker(ctx context.Context, c command.Command) (string, error) {
	c.Program = "docker"
	if e.Host != "" {
		c.Env = append(c.Env, "DOCKER_HOST="+e.Host)
	}
	return c.Run(ctx)
}

func (e *Engine) answers(ctx context.Context) bool {
	_, err := e.Docker(ctx, command.Command{Args: []string{"version"}, Limit: 10 * time.Second})
	return err == nil
}

// Logs are the files that tell what happened.
func (e *Engine) Logs() []string {
	if e.own == nil {
		return nil
	}
	return []string{e.own.LogFile()}
}

// files of an engine of our own. run is for sockets, whose paths must be short.
type files struct{ dir, run string }

func (c Config) own() files {
	return files{dir: filepath.Join(c.Dir, "engine"), run: "/run/dragonfly-e2e"}
}

func (f files) socket() string  { return filepath.Join(f.run, "docker.sock") }
func (f files) config() string  { return filepath.Join(f.dir, "daemon.json") }
func (f files) runtime() string { return filepath.Join(f.dir, "restrict") }

func (f files) engine() *Engine {
	e := &Engine{Host: "unix://" + f.socket()}
	args := []string{
		"--config-file", f.config(), "--data-root", filepath.Join(f.dir, "data"), "--exec-root", filepath.Join(f.run, "exec"),
		"--pidfile", filepath.Join(f.run, "docker.pid"), "--host", e.Host,
		// Nodes have a network of their own. Another engine on this machine may have docker0.
		"--bridge", "none",
	}
	if _, err := os.Stat(f.runtime()); err == nil {
		args = append(args, "--add-runtime", "restrict="+f.runtime(), "--default-runtime", "restrict")
	}
	e.own = &daemon.Spec{Name: "dockerd", Dir: f.dir, Program: "dockerd", Args: args, Ready: e.answers}
	return e
}

// restrict builds the runtime of that name.
func (f files) restrict(ctx context.Context, root string) error {
	build := command.New("go", "build", "-trimpath", "-o", f.runtime(), "./tests/e2e/kind/engine/restrict")
	build.Dir, build.Env = root, []string{"CGO_ENABLED=0"}
	_, err := build.Run(ctx)
	return err
}
