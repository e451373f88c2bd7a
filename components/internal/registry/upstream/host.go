package upstream

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// hostname is what a registry may be called: names and IPv4 addresses. No user, path, percent or space can hide in it.
var hostname = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?$`)

// Canonical returns host[:port] in the form that the package uses: lower case, docker.io's names as one. An error for what is none.
func Canonical(name string) (string, error) {
	host := strings.ToLower(name)
	switch host {
	case "docker.io", "index.docker.io", "registry.docker.io", dockerHub:
		return dockerHub, nil
	}
	bare, port, err := SplitPort(host)
	if err != nil {
		return "", err
	}
	if inner, ok := strings.CutPrefix(bare, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() || !strings.HasSuffix(inner, "]") || addr.Zone() != "" {
			return "", fmt.Errorf("%.80q is no host[:port] of a registry", name)
		}
		bare = "[" + addr.String() + "]"
	} else if !hostname.MatchString(bare) {
		return "", fmt.Errorf("%.80q is no host[:port] of a registry", name)
	}
	if port != "" {
		return bare + ":" + port, nil
	}
	return bare, nil
}

// SplitPort cuts "host:port" or "[v6]:port"; port is "" where there is none. The brackets stay.
func SplitPort(s string) (host, port string, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		return s, "", nil
	}
	if n, err := strconv.ParseUint(s[i+1:], 10, 16); err != nil || n == 0 {
		return "", "", fmt.Errorf("%.80q has no valid port", s)
	}
	return s[:i], s[i+1:], nil
}

// LooksLikeHost reports whether the first element of an image's name is a host, by Docker's rule.
func LooksLikeHost(s string) bool { return s == "localhost" || strings.ContainsAny(s, ".:") }
