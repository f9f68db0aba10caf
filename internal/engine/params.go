package engine

import (
	"encoding/json"
	"slices"
	"sort"
	"strings"

	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// The tags of Papermill.
const (
	tagParameters = "parameters"
	tagInjected   = "injected-parameters"
	tagSkip       = "skip-execution"
	tagRaises     = "raises-exception"
	tagCheck      = "check"
)

// language returns the language of the run: asked for, in language_info, or in
// the kernelspec.
func (r *run) language() string {
	if r.req.Language != "" {
		return r.req.Language
	}
	if s, ok := lookup(r.nb.Metadata, "language_info")["name"].(string); ok && s != "" {
		return s
	}
	if s, ok := lookup(r.nb.Metadata, "kernelspec")["language"].(string); ok && s != "" {
		return s
	}
	return r.spec.Language
}

// kernelName returns the name of the kernel to run on, "" when nothing says.
func (r *run) kernelName() string {
	if r.req.Kernel != "" {
		return r.req.Kernel
	}
	s, _ := lookup(r.nb.Metadata, "kernelspec")["name"].(string)
	return s
}

// parameterize checks the parameters and injects them.
func (r *run) parameterize() error {
	if err := r.checkDeclared(); err != nil {
		return err
	}
	if r.params.Len() == 0 && len(r.req.Secrets) == 0 {
		return nil
	}
	source, err := r.injectedSource()
	if err != nil || source == "" {
		return err
	}
	cell := notebook.NewCode(source)
	cell.Metadata = notebook.Object{"tags": []any{tagInjected}}
	injected, declared := r.nb.InjectedCell(), r.nb.ParametersCell()
	switch {
	case injected >= 0:
		r.nb.Cells[injected] = cell
	case declared >= 0:
		r.nb.Cells = slices.Insert(r.nb.Cells, declared+1, cell)
	default:
		r.warn("Input notebook does not contain a cell with tag 'parameters'")
		r.nb.Cells = slices.Insert(r.nb.Cells, 0, cell)
	}
	if r.params.Len() > 0 {
		text, err := json.Marshal(r.params)
		if err != nil {
			return problem.Wrap(err, "encoding the parameters")
		}
		object(r.nb.Metadata, "papermill")["parameters"] = notebook.Raw(text)
	}
	return nil
}

// injectedSource is the code of the injected cell. Secrets stand in it as
// comments: their values are assigned without a trace (see secretCode).
func (r *run) injectedSource() (string, error) {
	comment := r.req.Comment
	if comment == "" {
		comment = "Parameters"
	}
	name, language := r.kernelName(), r.language()
	if r.params.Len() > 0 && name == "" {
		return "", problem.New(problem.Invalid, "the notebook names no kernel: give one with --kernel")
	}
	if r.params.Len() > 0 && language == "" {
		return "", problem.New(problem.Invalid, "the notebook names no language: give one with --language")
	}
	source, err := parameter.Translate(name, language, r.params, comment)
	if err != nil {
		if r.params.Len() == 0 {
			return "", nil // only secrets, in a language that gets them as files
		}
		return "", err
	}
	if r.mask.text(source) != source {
		return "", problem.New(problem.Invalid, "a parameter holds the value of a secret: give it with --secret only")
	}
	prefix := commentPrefix(name, language)
	if prefix == "" {
		return source, nil
	}
	for _, s := range r.secretNames() {
		if !strings.HasSuffix(source, "\n") {
			source += "\n"
		}
		source += prefix + " " + s + ": secret, given by reference\n"
	}
	return source, nil
}

func (r *run) secretNames() []string {
	names := make([]string, 0, len(r.req.Secrets))
	for name := range r.req.Secrets {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// commentPrefix is how a line of comment starts, "" where we assign no secrets.
func commentPrefix(kernelName, language string) string {
	key, _ := parameter.LanguageOf(kernelName, language)
	switch strings.ToLower(key) {
	case "python", "r", "julia", "bash":
		return "#"
	}
	return ""
}
