// Package hostdirs is the command "dfctl host-dirs": it makes directories of the host and gives them to the user that a program runs as.
package hostdirs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

// NewCommand returns the command.
func NewCommand(streams cli.Streams) *cobra.Command {
	var to owner
	mode := permissions(0o755)
	cmd := &cobra.Command{
		Use:   "host-dirs --owner UID:GID DIR...",
		Short: "Make directories and give them to a user, for an init container",
		Long: "Make directories and give them to a user, for an init container that runs as root before a program that does not.\n\n" +
			"A directory that has another owner is given away with all that is in it; one that has the owner already is not looked into.\n" +
			"No symbolic link is followed: one in the path of DIR is an error, one inside is given away itself. Files with several names,\n" +
			"devices and other file systems inside DIR are left as they are, with a note: who owned DIR before may have put a name of\n" +
			"somebody else's file there. It needs the capabilities CHOWN, FOWNER and DAC_OVERRIDE.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, dirs []string) error {
			if !to.set {
				return cli.Usagef("--owner UID:GID is needed")
			}
			for i, dir := range dirs {
				dirs[i] = path.Clean(dir)
				if !path.IsAbs(dir) || dirs[i] == "/" {
					return cli.Usagef("the directory %q should be an absolute path, and not the root", dir)
				}
			}
			return giveAll(streams, dirs, to, fs.FileMode(mode))
		},
	}
	cmd.Flags().Var(&to, "owner", "`UID:GID` of the user and group that get the directories, as numbers")
	cmd.Flags().Var(&mode, "mode", "`MODE` of the directories themselves, octal; what is in them keeps its own")
	return cmd
}

// giveAll does as much as it can, so that one run tells of everything that is wrong.
func giveAll(streams cli.Streams, dirs []string, to owner, mode fs.FileMode) error {
	var failed []error
	for _, dir := range dirs {
		g := giver{to: to}
		changed, err := g.give(dir, mode)
		if err != nil {
			failed = append(failed, err)
		}
		if changed {
			fmt.Fprintf(streams.Out, "%s belongs to %s now\n", cli.Plain(dir), to.String())
		}
		for _, note := range g.left {
			fmt.Fprintf(streams.Err, "note: left as it is: %s\n", cli.Plain(note))
		}
		if more := g.leftCount - len(g.left); more > 0 {
			fmt.Fprintf(streams.Err, "note: and %d more in %s\n", more, cli.Plain(dir))
		}
	}
	return errors.Join(failed...)
}

// owner is a user and a group by their numbers.
type owner struct {
	uid, gid int
	set      bool
}

// noID is what chown takes for "leave it".
const noID = 1<<32 - 1

// Set implements pflag.Value.
func (o *owner) Set(text string) error {
	user, group, _ := strings.Cut(text, ":")
	uid, err := strconv.ParseUint(user, 10, 32)
	gid, err2 := strconv.ParseUint(group, 10, 32)
	if err != nil || err2 != nil || uid == noID || gid == noID {
		return fmt.Errorf("%q is not two numbers like 65532:65532", text)
	}
	*o = owner{int(uid), int(gid), true}
	return nil
}

// String implements pflag.Value.
func (o *owner) String() string {
	if !o.set {
		return ""
	}
	return fmt.Sprintf("%d:%d", o.uid, o.gid)
}

// Type implements pflag.Value.
func (*owner) Type() string { return "owner" }

// permissions are a directory's mode in octal.
type permissions fs.FileMode

// Set implements pflag.Value.
func (p *permissions) Set(text string) error {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is not an octal number like 0755", text)
	}
	*p = permissions(n)
	return nil
}

// String implements pflag.Value.
func (p *permissions) String() string { return fmt.Sprintf("%04o", uint32(*p)) }

// Type implements pflag.Value.
func (*permissions) Type() string { return "mode" }
