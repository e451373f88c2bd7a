package charts_test

import (
	"strings"
	"testing"
)

func TestWrongValuesAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ values, says string }{
		"a kind that there is not":              {"supernode: {kind: StatefulSet}", "/supernode/kind"},
		"a kind in other letters":               {"supernode: {kind: deployment}", "/supernode/kind"},
		"External without addresses":            {"supernode: {kind: External}", "/supernode/external/addresses"},
		"a name where an address should be":     {"supernode: {kind: External, external: {addresses: [super.example.com]}}", "/supernode/external/addresses/0"},
		"a broken address":                      {"supernode: {kind: External, external: {addresses: [10.0.0.256]}}", "/supernode/external/addresses/0"},
		"the same address twice":                {"supernode: {external: {addresses: [10.0.0.1, 10.0.0.1]}}", "/supernode/external/addresses"},
		"a certificate without TLS":             {"tls: {existingSecret: super-tls}", "/tls/enabled"},
		"a number as text":                      {`supernode: {replicas: "2"}`, "/supernode/replicas"},
		"fewer than no replicas":                {"supernode: {replicas: -1}", "/supernode/replicas"},
		"half a replica":                        {"supernode: {replicas: 1.5}", "/supernode/replicas"},
		"a text for a switch":                   {`supernode: {hostNetwork: "true"}`, "/supernode/hostNetwork"},
		"port 0":                                {"dfdaemon: {ports: {mirror: 0}}", "/dfdaemon/ports/mirror"},
		"a port too high":                       {"supernode: {ports: {register: 65536}}", "/supernode/ports/register"},
		"a port as text":                        {`dfdaemon: {ports: {peer: "65002"}}`, "/dfdaemon/ports/peer"},
		"a digest without algorithm":            {"dfdaemon: {image: {digest: 0123abcd}}", "/dfdaemon/image/digest"},
		"a digest that is too short":            {"supernode: {image: {digest: 'sha256:0123abcd'}}", "/supernode/image/digest"},
		"a tag in the repository":               {"supernode: {image: {repository: 'a/b:1'}}", "/supernode/image/repository"},
		"a tag with a slash":                    {"supernode: {image: {tag: a/b}}", "/supernode/image/tag"},
		"a URL as registry of images":           {"global: {imageRegistry: 'https://a.example.com'}", "/global/imageRegistry"},
		"a pull policy that there is not":       {"dfdaemon: {image: {pullPolicy: Sometimes}}", "/dfdaemon/image/pullPolicy"},
		"pull secrets as texts":                 {"global: {imagePullSecrets: [a]}", "/global/imagePullSecrets/0"},
		"a size without number":                 {"supernode: {diskQuota: much}", "/supernode/diskQuota"},
		"a size with a unit of Kubernetes":      {"dfdaemon: {diskQuota: 50Ti}", "/dfdaemon/diskQuota"},
		"a negative rate":                       {`dfdaemon: {uploadRate: "-1MiB"}`, "/dfdaemon/uploadRate"},
		"a quantity with a unit of ours":        {"dfdaemon: {resources: {limits: {memory: 512MiB}}}", "/dfdaemon/resources/limits/memory"},
		"a field of resources that there isn't": {"supernode: {resources: {limit: {memory: 1Gi}}}", "/supernode/resources"},
		"a relative host path":                  {"dfdaemon: {hostPaths: {data: var/lib}}", "/dfdaemon/hostPaths/data"},
		"the root as host path":                 {"supernode: {hostPaths: {data: /}}", "/supernode/hostPaths/data"},
		"two options in one":                    {"dfdaemon: {zone: \"a\\nregistry = http://evil\"}", "/dfdaemon/zone"},
		"a registry without scheme":             {"dfdaemon: {registry: registry.example.com}", "/dfdaemon/registry"},
		"a list within a pattern":               {"dfdaemon: {allowUpstream: ['a.example.com,b.example.com']}", "/dfdaemon/allowUpstream/0"},
		"an option without dashes":              {"supernode: {extraArgs: [upload-slots=8]}", "/supernode/extraArgs/0"},
		"a variable without name":               {"supernode: {extraEnv: [{value: a}]}", "/supernode/extraEnv/0"},
		"a network that there is not":           {"dfdaemon: {network: pod}", "/dfdaemon/network"},
		"a level of the log that there is not":  {"dfdaemon: {logLevel: trace}", "/dfdaemon/logLevel"},
		"a runtime that there is not":           {"nodeConfig: {runtimes: [rkt]}", "/nodeConfig/runtimes/0"},
		"no runtime":                            {"nodeConfig: {runtimes: []}", "/nodeConfig/runtimes"},
		"a switch as mode":                      {"nodeConfig: {mode: off}", "/nodeConfig/mode"},
		"a registry with a path":                {"nodeConfig: {registries: [ghcr.io/org]}", "/nodeConfig/registries/0"},
		"no time for the undoing":               {"nodeConfig: {undo: {timeoutSeconds: 0}}", "/nodeConfig/undo/timeoutSeconds"},
		"a CA from two places":                  {"registries: {ca: [{configMap: a, secret: b}]}", "/registries/ca/0"},
		"a CA from nowhere":                     {"registries: {ca: [{host: a.example.com}]}", "/registries/ca/0"},
		"a client certificate for no registry":  {"registries: {clientCertificates: [{secret: a}]}", "/registries/clientCertificates/0"},
		"a toleration's field that there isn't": {"dfdaemon: {tolerations: [{operation: Exists}]}", "/dfdaemon/tolerations/0"},
		"an affinity that there is not":         {"dfdaemon: {affinity: {nodeAffinities: {}}}", "/dfdaemon/affinity"},
		"a spread without a key":                {"supernode: {topologySpreadConstraints: [{maxSkew: 1}]}", "/supernode/topologySpreadConstraints/0"},
		"a label that is a number":              {"commonLabels: {a: 1}", "/commonLabels/a"},
		"a context's field that there is not":   {"dfdaemon: {podSecurityContext: {runAsRoot: true}}", "/dfdaemon/podSecurityContext"},
		"a share above 100 % of three digits":   {"dfdaemon: {updateStrategy: {rollingUpdate: {maxUnavailable: 1000%}}}", "/dfdaemon/updateStrategy/rollingUpdate/maxUnavailable"},
		"an interval without unit":              {"monitoring: {serviceMonitor: {interval: '30'}}", "/monitoring/serviceMonitor/interval"},
		"a peer that is nobody":                 {"networkPolicy: {from: [{}]}", "/networkPolicy/from/0"},
		"an object that is a number":            {"extraObjects: [1]", "/extraObjects/0"},
		"a value of the top that there is not":  {"nodeconfig: {}", "nodeconfig"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := validate(t, parse(t, tt.values))
			if err == nil {
				t.Fatalf("%s is taken", tt.values)
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: got %q, want something about %s", tt.values, err, tt.says)
			}
		})
	}
}

func TestRightValuesAreTaken(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"nothing": "{}",
		"sizes and rates as the programs take them": `{supernode: {diskQuota: 1.5TiB, uploadRate: 20MiB/s, originRate: 0}, dfdaemon: {diskQuota: 4096, downloadRate: 10M}}`,
		"quantities of all kinds":                   `{supernode: {resources: {limits: {cpu: 2, memory: 1.5Gi, ephemeral-storage: 1G}, requests: {cpu: 250m}}}}`,
		"values of other charts under global":       `{global: {storageClass: fast, imageRegistry: "registry.example.com:5000/mirror"}}`,
		"IPv6 supernodes":                           `{supernode: {kind: External, external: {addresses: ["2001:db8::1"]}}}`,
	}
	for name, values := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := validate(t, parse(t, values)); err != nil {
				t.Error(err)
			}
		})
	}
}
