package nodeconfig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

// run runs commands on the host, by its own programs. From within a container that needs the host's /run and the right to chroot.
func run(streams cli.Streams) func(ctx context.Context, root, command string) error {
	return func(ctx context.Context, root, command string) error {
		words := strings.Fields(command)
		program := ""
		for _, dir := range []string{"/usr/bin", "/bin"} {
			if _, err := os.Stat(filepath.Join(root, dir, words[0])); err == nil {
				program = filepath.Join(dir, words[0])
				break
			}
		}
		if program == "" {
			return errors.New("the host has no " + words[0])
		}
		cmd := exec.CommandContext(ctx, program, words[1:]...) //nolint:gosec // one of the commands that the plans name
		cmd.Stdout, cmd.Stderr = streams.Err, streams.Err
		if filepath.Clean(root) != "/" {
			cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
			cmd.Dir = "/"
			// systemctl would do nothing where it finds itself in a chroot.
			cmd.Env = append(os.Environ(), "SYSTEMD_IGNORE_CHROOT=1")
		}
		err := cmd.Run()
		if cmd.SysProcAttr != nil && errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("%w: from within a container this needs the capability SYS_CHROOT", err)
		}
		return err
	}
}
