package origin

import (
	"errors"
	"fmt"
	"strings"
)

// Options are what a Config says of single hosts, in the form that command lines have.
type Options struct {
	// CA are "host[:port]=FILE", a PEM file with roots for that host, or "FILE", for every host.
	CA []string
	// Cert are "host[:port]=CERT:KEY", PEM files shown to that host.
	Cert []string
	// PlainHTTP are the hosts, host[:port], that speak HTTP.
	PlainHTTP []string
}

// Apply adds the options to cfg. Its errors name the options "registry-ca", "registry-cert" and "plain-http".
func (o Options) Apply(cfg *Config) error {
	if cfg.Registries == nil {
		cfg.Registries = map[string]Registry{}
	}
	var errs []error
	for _, text := range o.CA {
		host, file, ok := strings.Cut(text, "=")
		switch {
		case ok && host != "" && file != "":
			cfg.change(host, func(r *Registry) { r.CAFile = file })
		case !ok && text != "" && cfg.CAFile == "":
			cfg.CAFile = text
		case !ok && text != "":
			errs = append(errs, fmt.Errorf("option %q: %q and %q are both for every host; put both roots into one file", "registry-ca", cfg.CAFile, text))
		default:
			errs = append(errs, fmt.Errorf("option %q: %q, want FILE or host[:port]=FILE", "registry-ca", text))
		}
	}
	for _, text := range o.Cert {
		host, files, _ := strings.Cut(text, "=")
		cert, key, _ := strings.Cut(files, ":")
		if host == "" || cert == "" || key == "" {
			errs = append(errs, fmt.Errorf("option %q: %q, want host[:port]=CERT:KEY", "registry-cert", text))
			continue
		}
		cfg.change(host, func(r *Registry) { r.ClientCert, r.ClientKey = cert, key })
	}
	for _, host := range o.PlainHTTP {
		if host == "" || strings.Contains(host, "/") {
			errs = append(errs, fmt.Errorf("option %q: %q, want host[:port]", "plain-http", host))
			continue
		}
		cfg.change(host, func(r *Registry) { r.PlainHTTP = true })
	}
	return errors.Join(errs...)
}

func (c *Config) change(host string, f func(*Registry)) {
	host = strings.ToLower(host)
	r := c.Registries[host]
	f(&r)
	c.Registries[host] = r
}
