package nodeconfig

import (
	"text/template"

	"github.com/aymanbagabas/go-udiff"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
	"github.com/dragonfly-kube/dragonfly/dfctl/node"
	"github.com/dragonfly-kube/dragonfly/dfctl/node/ledger"
)

// Report is what the commands write with -o json.
type Report struct {
	// Runtimes are those that were asked for or found; none for rollback.
	Runtimes []node.Runtime `json:"runtimes"`
	Files    []File         `json:"files"`
	// Needs are the commands after which the runtimes use the files, Restarted whether they are run now.
	Needs     []string `json:"needs"`
	Restarted bool     `json:"restarted"`
	// Blocked says what stands in the way, Notes what is worth reading.
	Blocked []string `json:"blocked"`
	Notes   []string `json:"notes"`
}

// File is a file of the host.
type File struct {
	Path string `json:"path"`
	// Action is "create", "change", "remove" or "keep".
	Action string `json:"action"`
	// Content is what it should have, Diff what would change; each for the command that is about it.
	Content string `json:"content,omitempty"`
	Diff    string `json:"diff,omitempty"`
}

// what a report has of each file.
type what int

const (
	nothing what = iota
	contents
	diffs
)

func (h host) report(j *job, has what) Report {
	r := Report{
		Runtimes: append([]node.Runtime{}, j.runtimes...), Files: []File{}, Needs: []string{},
		Blocked: append([]string{}, j.plan.Blocked...), Notes: append([]string{}, j.plan.Notes...),
	}
	for _, w := range j.writes {
		f := File{Path: w.Path, Action: action(&w)}
		switch has {
		case nothing:
		case contents:
			f.Content = string(w.New)
		case diffs:
			f.Diff = diff(&w)
		}
		r.Files = append(r.Files, f)
	}
	return r
}

func action(w *ledger.Write) string {
	switch {
	case !w.Changed():
		return "keep"
	case w.Old == nil:
		return "create"
	case w.New == nil:
		return "remove"
	}
	return "change"
}

func diff(w *ledger.Write) string {
	from, to := w.Path, w.Path
	if w.Old == nil {
		from = "/dev/null"
	}
	if w.New == nil {
		to = "/dev/null"
	}
	return udiff.Unified(from, to, string(w.Old), string(w.New))
}

func layout(text string) *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{"plain": cli.Plain}).Parse(text))
}

func printed() *template.Template {
	return layout("{{range .Files}}{{if ne .Action \"remove\"}}==> {{plain .Path}} <==\n{{.Content}}\n{{end}}{{end}}")
}

func diffed() *template.Template { return layout("{{range .Files}}{{.Diff}}{{end}}") }

func changed() *template.Template {
	return layout("{{range .Files}}{{if eq .Action \"create\"}}created {{plain .Path}}\n{{else if eq .Action \"remove\"}}removed {{plain .Path}}\n" +
		"{{else if eq .Action \"change\"}}changed {{plain .Path}}\n{{end}}{{end}}")
}

func verified() *template.Template {
	return layout("{{range .Files}}{{if eq .Action \"keep\"}}as it should be  {{else if eq .Action \"create\"}}missing          " +
		"{{else}}differs          {{end}}{{plain .Path}}\n{{end}}")
}
