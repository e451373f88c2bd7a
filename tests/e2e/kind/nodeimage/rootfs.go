package nodeimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

const (
	// suite is the Debian release whose containerd is 1.6.
	suite         = "bookworm"
	defaultMirror = "http://deb.debian.org/debian"
	// mirrorVariable names another Debian mirror.
	mirrorVariable = "E2E_DEBIAN_MIRROR"
)

// packages of a node: those of kind's images/base/Dockerfile, without clients of network storage, with Debian's containerd, runc and CNI
// plugins.
func packages() []string {
	return []string{
		"systemd", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod", "libseccomp2", "pigz",
		"e2fsprogs", "bash", "ca-certificates", "curl", "jq", "procps", "containerd", "runc", "containernetworking-plugins",
	}
}

// rootfs makes a tar of the Debian part of a node.
func (b *Builder) rootfs(ctx context.Context) (string, error) {
	sum := sha256.Sum256([]byte(strings.Join(packages(), " ")))
	name := fmt.Sprintf("rootfs-%s-%s.tar", suite, hex.EncodeToString(sum[:])[:8])
	return b.Cache.Step(name, func(path string) (err error) {
		dir, err := os.MkdirTemp(filepath.Dir(path), "rootfs-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		if err := debootstrap(ctx, dir); err != nil {
			return err
		}
		return pack(ctx, dir, path)
	})
}

func debootstrap(ctx context.Context, dir string) error {
	mirror := os.Getenv(mirrorVariable)
	if mirror == "" {
		mirror = defaultMirror
	}
	c := command.New("debootstrap", "--variant=minbase", "--include="+strings.Join(packages(), ","), suite, dir, mirror)
	c.Limit = 20 * time.Minute
	if _, err := c.Run(ctx); err != nil {
		return err
	}
	// What packages leave behind that no node needs.
	for _, waste := range []string{"var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man", "usr/share/locale"} {
		if err := emptyFolder(filepath.Join(dir, waste)); err != nil {
			return err
		}
	}
	return nil
}

// emptyFolder removes what is in the folder.
func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// pack and unpack use tar(1), which keeps owners, device nodes and links.
func pack(ctx context.Context, dir, file string) error {
	_, err := command.New("tar", "--numeric-owner", "-C", dir, "-cf", file, ".").Run(ctx)
	return err
}

func unpack(ctx context.Context, file, dir string) error {
	_, err := command.New("tar", "--numeric-owner", "-C", dir, "-xpf", file).Run(ctx)
	return err
}
