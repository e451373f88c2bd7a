// Package helm renders a chart to what "helm template" writes for it, with the parts of Helm's library that need no cluster and no network.
package helm

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
)

// ErrOptions marks errors in what the caller asked for: a value that the chart's schema refuses, a version that is none.
var ErrOptions = errors.New("wrong option")

// KubeVersion is the version of Kubernetes that charts are rendered for where no other is named: the one of the libraries that Helm is built with,
// as in Helm's own program. The library's default, 1.20, is what a build without the flags of Helm's Makefile has.
const KubeVersion = "v1.37.0"

// Options are those of "helm template".
type Options struct {
	// Release is the name of the release. It has to be valid, as Helm has it: a DNS name of at most 53 characters.
	Release string
	// Namespace is the namespace of the release.
	Namespace string
	// KubeVersion is the version of Kubernetes to render for, such as 1.33; empty means the constant of that name.
	KubeVersion string
	// APIVersions are what the cluster has beside the built-in APIs, such as monitoring.coreos.com/v1 or monitoring.coreos.com/v1/ServiceMonitor.
	APIVersions []string
	// Values are merged over those of the chart.
	Values map[string]any
	// NoHooks leaves out what Helm runs at certain moments only: what undoes the nodes at an uninstall, tests.
	NoHooks bool
}

// Load reads the chart whose Chart.yaml is at the root of files. Files that its .helmignore names are left out.
func Load(files fs.FS) (*chart.Chart, error) {
	var all []*loader.BufferedFile
	rules, err := ignoreRules(files)
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		switch {
		case entry.IsDir() && rules.Ignore(name, info):
			return fs.SkipDir
		case entry.IsDir() || rules.Ignore(name, info):
			return nil
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		all = append(all, &loader.BufferedFile{Name: name, Data: data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load the chart: %w", err)
	}
	c, err := loader.LoadFiles(all)
	if err != nil {
		return nil, fmt.Errorf("load the chart: %w", err)
	}
	return c, nil
}

// Render writes the objects as Helm would install them: in its order, each with the template that it comes from, then the hooks.
// Values that the cluster or chance decide are not the same from run to run; see the chart's secret.
func Render(files fs.FS, o Options) ([]byte, error) {
	c, err := Load(files)
	if err != nil {
		return nil, err
	}
	values, err := renderValues(c, o)
	if err != nil {
		return nil, err
	}
	var e engine.Engine
	rendered, err := e.Render(c, values)
	if err != nil {
		return nil, fmt.Errorf("render the chart: %w", err)
	}
	maps.DeleteFunc(rendered, func(name, _ string) bool { return path.Base(name) == "NOTES.txt" })
	hooks, manifests, err := releaseutil.SortManifests(rendered, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("render the chart: %w", err)
	}
	var b bytes.Buffer
	for _, m := range manifests {
		fmt.Fprintf(&b, "---\n# Source: %s\n%s\n", m.Name, m.Content)
	}
	// As "helm template" does: one line end at the end of the objects, before the hooks.
	out := bytes.NewBufferString(strings.TrimSpace(b.String()) + "\n")
	if !o.NoHooks {
		for _, h := range hooks {
			fmt.Fprintf(out, "---\n# Source: %s\n%s\n", h.Path, h.Manifest)
		}
	}
	return out.Bytes(), nil
}

// Values are the chart's values with those of the options merged over them and checked by the schema.
func Values(files fs.FS, o Options) (map[string]any, error) {
	c, err := Load(files)
	if err != nil {
		return nil, err
	}
	all, err := renderValues(c, o)
	if err != nil {
		return nil, err
	}
	values, err := all.Table("Values")
	if err != nil {
		return nil, fmt.Errorf("read the chart's values: %w", err)
	}
	return values, nil
}

// renderValues is what templates see.
func renderValues(c *chart.Chart, o Options) (chartutil.Values, error) {
	if err := chartutil.ValidateReleaseName(o.Release); err != nil {
		return nil, fmt.Errorf("%w: the release name %q: %w", ErrOptions, o.Release, err)
	}
	caps := chartutil.DefaultCapabilities.Copy()
	version, err := chartutil.ParseKubeVersion(cmp.Or(o.KubeVersion, KubeVersion))
	if err != nil {
		return nil, fmt.Errorf("%w: the Kubernetes version %q: %w", ErrOptions, o.KubeVersion, err)
	}
	caps.KubeVersion = *version
	caps.APIVersions = append(caps.APIVersions, o.APIVersions...)
	if want := c.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, caps.KubeVersion.String()) {
		return nil, fmt.Errorf("%w: the chart is for Kubernetes %s, and not for %s", ErrOptions, want, caps.KubeVersion.String())
	}
	if err := chartutil.ProcessDependenciesWithMerge(c, o.Values); err != nil {
		return nil, fmt.Errorf("read the chart's dependencies: %w", err)
	}
	release := chartutil.ReleaseOptions{Name: o.Release, Namespace: o.Namespace, Revision: 1, IsInstall: true}
	values, err := chartutil.ToRenderValues(c, o.Values, release, caps)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return values, nil
}
