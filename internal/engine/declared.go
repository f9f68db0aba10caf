package engine

import (
	"fmt"
	"strings"

	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// SchemaOf returns what a notebook declares in its parameters cell, and what of
// it could not be read. A notebook without such a cell declares nothing.
// kernelName and language override what the notebook says; both may be empty.
func SchemaOf(nb *notebook.Notebook, kernelName, language string) (parameter.Schema, []parameter.Warning) {
	i := nb.ParametersCell()
	if i < 0 {
		return parameter.Schema{}, nil
	}
	if kernelName == "" {
		kernelName = nb.KernelName()
	}
	if language == "" {
		language = nb.Language()
	}
	if key, ok := parameter.LanguageOf(kernelName, language); ok {
		language = key
	}
	defs, warnings := parameter.Inspect(language, nb.Cells[i].Source)
	return parameter.SchemaOf(defs), warnings
}

// checkDeclared holds the given parameters against what the notebook declares,
// before anything starts. Everything that is wrong is told at once. Values typed
// on a command line take the declared type.
func (r *run) checkDeclared() error {
	schema, warnings := SchemaOf(r.nb, r.kernelName(), r.language())
	given := r.req.Parameters
	set, violations := schema.Apply(given, r.req.Strict)
	r.params = set
	r.result.Parameters = set
	var wrong []string
	for _, v := range violations {
		if _, secret := r.req.Secrets[v.Name]; !secret {
			wrong = append(wrong, r.mask.text(v.String()))
		}
	}
	for _, p := range schema.Parameters {
		if p.Secret && given.Has(p.Name) {
			wrong = append(wrong, p.Name+": it is declared secret and would stand in the notebook: give it with --secret")
		}
	}
	if len(wrong) > 0 {
		return problem.New(problem.Invalid, "%s: %s", wrongCount(len(wrong)), strings.Join(wrong, "; "))
	}
	if given.Len() == 0 {
		return nil
	}
	for _, w := range warnings {
		r.warn(w.Text)
	}
	for _, name := range schema.Unknown(given) {
		r.warn("Passed unknown parameter: " + name)
	}
	return nil
}

func wrongCount(n int) string {
	if n == 1 {
		return "a parameter is wrong"
	}
	return fmt.Sprintf("%d parameters are wrong", n)
}
