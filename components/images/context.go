package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dragonfly-kube/dragonfly/components/images/rootcerts"
)

// spec is an image: the folder with its Dockerfile, and what its context holds besides base/.
type spec struct {
	name    string
	program string   // the package in cmd/, and the file in bin/
	links   []string // in bin/, to the program
	empty   []string // folders
	files   []string // of the Dockerfile's folder
}

var specs = []spec{
	{
		name: "supernode", program: "supernode", files: []string{"dragonfly.conf"},
		empty: []string{"writable/repo", "writable/logs"},
	},
	{
		name: "dfdaemon", program: "dragonfly", links: []string{"dfdaemon", "dfget", "dfctl"},
		empty: []string{"writable/run/dragonfly", "writable/lib/dragonfly/repo"},
	},
}

// The users and groups of the images. The programs run as the second.
const (
	users  = "root:x:0:0:root:/:/sbin/nologin\ndragonfly:x:65532:65532:dragonfly:/:/sbin/nologin\n"
	groups = "root:x:0:\ndragonfly:x:65532:\n"
)

// versionVariable is the path of the variable that holds the version.
const versionVariable = "github.com/dragonfly-kube/dragonfly/components/version.version"

func (s spec) dockerfile() string { return filepath.Join("components", s.name, "Dockerfile") }

// context is the folder that an image of one platform is made from.
func (o *options) context(s spec, platform string) string {
	return filepath.Join(o.out, "context", s.name, strings.ReplaceAll(platform, "/", "-"))
}

// contexts makes the contexts of one image anew.
func (o *options) contexts(ctx context.Context, s spec) error {
	certs, err := rootcerts.PEM()
	if err != nil {
		return err
	}
	for _, platform := range o.platforms {
		dir := o.context(s, platform)
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("make the context: %w", err)
		}
		files := map[string][]byte{
			"base/etc/ssl/certs/ca-certificates.crt": certs, "base/etc/passwd": []byte(users), "base/etc/group": []byte(groups),
		}
		for _, name := range s.files {
			if files[name], err = os.ReadFile(filepath.Join("components", s.name, name)); err != nil {
				return fmt.Errorf("make the context: %w", err)
			}
		}
		if err := fill(dir, files, append(slices.Clone(s.empty), "bin")); err != nil {
			return fmt.Errorf("make the context: %w", err)
		}
		if err := o.compile(ctx, s, platform, filepath.Join(dir, "bin")); err != nil {
			return err
		}
	}
	return nil
}

// fill makes files and empty folders with the same modes whatever the umask.
func fill(dir string, files map[string][]byte, empty []string) error {
	for _, name := range empty {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o755) //nolint:gosec // everybody may read what is in an image
		}
		return os.Chmod(path, 0o644) //nolint:gosec // as above
	})
}

// compile builds the program into bin, with nothing in it that depends on the folder of the sources.
func (o *options) compile(ctx context.Context, s spec, platform, bin string) error {
	goos, arch, ok := strings.Cut(platform, "/")
	if !ok {
		return fmt.Errorf("platform %q: want OS/ARCHITECTURE, as linux/amd64", platform)
	}
	file := filepath.Join(bin, s.program)
	cmd := exec.CommandContext(ctx, "go", "build", "-p", fmt.Sprint(o.jobs), "-trimpath", "-buildvcs=false", "-tags", "node", //nolint:gosec // the arguments are ours
		"-ldflags", "-s -w -X "+versionVariable+"="+o.version, "-o", file, "./cmd/"+s.program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+arch, "GOFLAGS=", "GOAMD64=", "GOARM64=", "GOEXPERIMENT=")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compile cmd/%s for %s: %w", s.program, platform, err)
	}
	if err := os.Chmod(file, 0o755); err != nil { //nolint:gosec // a program
		return fmt.Errorf("compile cmd/%s: %w", s.program, err)
	}
	for _, link := range s.links {
		if err := os.Symlink(s.program, filepath.Join(bin, link)); err != nil {
			return fmt.Errorf("link %s: %w", link, err)
		}
	}
	return nil
}
