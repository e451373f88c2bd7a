// Package origin runs the registries that the nodes' images come from: docker-registry with an access log, which is the witness for what it
// was asked.
package origin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/crypto/bcrypt"
	"sigs.k8s.io/yaml"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/authority"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/daemon"
)

// Config of a registry.
type Config struct {
	// Name of its folder in Dir, and in errors.
	Name, Dir string
	// Addr is "ip:port", at an address of this machine.
	Addr string
	// TLS has the certificates of a registry that speaks HTTPS.
	TLS *authority.Files
	// User and Password that it asks for, if any.
	User, Password string
}

// Origin is a registry.
type Origin struct {
	Config
	spec daemon.Spec
}

// New describes a registry. Nothing is started.
func New(c Config) *Origin {
	o := &Origin{Config: c}
	dir := filepath.Join(c.Dir, c.Name)
	o.spec = daemon.Spec{Name: c.Name, Dir: dir, Args: []string{"serve", filepath.Join(dir, "config.yml")}, Ready: o.answers}
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
	if !daemon.Running(o.spec) {
		if err := o.configure(); err != nil {
			return fmt.Errorf("start %s: %w", o.Name, err)
		}
	}
	return daemon.Start(ctx, o.spec)
}

// configure writes docker-registry's configuration: files in one folder, an access log in Apache's combined format on the standard output,
// no other words than warnings. See https://distribution.github.io/distribution/about/configuration/.
func (o *Origin) configure() error {
	type object = map[string]any
	dir := o.spec.Dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	http := object{"addr": o.Addr}
	config := object{
		"version": "0.1",
		"log":     object{"level": "warn", "accesslog": object{"disabled": false}},
		"storage": object{"filesystem": object{"rootdirectory": filepath.Join(dir, "data")}, "cache": object{"blobdescriptor": "inmemory"}},
		"http":    http,
	}
	if o.TLS != nil {
		http["tls"] = object{"certificate": o.TLS.Cert, "key": o.TLS.Key}
	}
	if o.User != "" {
		users := filepath.Join(dir, "htpasswd")
		hash, err := bcrypt.GenerateFromPassword([]byte(o.Password), bcrypt.MinCost)
		if err != nil {
			return err
		}
		if err := os.WriteFile(users, fmt.Appendf(nil, "%s:%s\n", o.User, hash), 0o600); err != nil {
			return err
		}
		config["auth"] = object{"htpasswd": object{"realm": o.Name, "path": users}}
	}
	b, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.yml"), b, 0o600)
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

// URL of the registry.
func (o *Origin) URL() string {
	if o.TLS != nil {
		return "https://" + o.Addr
	}
	return "http://" + o.Addr
}

// Push puts an image into the registry, and returns its name with the tag.
func (o *Origin) Push(ctx context.Context, repository, tag string, img v1.Image) (string, error) {
	options := []name.Option{}
	if o.TLS == nil {
		options = append(options, name.Insecure)
	}
	ref, err := name.NewTag(o.Addr+"/"+repository+":"+tag, options...)
	if err != nil {
		return "", fmt.Errorf("push to %s: %w", o.Name, err)
	}
	transport, err := o.transport()
	if err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	defer transport.CloseIdleConnections()
	user := authn.Anonymous
	if o.User != "" {
		user = &authn.Basic{Username: o.User, Password: o.Password}
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx), remote.WithTransport(transport), remote.WithAuth(user)); err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	return ref.String(), nil
}

// transport is one that no proxy of the environment stands before, and that trusts the registry's authority only.
func (o *Origin) transport() (*http.Transport, error) {
	t := &http.Transport{}
	if o.TLS == nil {
		return t, nil
	}
	ca, err := os.ReadFile(o.TLS.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", o.TLS.CA)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: roots}
	return t, nil
}

// answers reports whether the registry answers, if only that it wants a password.
func (o *Origin) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL()+"/v2/", nil)
	if err != nil {
		return false
	}
	transport, err := o.transport()
	if err != nil {
		return false
	}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	want := http.StatusOK
	if o.User != "" {
		want = http.StatusUnauthorized
	}
	return resp.StatusCode == want
}
