package render

import (
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
	"github.com/dragonfly-kube/dragonfly/dfctl/render/supernode"
)

func (s source) staticPodCommand() *cobra.Command {
	var r release
	cmd := &cobra.Command{
		Use:   "static-pod",
		Short: "Write the supernode's manifest for /etc/kubernetes/manifests",
		Long: "Write the supernode's manifest, to be put into /etc/kubernetes/manifests of the nodes that run one. It takes everything from the\n" +
			"node: the file /etc/dragonfly/secret has to be there. The rest is in the cluster: the overlay static-pod, or the chart with\n" +
			"--set supernode.kind=StaticPod and the same values.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			manifest, err := s.manifest(cmd, &r)
			if err != nil {
				return err
			}
			return s.write([]byte(manifest))
		},
	}
	r.flags(cmd.Flags())
	return cmd
}

func (s source) dockerRunCommand() *cobra.Command {
	var r release
	var address string
	cmd := &cobra.Command{
		Use:   "docker-run",
		Short: "Write the commands that run a supernode with Docker",
		Long: "Write the commands that run a supernode with Docker, for a shell of root on its host. The options of the chart apply, so that it is the\n" +
			"same supernode as in a cluster. Needs the file /etc/dragonfly/secret on the host.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := netip.ParseAddr(address); address != "" && err != nil {
				return cli.Usagef("--address %q is no IP address", address)
			}
			manifest, err := s.manifest(cmd, &r)
			if err != nil {
				return err
			}
			script, err := supernode.DockerRun(manifest, address)
			if err != nil {
				return usage(err)
			}
			return s.write([]byte(script))
		},
	}
	r.flags(cmd.Flags())
	cmd.Flags().StringVar(&address, "address", "", "`IP` at which the nodes reach the host; unset means the first that it has")
	return cmd
}

// manifest is the static pod that the chart renders.
func (s source) manifest(cmd *cobra.Command, r *release) (string, error) {
	// A Secret of the cluster is of no use to a static pod, so none is made.
	if err := r.values(cmd, "supernode.kind=StaticPod", "secret.existingSecret=unused"); err != nil {
		return "", err
	}
	manifest, err := supernode.StaticPod(s.chart, r.options)
	return manifest, usage(err)
}
