package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
)

const envPrefix = "DRAGONFLY_"

// EnvName is the environment variable of an option.
func EnvName(option string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// readEnviron reads our variables. An empty one counts as not set. One that looks like a slip of the pen is an error; any other
// unknown one may belong to another program of ours and is a warning.
func readEnviron(flags *pflag.FlagSet, src Sources) (settings []setting, warnings []string, err error) {
	known := map[string]string{}
	flags.VisitAll(func(f *pflag.Flag) {
		if settable(f) {
			known[EnvName(f.Name)] = f.Name
		}
	})
	for _, line := range src.Environ {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, envPrefix) || value == "" || isServiceLink(name, value) {
			continue
		}
		if key, ok := known[name]; ok {
			settings = append(settings, setting{key: key, values: []string{value}, where: "environment variable " + name})
			continue
		}
		likely := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, envPrefix), "_", "-"))
		if near := nearest(likely, names(flags)); near != "" {
			return nil, warnings, fmt.Errorf("environment variable %s: %s has no such option; did you mean %s?", name, src.Program, EnvName(near))
		}
		warnings = append(warnings, fmt.Sprintf("environment variable %s is none of %s's options", name, src.Program))
	}
	return settings, warnings, nil
}

// linkName matches the variables that Kubernetes sets for each Service of a namespace, such as DRAGONFLY_SUPERNODE_SERVICE_HOST for a
// Service "dragonfly-supernode".
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var linkName = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

// isServiceLink also knows the one such variable that could be an option: DRAGONFLY_PORT, for a Service "dragonfly".
func isServiceLink(name, value string) bool {
	if linkName.MatchString(name) {
		return true
	}
	scheme, _, ok := strings.Cut(value, "://")
	return ok && strings.HasSuffix(name, "_PORT") && (scheme == "tcp" || scheme == "udp" || scheme == "sctp")
}
