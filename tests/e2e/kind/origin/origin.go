// Package origin runs the registry that the nodes' images come from: docker-registry with an access log, which is the witness for what it
// was asked.
package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/daemon"
)

// configuration of docker-registry: files in one folder, an access log in Apache's combined format on the standard output, no other words
// than warnings. See https://distribution.github.io/distribution/about/configuration/.
const configuration = `version: 0.1
log: {level: warn, accesslog: {disabled: false}}
storage:
  filesystem: {rootdirectory: %q}
  cache: {blobdescriptor: inmemory}
http: {addr: %q}
`

// Port of the registry.
const Port = "5000"

// Origin is a registry that serves plain HTTP.
type Origin struct {
	// Addr is "ip:port".
	Addr string
	spec daemon.Spec
}

// New describes the registry at an address of this machine, with its files in dir/registry. Nothing is started.
func New(dir, ip string) *Origin {
	o := &Origin{Addr: ip + ":" + Port}
	dir = filepath.Join(dir, "registry")
	o.spec = daemon.Spec{Name: "registry", Dir: dir, Args: []string{"serve", filepath.Join(dir, "config.yml")}, Ready: o.answers}
	for _, kv := range os.Environ() {
		// The registry takes settings from such variables.
		if !strings.HasPrefix(kv, "REGISTRY_") && !strings.HasPrefix(kv, "OTEL_") {
			o.spec.Env = append(o.spec.Env, kv)
		}
	}
	return o
}

// Start starts the registry if it does not run; what was pushed to an earlier one is there.
func (o *Origin) Start(ctx context.Context) error {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		return errors.New("docker-registry is missing (Debian: apt-get install docker-registry)")
	}
	o.spec.Program = program
	if err := os.MkdirAll(o.spec.Dir, 0o755); err != nil {
		return fmt.Errorf("start the registry: %w", err)
	}
	config := fmt.Appendf(nil, configuration, filepath.Join(o.spec.Dir, "data"), o.Addr)
	if err := os.WriteFile(filepath.Join(o.spec.Dir, "config.yml"), config, 0o600); err != nil {
		return fmt.Errorf("start the registry: %w", err)
	}
	return daemon.Start(ctx, o.spec)
}

// Stop ends the registry and keeps what it holds.
func (o *Origin) Stop() error { return daemon.Stop(o.spec) }

// Remove ends the registry and removes what it holds.
func (o *Origin) Remove() error {
	if err := o.Stop(); err != nil {
		return err
	}
	return os.RemoveAll(o.spec.Dir)
}

// Logs are the files that tell what happened.
func (o *Origin) Logs() []string { return []string{o.spec.LogFile()} }

// Push puts an image into the registry, and returns its name with the tag.
func (o *Origin) Push(ctx context.Context, repository, tag string, img v1.Image) (string, error) {
	ref, err := name.NewTag(o.Addr+"/"+repository+":"+tag, name.Insecure)
	if err != nil {
		return "", fmt.Errorf("push to the origin: %w", err)
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	return ref.String(), nil
}

// answers uses a client of its own, which no proxy of the environment stands before.
func (o *Origin) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.Addr+"/v2/", nil)
	if err != nil {
		return false
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
