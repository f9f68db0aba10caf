package cli

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is Quire's version. A release build sets it with
// -ldflags "-X quire/internal/cli.version=1.2.3".
var version = "0.1.0-dev"

// A versionReport is what quire version --json prints.
type versionReport struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`   // the git commit it was built from
	Modified bool   `json:"modified,omitempty"` // built from a tree with changes
	Built    string `json:"built,omitempty"`    // the commit's time, RFC 3339
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// currentVersion returns the version of the running binary.
func currentVersion() versionReport {
	v := versionReport{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.time":
				v.Built = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	return v
}

// line is the version for a person.
func (v versionReport) line() string {
	line := "quire " + v.Version
	if v.Commit != "" {
		line += " (" + v.Commit[:min(12, len(v.Commit))]
		if v.Modified {
			line += ", modified"
		}
		line += ")"
	}
	return line + " " + v.Go + " " + v.Platform
}

// runLine is what quire run --version prints, in the form of papermill's
// --version: "<version> from <file> (<language version>)".
func (v versionReport) runLine() string {
	file, err := os.Executable()
	if err != nil {
		file = os.Args[0]
	}
	return fmt.Sprintf("%s from %s (%s)", v.Version, file, v.Go)
}

func newVersionCommand(p Process) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  quire version\n  quire version --json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return printJSON(p.Stdout, currentVersion())
			}
			_, err := fmt.Fprintln(p.Stdout, currentVersion().line())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return withExit(cmd, exitHelp)
}
