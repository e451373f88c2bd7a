package nodeconfig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
	"github.com/dragonfly-kube/dragonfly/dfctl/nodeconfig/daemonset"
)

// waiter is what waitCommand asks, and tests replace.
type waiter func(ctx context.Context, namespace, name string, timeout time.Duration, progress func(ready, nodes int)) (daemonset.Result, error)

// inCluster asks the cluster whose pod this program runs in. An empty namespace is the pod's.
func inCluster(ctx context.Context, namespace, name string, timeout time.Duration, progress func(ready, nodes int)) (daemonset.Result, error) {
	client, own, err := daemonset.InCluster(os.Getenv, daemonset.AccountDir)
	if err != nil {
		return daemonset.Result{}, err
	}
	if namespace == "" {
		namespace = own
	}
	return client.Wait(ctx, namespace, name, timeout, progress)
}

// waitCommand waits for pods that roll nodes back.
func waitCommand(streams cli.Streams, wait waiter) *cobra.Command {
	var namespace, name string
	var timeout time.Duration
	var strict bool
	cmd := &cobra.Command{
		Use:   "wait --daemonset NAME",
		Short: "Wait until a DaemonSet is ready on every node, from within a pod",
		Long: "Wait until a DaemonSet is ready on every node, from within a pod.\n\n" +
			"It is for a chart's hook: pods whose init container runs rollback, and a Job that waits for them with this command before what\n" +
			"they need is removed. The nodes that have no ready pod when the time is over are written to standard output, with what is known\n" +
			"of the reason. The pod's service account needs the rights to get the DaemonSet and to list pods in its namespace.\n\n" +
			"Exit codes:\n" +
			"  0  all nodes are ready; or the time is over and the nodes that are not are named, without --strict\n" +
			"  1  the Kubernetes API tells nothing about the DaemonSet\n" +
			"  2  wrong options\n" +
			"  4  with --strict: the time is over and some nodes are not ready",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" || timeout <= 0 {
				return cli.Usagef("--daemonset NAME is needed, and a --timeout above 0")
			}
			r, err := wait(cmd.Context(), namespace, name, timeout, func(ready, nodes int) {
				fmt.Fprintf(streams.Err, "%d of %d nodes are ready\n", ready, nodes)
			})
			if err != nil && r.Nodes == 0 {
				return err
			}
			return waited(streams, r, err, strict)
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "daemonset", "", "`NAME` of the DaemonSet")
	f.StringVar(&namespace, "namespace", "", "`NAME` of its namespace; unset means that of the pod")
	f.DurationVar(&timeout, "timeout", 2*time.Minute, "`TIME` after which it waits no longer")
	f.BoolVar(&strict, "strict", false, "end with exit code 4 if a node is not ready in time")
	return cmd
}

// waited tells of the nodes that are not ready. err is why they cannot be named.
func waited(streams cli.Streams, r daemonset.Result, err error, strict bool) error {
	if r.Ready {
		return nil
	}
	for _, n := range r.Missing {
		fmt.Fprintf(streams.Out, "%s\t%s\n", n.Name, n.Why)
	}
	late := errors.New("the time is over, and the nodes above are not ready")
	if err != nil {
		late = fmt.Errorf("the time is over, some of %d nodes are not ready, and which is not known: %w", r.Nodes, err)
	}
	if strict {
		return &cli.Error{Code: cli.ExitDegraded, Err: late}
	}
	fmt.Fprintf(streams.Err, "WARNING: %v\n", late)
	return nil
}

// holdCommand keeps a pod running whose work its init containers have done.
func holdCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hold",
		Short: "Do nothing until SIGTERM, to keep a pod running whose init containers have done the work",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			<-cmd.Context().Done()
			return nil
		},
	}
}
