// Package recipe reads the Dockerfiles of our images. It knows the part of the language that they use, and refuses everything else: a
// Dockerfile that it takes gives the same image here as by docker build.
package recipe

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Recipe is how to make an image.
type Recipe struct {
	Steps  []Step
	Config v1.Config
}

// Step is one instruction. At most one of Copy and Dir is set; without any it only changed the Config.
type Step struct {
	// Text is the instruction as it is written.
	Text string
	Copy *Copy
	// Dir is a folder to make, with its parents, owned by root: an absolute path, or "".
	Dir string
}

// Copy brings files into the image.
type Copy struct {
	// From are paths in the context. A folder stands for what is in it.
	From []string
	// To is an absolute path: a folder, which ends in "/".
	To string
	// UID and GID own the files.
	UID, GID int
}

// Parse reads a Dockerfile. name is for messages, which are "name:line: …". args are values for its ARGs; one that it does not
// declare is an error.
func Parse(name string, r io.Reader, args map[string]string) (*Recipe, error) {
	file, err := parser.Parse(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	stages, meta, err := instructions.Parse(file.AST, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &reader{name: name, given: args, vars: map[string]string{}, lex: shell.NewLex(file.EscapeToken), dir: "/"}
	if err := p.from(stages, meta); err != nil {
		return nil, err
	}
	for _, c := range stages[0].Commands {
		if err := p.step(c); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line(c.Location()), err)
		}
	}
	for _, arg := range slices.Sorted(maps.Keys(args)) {
		if !slices.Contains(p.declared, arg) {
			return nil, fmt.Errorf("%s: there is no ARG %s, but a value for it", name, arg)
		}
	}
	return &p.recipe, nil
}

// reader is the state between the lines.
type reader struct {
	name     string
	recipe   Recipe
	given    map[string]string // values for ARGs
	declared []string          // ARGs
	vars     map[string]string // ARGs and ENVs so far
	lex      *shell.Lex
	dir      string // WORKDIR
}

func line(where []parser.Range) int {
	if len(where) == 0 {
		return 0
	}
	return where[0].Start.Line
}

func (p *reader) from(stages []instructions.Stage, meta []instructions.ArgCommand) error {
	switch {
	case len(meta) > 0:
		return fmt.Errorf("%s:%d: an ARG before FROM is not supported", p.name, line(meta[0].Location()))
	case len(stages) != 1:
		return fmt.Errorf("%s:%d: more than one FROM is not supported", p.name, line(stages[1].Location))
	case stages[0].BaseName != "scratch" || stages[0].Platform != "":
		return fmt.Errorf("%s:%d: want FROM scratch, and nothing else", p.name, line(stages[0].Location))
	}
	return nil
}

// expand replaces $NAME.
func (p *reader) expand(word string) (string, error) {
	var env []string
	for name, value := range p.vars {
		env = append(env, name+"="+value)
	}
	out, unknown, err := p.lex.ProcessWord(word, shell.EnvsFromSlice(env))
	if err == nil && len(unknown) > 0 {
		err = fmt.Errorf("there is no ARG or ENV %s", strings.Join(slices.Sorted(maps.Keys(unknown)), ", "))
	}
	return out, err
}

// step takes one instruction.
func (p *reader) step(c instructions.Command) error {
	if e, ok := c.(instructions.SupportsSingleWordExpansion); ok {
		if err := e.Expand(p.expand); err != nil {
			return err
		}
	}
	step := Step{Text: fmt.Sprint(c)}
	err := p.take(c, &step)
	p.recipe.Steps = append(p.recipe.Steps, step)
	return err
}

func (p *reader) take(c instructions.Command, step *Step) error {
	cfg := &p.recipe.Config
	switch c := c.(type) {
	case *instructions.ArgCommand:
		return p.arg(c)
	case *instructions.LabelCommand:
		if cfg.Labels == nil {
			cfg.Labels = map[string]string{}
		}
		for _, kv := range c.Labels {
			cfg.Labels[kv.Key] = kv.Value
		}
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			p.setEnv(kv.Key, kv.Value)
		}
	case *instructions.ExposeCommand:
		return p.expose(c.Ports)
	case *instructions.UserCommand:
		cfg.User = c.User
	case *instructions.WorkdirCommand:
		p.dir = path.Join("/", path.Join(p.dir, c.Path))
		if path.IsAbs(c.Path) {
			p.dir = path.Clean(c.Path)
		}
		cfg.WorkingDir, step.Dir = p.dir, p.dir
	case *instructions.CopyCommand:
		copied, err := p.copy(c)
		step.Copy = copied
		return err
	case *instructions.EntrypointCommand:
		if c.PrependShell || len(c.Files) > 0 {
			return fmt.Errorf("ENTRYPOINT: want the form with brackets, there is no shell in the image")
		}
		cfg.Entrypoint = c.CmdLine
	default:
		return fmt.Errorf("%s is not supported", c.Name())
	}
	return nil
}

func (p *reader) arg(c *instructions.ArgCommand) error {
	for _, a := range c.Args {
		value, ok := p.given[a.Key]
		if !ok && a.Value != nil {
			value, ok = *a.Value, true
		}
		if !ok {
			return fmt.Errorf("ARG %s has no value", a.Key)
		}
		p.declared = append(p.declared, a.Key)
		p.vars[a.Key] = value
	}
	return nil
}

func (p *reader) setEnv(name, value string) {
	cfg := &p.recipe.Config
	cfg.Env = slices.DeleteFunc(cfg.Env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	cfg.Env = append(cfg.Env, name+"="+value)
	p.vars[name] = value
}
