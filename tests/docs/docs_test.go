// Package docs checks that the documentation of options and exit codes is that of the programs.
package docs

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragonfly-kube/dragonfly/components/dfdaemon"
	"github.com/dragonfly-kube/dragonfly/components/dfget"
	"github.com/dragonfly-kube/dragonfly/components/supernode"
	"github.com/dragonfly-kube/dragonfly/dfctl/app"
)

var update = flag.Bool("update", false, "rewrite the generated parts of docs/ and the golden files")

func programs() map[string]*cobra.Command {
	part := func(path ...string) *cobra.Command {
		cmd, _, err := app.NewCommand(io.Discard, io.Discard).Find(path)
		if err != nil {
			panic(err) // the command is part of dfctl
		}
		return cmd
	}
	return map[string]*cobra.Command{
		"supernode": supernode.NewCommand(), "dfdaemon": dfdaemon.NewCommand(), "dfget": dfget.NewCommand(),
		"dfctl": part("status"), "dfctl-node-config": part("node-config", "apply"), "dfctl-verify": part("verify"),
	}
}

func help(t *testing.T, cmd *cobra.Command) string {
	t.Helper()
	var out bytes.Buffer
	cmd.SetOut(&out)
	if err := cmd.Help(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestHelpIsAsReviewed(t *testing.T) {
	t.Parallel()
	all := programs()
	for _, name := range []string{"supernode", "dfdaemon", "dfget"} { // dfctl has its own
		compare(t, filepath.Join("testdata", name+".golden"), help(t, all[name]))
	}
}

// part is a generated part of a document.
var part = regexp.MustCompile(`(?s)<!-- generated: ([a-z-]+) -->\n.*?<!-- end -->`)

func TestDocumentsHaveEveryOption(t *testing.T) {
	t.Parallel()
	parts := map[string]string{}
	for name, cmd := range programs() {
		parts["options-"+name] = table(cmd.Flags())
	}
	_, codes, _ := strings.Cut(help(t, dfget.NewCommand()), "Exit codes:\n")
	parts["exit-codes"] = "```\n" + codes + "```\n"
	for document, wants := range map[string][]string{
		"configuration.md": {"options-supernode", "options-dfdaemon", "options-dfget", "options-dfctl", "options-dfctl-verify"},
		"dfget.md":         {"exit-codes"},
		"node-config.md":   {"options-dfctl-node-config"},
	} {
		path := filepath.Join("..", "..", "docs", document)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(old), "<!-- generated: "+want+" -->") {
				t.Errorf("%s has no part %s", document, want)
			}
		}
		compare(t, path, part.ReplaceAllStringFunc(string(old), func(text string) string {
			name := part.FindStringSubmatch(text)[1]
			return "<!-- generated: " + name + " -->\n" + parts[name] + "<!-- end -->"
		}))
	}
}

// table lists options in Markdown.
func table(flags *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString("| option | default | meaning |\n|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Name == "version" || f.Deprecated != "" {
			return
		}
		name, usage := pflag.UnquoteUsage(f)
		if i := strings.LastIndex(usage, " [DRAGONFLY_"); i >= 0 {
			usage = usage[:i] // the variable's name follows from the option's
		}
		short := ""
		if f.Shorthand != "" {
			short = "-" + f.Shorthand + ", "
		}
		def := ""
		if f.DefValue != "" && f.DefValue != "[]" {
			def = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(&b, "| `%s--%s%s` | %s | %s |\n", short, f.Name, strings.TrimRight(" "+name, " "), def, strings.ReplaceAll(usage, "|", `\|`))
	})
	return b.String()
}

func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-is +should be); accept it by: go test ./tests/docs -update\n%s", path, diff)
	}
}
