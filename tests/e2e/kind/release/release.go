// Package release installs a chart as the helm command does.
package release

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/cli"
)

// limit for a step of Helm on a machine with two busy cores.
const limit = 8 * time.Minute

// Release is a chart in a cluster, or a place for one.
type Release struct {
	Name, Namespace string

	config *action.Configuration
	chart  *chart.Chart
}

// Open reads the chart in a folder.
func Open(kubeconfig, dir, name, namespace string, log *slog.Logger) (*Release, error) {
	c, err := loader.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("read chart %s: %w", dir, err)
	}
	settings := cli.New()
	settings.KubeConfig = kubeconfig
	settings.SetNamespace(namespace)
	r := &Release{Name: name, Namespace: namespace, chart: c, config: &action.Configuration{}}
	debug := func(format string, args ...any) { log.Debug("helm", "says", fmt.Sprintf(format, args...)) }
	if err := r.config.Init(settings.RESTClientGetter(), namespace, "secret", debug); err != nil {
		return nil, fmt.Errorf("open release %s: %w", name, err)
	}
	return r, nil
}

// Install is `helm install --wait --create-namespace`. It returns the notes.
func (r *Release) Install(ctx context.Context, values map[string]any) (string, error) {
	a := action.NewInstall(r.config)
	a.ReleaseName, a.Namespace, a.CreateNamespace, a.Wait, a.Timeout = r.Name, r.Namespace, true, true, limit
	rel, err := a.RunWithContext(ctx, r.chart, values)
	if err != nil {
		return "", fmt.Errorf("helm install %s: %w", r.Name, err)
	}
	return rel.Info.Notes, nil
}

// Upgrade is `helm upgrade --wait --reset-values`.
func (r *Release) Upgrade(ctx context.Context, values map[string]any) error {
	a := action.NewUpgrade(r.config)
	a.Namespace, a.Wait, a.Timeout, a.ResetValues = r.Namespace, true, limit, true
	if _, err := a.RunWithContext(ctx, r.Name, r.chart, values); err != nil {
		return fmt.Errorf("helm upgrade %s: %w", r.Name, err)
	}
	return nil
}

// Rollback is `helm rollback --wait` to the revision before.
func (r *Release) Rollback() error {
	a := action.NewRollback(r.config)
	a.Wait, a.Timeout = true, limit
	if err := a.Run(r.Name); err != nil {
		return fmt.Errorf("helm rollback %s: %w", r.Name, err)
	}
	return nil
}

// Test is `helm test --logs`. The error holds the pods' logs.
func (r *Release) Test() error {
	a := action.NewReleaseTesting(r.config)
	a.Namespace, a.Timeout = r.Namespace, limit
	rel, err := a.Run(r.Name)
	if err == nil {
		return nil
	}
	var logs strings.Builder
	if rel != nil {
		if logErr := a.GetPodLogs(io.Writer(&logs), rel); logErr != nil {
			fmt.Fprintf(&logs, "(no logs: %v)", logErr)
		}
	}
	return fmt.Errorf("helm test %s: %w\n%s", r.Name, err, logs.String())
}

// Uninstall is `helm uninstall --wait`.
func (r *Release) Uninstall() error {
	a := action.NewUninstall(r.config)
	a.Wait, a.Timeout = true, limit
	if _, err := a.Run(r.Name); err != nil {
		return fmt.Errorf("helm uninstall %s: %w", r.Name, err)
	}
	return nil
}
