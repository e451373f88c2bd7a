package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
)

// Exposure is a port that serves other machines.
type Exposure struct {
	// Option is the name of the option that Addr comes from, for messages.
	Option string
	// Addr is "host:port", as net.Listen takes it.
	Addr string
	// HasSecret is true when the port asks its callers for a proof.
	HasSecret bool
	// Insecure is the option "insecure-no-secret".
	Insecure bool
}

// CheckExposure refuses a port that anyone could use: one without a secret that does not bind a loopback address. The option
// "insecure-no-secret" turns the refusal into a warning in log.
func CheckExposure(e Exposure, log *slog.Logger) error {
	host, _, err := net.SplitHostPort(e.Addr)
	if err != nil {
		return fmt.Errorf("option %q: %q is no host:port, want for example 127.0.0.1:8001 or :8001", e.Option, e.Addr)
	}
	if e.HasSecret || isLoopback(host) {
		return nil
	}
	if !e.Insecure {
		return fmt.Errorf("option %q: %q serves every machine that can reach it, and there is no cluster secret: "+
			"give a secret (--secret-file), bind a loopback address, or accept the risk (--insecure-no-secret)", e.Option, e.Addr)
	}
	log.Warn("NO CLUSTER SECRET: whoever reaches this port can read the cached content and take part in the swarm",
		"option", e.Option, "addr", e.Addr)
	return nil
}

// isLoopback trusts no name but localhost, because what a name resolves to may change.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
