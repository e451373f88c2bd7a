// Package node plans how a node's container runtime is told to pull through dfdaemon. It reads a host's files and says which of them
// should have which content; it changes nothing itself.
package node

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/dragonfly-kube/dragonfly/dfctl/node/edit"
)

// Tree is a host's files. Paths are the host's own, absolute with slashes.
type Tree interface {
	// ReadFile returns an error that is fs.ErrNotExist where there is no such file.
	ReadFile(name string) ([]byte, error)
	// ReadDir lists the names in a directory in order, or returns an error that is fs.ErrNotExist.
	ReadDir(name string) ([]string, error)
	// Exists reports whether there is something of the name.
	Exists(name string) bool
}

// Runtime is a container runtime.
type Runtime string

// The runtimes.
const (
	Docker     Runtime = "docker"
	Containerd Runtime = "containerd"
	CRIO       Runtime = "crio"
	Podman     Runtime = "podman"
	K3s        Runtime = "k3s"
	RKE2       Runtime = "rke2"
)

// Runtimes are all of them.
func Runtimes() []Runtime { return []Runtime{Docker, Containerd, CRIO, Podman, K3s, RKE2} }

// The ways to tell Docker of a mirror.
const (
	DaemonJSON = "daemon-json" // /etc/docker/daemon.json
	DropIn     = "drop-in"     // an option of dockerd, in a drop-in of its systemd unit
)

// Request is what a node is asked to do.
type Request struct {
	// Mirror is the address of dfdaemon's registry mirror on the node, "http://127.0.0.1:65001".
	Mirror string
	// Registries are the hosts whose images go by the mirror, "registry.example.com:5000". None means all, or where the runtime knows
	// no such thing, WellKnown.
	Registries []string
	// DockerMethod is DaemonJSON or DropIn; "" means DaemonJSON.
	DockerMethod string
}

// WellKnown are the registries that a runtime which has to be told each of them is told of if none is named.
func WellKnown() []string {
	return []string{"docker.io", "gcr.io", "ghcr.io", "quay.io", "registry.k8s.io"}
}

// AllRegistries stands for all registries that have no configuration of their own, in Request.Registries.
const AllRegistries = "_default"

// registryHost is a name or an address, with or without a port. It becomes the name of a directory.
var registryHost = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

// Validate checks a request.
func (r *Request) Validate() error {
	u, err := url.Parse(r.Mirror)
	if err != nil {
		return fmt.Errorf("the mirror's address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(u.Host, "\"'\\` $%") {
		return fmt.Errorf("the mirror's address %q should be like http://127.0.0.1:65001", r.Mirror)
	}
	for _, name := range r.Registries {
		if name == AllRegistries {
			continue
		}
		if !registryHost.MatchString(name) {
			return fmt.Errorf("the registry %q should be a host, like docker.io or registry.example.com:5000", name)
		}
	}
	if r.DockerMethod != "" && r.DockerMethod != DaemonJSON && r.DockerMethod != DropIn {
		return fmt.Errorf("the method for Docker %q is neither %s nor %s", r.DockerMethod, DaemonJSON, DropIn)
	}
	return nil
}

// mirror is the address without a slash at the end.
func (r *Request) mirror() string { return strings.TrimRight(r.Mirror, "/") }

// mirrorHost is the address without its scheme.
func (r *Request) mirrorHost() string {
	_, host, _ := strings.Cut(r.mirror(), "://")
	return host
}

// Change is a file's new content.
type Change struct {
	Path string
	// New is the content wanted. It is what the file has already where nothing is to be done.
	New []byte
	// Perm is for a new file.
	Perm fs.FileMode
	// Format is what the file can be checked as.
	Format edit.Format
	// Mark is a text that is in the file as long as our part is.
	Mark string
	// Common says that the text may as well be somebody else's, and does no harm where it stays.
	Common bool
	// Key and Value are, in JSON, what our part is: an element of the array under a top-level key. "" elsewhere.
	Key, Value string
	// Needs are the commands after which the runtime knows of the change; none where it reads the file at each pull.
	Needs []string
	// UndoNeeds are those after which it knows that the change was undone, where they are others.
	UndoNeeds []string
}

// Plan is what should be on a host.
type Plan struct {
	Changes []Change
	// Blocked says what stands in the way of a runtime's pulls going by the mirror, so that it was left as it is.
	Blocked []string
	// Notes are worth reading, and no obstacle.
	Notes []string
}

func (p *Plan) blockf(format string, args ...any) {
	p.Blocked = append(p.Blocked, fmt.Sprintf(format, args...))
}

func (p *Plan) notef(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// New plans for the runtimes on a host. An error is about a file that cannot be read; nothing should be changed then.
func New(tree Tree, req Request, runtimes ...Runtime) (Plan, error) {
	var p Plan
	if err := req.Validate(); err != nil {
		return p, err
	}
	plans := map[Runtime]func(Tree, *Request, *Plan) error{
		Docker: planDocker, Containerd: planContainerd, CRIO: planContainers, Podman: planContainers,
		K3s:  func(t Tree, r *Request, p *Plan) error { return planRancher(t, r, p, K3s) },
		RKE2: func(t Tree, r *Request, p *Plan) error { return planRancher(t, r, p, RKE2) },
	}
	for _, runtime := range runtimes {
		plan := plans[runtime]
		if plan == nil {
			return p, fmt.Errorf("the runtime %q is none of %s", runtime, names(Runtimes()))
		}
		if runtime == Podman && slices.Contains(runtimes, CRIO) {
			continue // both read the same files, and only CRI-O needs to be told
		}
		if err := plan(tree, &req, &p); err != nil {
			return Plan{}, err
		}
	}
	return p, nil
}

func names(runtimes []Runtime) string {
	var all []string
	for _, r := range runtimes {
		all = append(all, string(r))
	}
	return strings.Join(all, ", ")
}

// read reads a file, nil where there is none.
func read(tree Tree, name string) ([]byte, error) {
	data, err := tree.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if data == nil && err == nil {
		data = []byte{}
	}
	return data, err
}

// list lists a directory, nothing where there is none.
func list(tree Tree, name string) ([]string, error) {
	all, err := tree.ReadDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return all, err
}

// within adds the file's name to an error about its text.
func within(name string, err error) error { return fmt.Errorf("%s: %w", name, err) }
