// Package render is the command "dfctl render": the objects to install Dragonfly with, from the chart and the overlays that are part of dfctl.
package render

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragonfly-kube/dragonfly/charts"
	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
	"github.com/dragonfly-kube/dragonfly/dfctl/render/helm"
	"github.com/dragonfly-kube/dragonfly/dfctl/render/kustomize"
	kustomizations "github.com/dragonfly-kube/dragonfly/kustomize"
)

// source is what the commands read: the chart's directory and the one of the kustomizations.
type source struct {
	streams       cli.Streams
	chart         fs.FS
	kustomization fs.FS
}

// NewCommand returns the command.
func NewCommand(streams cli.Streams) *cobra.Command {
	chart, err := fs.Sub(charts.FS, "dragonfly")
	if err != nil {
		panic(err) // the name is valid
	}
	return newCommand(source{streams, chart, kustomizations.FS})
}

func newCommand(s source) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Write what installs Dragonfly, without a network",
		Long: "Write what installs Dragonfly to standard output, from the chart and the kustomize overlays that are part of this program.\n" +
			"Nothing is read from a cluster or a network.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(s.chartCommand(), s.overlayCommand(), s.staticPodCommand(), s.dockerRunCommand(), s.listCommand())
	return cmd
}

// release is the options of the commands that render the chart.
type release struct {
	options helm.Options
	sources helm.Sources
}

func (r *release) flags(f *pflag.FlagSet) {
	f.StringArrayVarP(&r.sources.Files, "values", "f", nil, "YAML `FILE` with values, - for standard input; may be repeated, the last wins")
	f.StringArrayVar(&r.sources.Set, "set", nil, "`NAME=VALUE` of the chart, as supernode.replicas=3; may be repeated, and wins over files")
	f.StringArrayVar(&r.sources.SetString, "set-string", nil, "`NAME=VALUE` whose value is a text also if it looks like a number; may be repeated")
	f.StringVar(&r.options.Release, "release", "dragonfly", "`NAME` of the release")
	f.StringVarP(&r.options.Namespace, "namespace", "n", "kube-system", "`NAMESPACE` of the release")
}

// clusterFlags are about the cluster that the objects are for.
func (r *release) clusterFlags(f *pflag.FlagSet) {
	f.StringVar(&r.options.KubeVersion, "kube-version", helm.KubeVersion, "`VERSION` of Kubernetes to render for")
	f.StringSliceVarP(&r.options.APIVersions, "api-versions", "a", nil,
		"`VERSION` of an API that the cluster has beside its own, as monitoring.coreos.com/v1; may be repeated")
	f.BoolVar(&r.options.NoHooks, "no-hooks", false, "leave out Helm's hooks")
}

// values reads the values' sources. What the command itself sets comes last.
func (r *release) values(cmd *cobra.Command, set ...string) error {
	sources := r.sources
	sources.Stdin = cmd.InOrStdin()
	sources.Set = slices.Concat(sources.Set, set)
	values, err := sources.Merge()
	r.options.Values = values
	return usage(err)
}

func (s source) chartCommand() *cobra.Command {
	var r release
	cmd := &cobra.Command{
		Use:   "chart",
		Short: `Render the chart, as "helm template" does`,
		Long: `Render the chart, as "helm template" does.` + "\n\n" +
			"Helm's hooks come last: the pods of helm test, and those that undo the nodes at an uninstall. --no-hooks leaves them\n" +
			"out, as kubectl apply needs it. Without secret.existingSecret each run makes another cluster secret.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.values(cmd); err != nil {
				return err
			}
			out, err := helm.Render(s.chart, r.options)
			if err != nil {
				return usage(err)
			}
			return s.write(out)
		},
	}
	r.flags(cmd.Flags())
	r.clusterFlags(cmd.Flags())
	return cmd
}

func (s source) overlayCommand() *cobra.Command {
	var o kustomize.Options
	cmd := &cobra.Command{
		Use:   "overlay NAME",
		Short: `Build a kustomize overlay, as "kubectl kustomize" does`,
		Long: `Build a kustomize overlay, as "kubectl kustomize" does. "dfctl render list" names them, and the components that can be added.` + "\n\n" +
			"They need the Secret dragonfly-secret in their namespace.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			out, err := kustomize.Overlay(s.kustomization, args[0], o)
			if err != nil {
				return usage(err)
			}
			return s.write(out)
		},
	}
	cmd.Flags().StringSliceVar(&o.Components, "component", nil, "`NAME` of a component to add; may be repeated")
	cmd.Flags().StringVarP(&o.Namespace, "namespace", "n", "kube-system", "`NAMESPACE` of the objects")
	cmd.Flags().StringSliceVar(&o.Images, "image", nil,
		"`IMAGE=NEW[:TAG|@DIGEST]` to use in place of an image, as ghcr.io/dragonfly-kube/supernode=registry.example.com/supernode:1.0; may be repeated")
	return cmd
}

func (s source) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the overlays and components",
		Args:  cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			var b strings.Builder
			for _, kind := range []kustomize.Kind{kustomize.Overlays, kustomize.Components} {
				names, err := kustomize.Names(s.kustomization, kind)
				if err != nil {
					return err
				}
				fmt.Fprintf(&b, "%s:\n  %s\n", kind, strings.Join(names, "\n  "))
			}
			return s.write([]byte(b.String()))
		},
	}
}

func (s source) write(out []byte) error {
	if _, err := s.streams.Out.Write(out); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// usage makes what the caller did wrong an error of its own kind.
func usage(err error) error {
	if errors.Is(err, helm.ErrOptions) || errors.Is(err, kustomize.ErrOptions) {
		return cli.Usagef("%w", err)
	}
	return err
}
