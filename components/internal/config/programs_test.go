package config_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragonfly-kube/dragonfly/components/dfdaemon"
	"github.com/dragonfly-kube/dragonfly/components/dfget"
	"github.com/dragonfly-kube/dragonfly/components/internal/config"
	"github.com/dragonfly-kube/dragonfly/components/supernode"
)

func commands() map[string]*cobra.Command {
	return map[string]*cobra.Command{"supernode": supernode.NewCommand(), "dfdaemon": dfdaemon.NewCommand(), "dfget": dfget.NewCommand()}
}

func TestOneProgramsVariablesAreNoTyposInAnother(t *testing.T) {
	t.Parallel()
	var all []string
	for _, cmd := range commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { all = append(all, config.EnvName(f.Name)) })
	}
	for name, cmd := range commands() {
		var foreign []string
		for _, v := range all {
			option := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(v, "DRAGONFLY_"), "_", "-"))
			if cmd.Flags().Lookup(option) == nil {
				foreign = append(foreign, v+"=x")
			}
		}
		warnings, err := config.Load(cmd.Flags(), config.Sources{Program: name, Environ: foreign})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(foreign) == 0 || len(warnings) != len(foreign) {
			t.Errorf("%s: got %d warnings for %d variables of other programs", name, len(warnings), len(foreign))
		}
	}
}

func TestDefaultsReadBack(t *testing.T) {
	t.Parallel()
	for name, cmd := range commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			def := f.DefValue
			if list, ok := f.Value.(pflag.SliceValue); ok {
				if len(list.GetSlice()) > 0 {
					t.Errorf("%s: --%s has a list as default, which no file could empty", name, f.Name)
				}
				return
			}
			if err := f.Value.Set(def); err != nil || f.Value.String() != def {
				t.Errorf("%s: --%s: the default %q reads back as %q, %v", name, f.Name, def, f.Value, err)
			}
		})
	}
}
