package config

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/version"
)

// Program is a program as its command line shows it.
type Program struct {
	// Name is the program's, and that of its section in a configuration file.
	Name string
	// Short is one line, Long what --help says before the options, Tail what it says behind them.
	Short, Long, Tail string
	// Flags defines the options. Those that all programs share are added: config, log-level, log-format, help and version.
	Flags func(*pflag.FlagSet)
	// Log holds the defaults of log-level and log-format.
	Log Log
	// LogFile adds the option log-dir.
	LogFile bool
	// Run runs the program once all options have their values, until it is done or ctx ends.
	Run func(ctx context.Context, streams Streams, log *slog.Logger) error
}

// Streams are a program's standard streams: Out is for data, Err for talk and the log.
type Streams struct{ Out, Err io.Writer }

// UsageError is an error in how the program was called: a flag, a variable, a configuration file.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// ExitCode is what the process exits with.
func (*UsageError) ExitCode() int { return 2 }

// Command returns the program's command line. It reads the environment and /etc/dragonfly.conf when it is executed.
func Command(p Program) *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:                   p.Name + " [option...]",
		Short:                 p.Short,
		Long:                  p.Short + "\n\n" + p.Long,
		Version:               version.Get().String(),
		SilenceErrors:         true, // main prints them
		SilenceUsage:          true, // 40 lines of options would hide the error
		DisableFlagsInUseLine: true,
		DisableAutoGenTag:     true,
		CompletionOptions:     cobra.CompletionOptions{DisableDefaultCmd: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &UsageError{fmt.Errorf("unexpected argument %q: every option needs its name, see %s --help", args[0], p.Name)}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	p.Flags(flags)
	flags.StringVar(&file, fileOption, "", "configuration `FILE`, YAML if it ends in .yaml or .yml, else INI; "+
		api.ConfigPath+" is read if it exists and no other is named")
	p.Log.Flags(flags)
	if p.LogFile {
		p.Log.DirFlag(flags, p.Name)
	}
	document(flags)
	cmd.SetUsageTemplate(usageTemplate(p.Tail))
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &UsageError{err} })
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, file, err := prepare(cmd, &p)
		if err != nil {
			return &UsageError{err}
		}
		defer file.Close()
		return p.Run(cmd.Context(), Streams{Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()}, log)
	}
	return cmd
}

// prepare reads the other sources of the options, and makes the logger they ask for.
func prepare(cmd *cobra.Command, p *Program) (*slog.Logger, io.Closer, error) {
	warnings, err := Load(cmd.Flags(), Sources{Program: p.Name, Environ: os.Environ(), DefaultFile: api.ConfigPath})
	if err != nil {
		return nil, nil, err
	}
	log, file, err := p.Log.New(cmd.ErrOrStderr(), p.Name)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range warnings {
		log.Warn("configuration", "warning", w)
	}
	return log, file, nil
}

// document adds each option's variable to its help.
func document(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if settable(f) {
			f.Usage += " [" + EnvName(f.Name) + "]"
		}
	})
}

func usageTemplate(tail string) string {
	if tail != "" {
		tail = "\n" + tail
	}
	return `Usage:
  {{.UseLine}}

Options:
{{.LocalFlags.FlagUsagesWrapped 120 | trimTrailingWhitespaces}}

An option comes from its flag, else from the environment variable in [brackets], else from the configuration file,
where its key is the flag's name without the hyphens before it. Sizes take KiB, MiB, GiB, durations 1m30s.
` + tail
}
