// Package fromchart makes the generated files of kustomize/ from the chart.
package fromchart

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dragonfly-kube/dragonfly/dfctl/render/helm"
	"github.com/dragonfly-kube/dragonfly/dfctl/render/supernode"
)

// namespace is that of the overlays; the chart writes it into names of Services.
const namespace = "kube-system"

// header is the first line of each file.
const header = "# Generated from charts/dragonfly by make generate: change the chart, or patch this in an overlay.\n"

// values are those of all renders: no Secret is rendered, and pods refer to one that the user makes.
var values = []string{"secret.existingSecret=dragonfly-secret"}

// generator reads one chart.
type generator struct {
	chart fs.FS
	files map[string][]byte
	err   error // the first; nothing is written after it
}

// Files are the generated files by their names below kustomize/.
func Files(chart fs.FS) (map[string][]byte, error) {
	g := &generator{chart: chart, files: map[string][]byte{}}
	g.supernodeBase()
	g.dfdaemonBase()
	g.highAvailability()
	g.nodeConfig()
	g.monitoring()
	g.networkPolicy()
	g.external()
	g.staticPod()
	return g.files, g.err
}

// supernodeBase has a ServiceAccount of its own, so that each base can be used without the other.
func (g *generator) supernodeBase() {
	objects := g.render("supernode.replicas=1", "supernode.podDisruptionBudget.enabled=false", "supernode.topologySpreadConstraints=null",
		"serviceAccount.name=dragonfly-supernode")
	g.base("bases/supernode", slices.DeleteFunc(objects, func(o object) bool { return o.kind() != "ServiceAccount" && !o.of("supernode") }), "")
}

func (g *generator) dfdaemonBase() {
	objects := g.render("nodeConfig.mode=none")
	objects = slices.DeleteFunc(objects, func(o object) bool { return o.kind() != "ServiceAccount" && !o.of("dfdaemon") })
	// The file is the overlays' to change, and a change has to restart the pods: kustomize's generator puts a hash into the name.
	i := slices.IndexFunc(objects, func(o object) bool { return o.kind() == "ConfigMap" })
	if g.err != nil || i < 0 {
		g.fail(fmt.Errorf("the chart renders no ConfigMap of dfdaemon"))
		return
	}
	config := objects[i]
	objects = slices.Delete(objects, i, i+1)
	for _, o := range objects {
		o.remove("spec", "template", "metadata", "annotations", "checksum/config")
	}
	// Without the namespace, the name is looked up in the pod's: kustomize can't change a namespace within a text.
	text := strings.Replace(config.text("data", "dragonfly.conf"), "."+namespace+".svc", "", 1)
	g.files["bases/dfdaemon/dragonfly.conf"] = []byte(text)
	g.base("bases/dfdaemon", objects, fmt.Sprintf("configMapGenerator:\n  - name: %s\n    files: [dragonfly.conf]\n    options:\n      labels:\n%s",
		config.text("metadata", "name"), indent(encode(config.at("metadata", "labels")), "        ")))
}

// base writes a file for each kind of objects, and the kustomization that lists them.
func (g *generator) base(dir string, objects []object, more string) {
	byKind := map[string][]object{}
	for _, o := range objects {
		byKind[strings.ToLower(o.kind())] = append(byKind[strings.ToLower(o.kind())], o)
	}
	var names strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		g.write(dir+"/"+kind+".yaml", byKind[kind]...)
		names.WriteString("  - " + kind + ".yaml\n")
	}
	if g.err == nil {
		g.files[dir+"/kustomization.yaml"] = []byte(header + "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n" + names.String() + more)
	}
}

// highAvailability is what the base of the supernode leaves out.
func (g *generator) highAvailability() {
	objects := g.render()
	for _, o := range objects {
		switch {
		case o.kind() == "PodDisruptionBudget":
			g.write("components/high-availability/poddisruptionbudget.yaml", o)
		case o.kind() == "Deployment":
			g.write("components/high-availability/deployment.yaml", o.part("replicas", "template.spec.topologySpreadConstraints"))
		}
	}
}

// nodeConfig is the init container that configures nodes, and what makes it undo that.
func (g *generator) nodeConfig() {
	for mode, dir := range map[string]string{"apply": "components/node-config", "rollback": "components/node-config-rollback"} {
		for _, o := range g.render("nodeConfig.mode=" + mode) {
			if o.kind() != "DaemonSet" {
				continue
			}
			containers := o.at("spec", "template", "spec", "initContainers")
			i := slices.IndexFunc(containers.Content, func(n *yaml.Node) bool { return (object{n}).text("name") == "node-config" })
			if i < 0 {
				g.fail(fmt.Errorf("the chart renders no init container node-config with nodeConfig.mode=%s", mode))
				return
			}
			container := object{containers.Content[i]}
			if mode == "rollback" {
				at := fmt.Sprintf("/spec/template/spec/initContainers/%d/", i)
				unavailable := []string{"spec", "updateStrategy", "rollingUpdate", "maxUnavailable"}
				g.write(dir+"/daemonset.yaml", object{list(operation("test", at+"name", container.at("name")),
					operation("replace", at+"command", container.at("command")), operation("replace", at+"args", container.at("args")),
					operation("replace", "/"+strings.Join(unavailable, "/"), o.at(unavailable...)))})
				continue
			}
			ops := []*yaml.Node{operation("add", "/spec/template/spec/initContainers/-", container.node)}
			for _, volume := range o.at("spec", "template", "spec", "volumes").Content {
				if name := (object{volume}).text("name"); strings.HasPrefix(name, "host") {
					ops = append(ops, operation("add", "/spec/template/spec/volumes/-", volume))
				}
			}
			g.write(dir+"/daemonset.yaml", object{list(ops...)})
		}
	}
}

// monitoring is what the Prometheus operator and Grafana's sidecar read.
func (g *generator) monitoring() {
	objects := g.render("monitoring.serviceMonitor.enabled=true", "monitoring.podMonitor.enabled=true", "monitoring.prometheusRule.enabled=true",
		"monitoring.dashboard.enabled=true")
	for _, kind := range []string{"ServiceMonitor", "PodMonitor", "PrometheusRule"} {
		g.write("components/monitoring/"+strings.ToLower(kind)+".yaml", ofKind(objects, kind)...)
	}
	g.write("components/monitoring/dashboard.yaml",
		slices.DeleteFunc(ofKind(objects, "ConfigMap"), func(o object) bool { return o.text("data", "dragonfly.conf") != "" })...)
}

func (g *generator) networkPolicy() {
	g.write("components/network-policy/networkpolicy.yaml", ofKind(g.render("networkPolicy.enabled=true"), "NetworkPolicy")...)
}

// external are the addresses of supernodes outside the cluster.
func (g *generator) external() {
	slicesOfServices := ofKind(g.render("supernode.kind=External", "supernode.external.addresses={192.0.2.10,192.0.2.11}"), "EndpointSlice")
	for _, o := range slicesOfServices {
		o.set("kustomize", "metadata", "labels", "endpointslice.kubernetes.io/managed-by")
	}
	g.write("overlays/docker/endpointslice.yaml", slicesOfServices...)
}

func (g *generator) staticPod() {
	options, err := g.options("supernode.kind=StaticPod")
	if err != nil {
		g.fail(err)
		return
	}
	manifest, err := supernode.StaticPod(g.chart, options)
	if err != nil {
		g.fail(err)
		return
	}
	objects, err := decode([]byte(manifest))
	if err != nil {
		g.fail(err)
		return
	}
	for _, o := range objects {
		o.clean()
	}
	g.write("overlays/static-pod/supernode.yaml", objects...)
}

func ofKind(objects []object, kind string) []object {
	return slices.DeleteFunc(slices.Clone(objects), func(o object) bool { return o.kind() != kind })
}

func (g *generator) options(set ...string) (helm.Options, error) {
	v, err := helm.Sources{Set: append(slices.Clone(values), set...)}.Merge()
	return helm.Options{Release: "dragonfly", Namespace: namespace, Values: v, NoHooks: true}, err
}

// render renders the chart without what only Helm sets.
func (g *generator) render(set ...string) []object {
	options, err := g.options(set...)
	if err != nil {
		g.fail(err)
		return nil
	}
	out, err := helm.Render(g.chart, options)
	if err != nil {
		g.fail(err)
		return nil
	}
	objects, err := decode(out)
	g.fail(err)
	for _, o := range objects {
		o.clean()
		o.remove("metadata", "namespace") // the overlays'
	}
	return objects
}

func (g *generator) write(name string, objects ...object) {
	if len(objects) == 0 {
		g.fail(fmt.Errorf("the chart renders nothing for %s", name))
	}
	if g.err != nil {
		return
	}
	var texts []string
	for _, o := range objects {
		texts = append(texts, encode(o.node))
	}
	g.files[name] = []byte(header + strings.Join(texts, "---\n"))
}

func (g *generator) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

func indent(text, by string) string {
	var b bytes.Buffer
	for line := range strings.Lines(text) {
		b.WriteString(by + line)
	}
	return b.String()
}
