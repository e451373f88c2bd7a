// Command images makes the container images of Dragonfly from the sources and from the Dockerfiles beside the programs, with Go alone:
// as OCI layouts of all platforms, and as archives for `docker load`. It is no part of a release; `make images-oci` runs it, and
// `make images` lets it make the contexts for Docker.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	version, revision string
	registry, tag     string
	platforms         []string
	created           time.Time
	out               string
	jobs              int
	contextOnly       bool
	push              bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func run(ctx context.Context, args []string, out, talk io.Writer) error {
	o, err := parse(args, talk)
	if err != nil {
		return err
	}
	for _, s := range specs {
		if err := o.contexts(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if o.contextOnly {
			continue
		}
		if err := o.image(ctx, s, out); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func parse(args []string, talk io.Writer) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.SetOutput(talk)
	flags.StringVar(&o.version, "version", "unknown", "version in programs and labels")
	flags.StringVar(&o.revision, "revision", "unknown", "commit in the labels")
	flags.StringVar(&o.registry, "registry", "ghcr.io/dragonfly-kube", "what is before the images' names")
	flags.StringVar(&o.tag, "tag", "", "tag of the images; the version if it is empty")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64", "platforms, joined by commas")
	flags.StringVar(&o.out, "out", "dist/images", "folder for contexts, layouts and archives")
	flags.IntVar(&o.jobs, "jobs", 2, "compilations at once")
	flags.BoolVar(&o.contextOnly, "context", false, "make the contexts for docker build only")
	flags.BoolVar(&o.push, "push", false, "push the images to their registry too")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if o.tag == "" {
		o.tag = strings.ReplaceAll(o.version, "+", "-")
	}
	o.platforms = strings.FieldsFunc(*platforms, func(r rune) bool { return r == ',' || r == ' ' })
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH: want the time of the images in seconds since 1970, as the commit's (git log -1 --format=%%ct): %w", err)
	}
	o.created = time.Unix(seconds, 0)
	return o, nil
}
