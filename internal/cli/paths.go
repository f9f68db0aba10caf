package cli

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/term"

	"quire/internal/parameter"
)

// The paths that a run was given, before parameters are put into them.
type runPaths struct{ input, output string }

// pathRules are the facts that papermill's rules for left-out paths depend on.
type pathRules struct {
	stdinPiped bool // standard input is a pipe with a reader and a writer (a FIFO), not a file
	stdoutTTY  bool
	help       bool // --help-notebook: there is no output
}

// rulesOf looks at the process's streams.
func rulesOf(p Process, help bool) pathRules {
	st, err := p.Stdin.Stat()
	return pathRules{
		stdinPiped: err == nil && st.Mode()&fs.ModeNamedPipe != 0,
		stdoutTTY:  term.IsTerminal(int(p.Stdout.Fd())),
		help:       help,
	}
}

// resolve applies papermill's rules: with a pipe on standard input a single
// path is the OUTPUT; the output may be left out when standard input is a pipe
// or standard output is not a terminal; what is left out is "-".
func (r pathRules) resolve(args []string) (runPaths, error) {
	var given runPaths
	if len(args) > 0 {
		given.input = args[0]
	}
	if len(args) > 1 {
		given.output = args[1]
	}
	switch {
	case given.input == "" && !r.stdinPiped:
		return given, usageError{errors.New("missing argument NOTEBOOK")}
	case r.help:
		given.output = ""
	case given.output == "" && !r.stdinPiped && r.stdoutTTY:
		return given, usageError{errors.New("missing argument OUTPUT")}
	case r.stdinPiped && given.input != "" && given.output == "":
		given = runPaths{input: "-", output: given.input}
	}
	if given.input == "" {
		given.input = "-"
	}
	if given.output == "" && !r.help {
		given.output = "-"
	}
	return given, nil
}

// notebookName reports whether a path looks like a notebook's.
func notebookName(name string) bool {
	if name == "-" {
		return true
	}
	name, _, _ = strings.Cut(name, "?")
	ext := strings.ToLower(path.Ext(name))
	return ext == ".ipynb" || ext == ".json"
}

// secretQuery matches the parts of a URL's query that give access: signatures,
// tokens, keys.
var secretQuery = regexp.MustCompile(`(?i)([?&][^=&#]*(?:sig|token|key|secret|pass|credential|auth|sas)[^=&#]*=)[^&#]*`)

// publicPath is a path or URL as it may be shown and kept: without a user name,
// password, signature or token.
func publicPath(name string) string {
	scheme, rest, ok := strings.Cut(name, "://")
	if !ok {
		return name
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
		rest = rest[at+1:]
	}
	return scheme + "://" + secretQuery.ReplaceAllString(rest, "${1}********")
}

// builtins are what a path template of one run may name besides parameters.
func builtins(at time.Time) parameter.Builtins {
	return parameter.Builtins{RunUUID: uuid.NewString(), Local: at.Local(), UTC: at.UTC()}
}

// isFile reports whether name is a regular file of this machine.
func isFile(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.Mode().IsRegular()
}
