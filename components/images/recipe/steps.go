package recipe

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

func (p *reader) expose(ports []string) error {
	cfg := &p.recipe.Config
	if cfg.ExposedPorts == nil {
		cfg.ExposedPorts = map[string]struct{}{}
	}
	for _, port := range ports {
		number, protocol, ok := strings.Cut(port, "/")
		if !ok {
			protocol = "tcp"
		}
		if _, err := strconv.ParseUint(number, 10, 16); err != nil || protocol != "tcp" && protocol != "udp" {
			return fmt.Errorf("EXPOSE: %q is no port", port)
		}
		cfg.ExposedPorts[number+"/"+protocol] = struct{}{}
	}
	return nil
}

// copy takes a COPY of files in the context to a folder.
func (p *reader) copy(c *instructions.CopyCommand) (*Copy, error) {
	switch {
	case c.From != "" || c.Chmod != "" || c.Link || c.Parents || len(c.ExcludePatterns) > 0 || len(c.SourceContents) > 0:
		return nil, errors.New("COPY: no option but --chown is supported")
	case !strings.HasSuffix(c.DestPath, "/"):
		return nil, fmt.Errorf("COPY: want a folder to copy to, %q with a slash behind it", c.DestPath)
	}
	to := c.DestPath
	if !path.IsAbs(to) {
		to = path.Join(p.dir, to)
	}
	out := &Copy{To: strings.TrimSuffix(path.Clean(to), "/") + "/"}
	for _, from := range c.SourcePaths {
		from = path.Clean(strings.TrimPrefix(from, "/"))
		if !fs.ValidPath(from) || strings.ContainsAny(from, `*?[\`) {
			return nil, fmt.Errorf("COPY: %q: want a path in the context without wildcards", from)
		}
		out.From = append(out.From, from)
	}
	if c.Chown == "" {
		return out, nil
	}
	uid, gid, ok := strings.Cut(c.Chown, ":")
	var errs [2]error
	out.UID, errs[0] = id(uid)
	out.GID, errs[1] = id(gid)
	if !ok || errors.Join(errs[:]...) != nil {
		return nil, fmt.Errorf("COPY: --chown=%s: want two numbers, as 65532:65532", c.Chown)
	}
	return out, nil
}

func id(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err
}
