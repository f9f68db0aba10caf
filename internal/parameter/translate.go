package parameter

import (
	"strings"

	"quire/internal/problem"
)

// DefaultComment is the comment of an injected cell.
const DefaultComment = "Parameters"

// dialect is how one language writes assignments.
type dialect struct {
	name    string                           // for messages
	comment func(text string) string         // one line of comment, text already safe
	ident   func(name string) (string, bool) // the name as written, or false
	assign  func(name string, v Value, text string) string
	value   func(v Value) (string, error)
}

// dialects by exact kernel name or exact language name, Papermill's first.
var dialects = map[string]*dialect{
	"python": pythonDialect, "R": rDialect, "scala": scalaDialect, "julia": juliaDialect,
	"matlab": matlabDialect, "bash": bashDialect,
	"sql":         sqlDialect,
	".net-csharp": csharpDialect, ".net-fsharp": fsharpDialect, ".net-powershell": powershellDialect,
	"pysparkkernel": pythonDialect, "sparkkernel": scalaDialect, "sparkrkernel": rDialect,

	"ir": rDialect, "deno": scriptDialect, "javascript": scriptDialect, "typescript": scriptDialect,
	"jslab": scriptDialect, "tslab": scriptDialect,
}

// languages by name in lower case, tried when nothing matches exactly.
var languages = map[string]*dialect{
	"python": pythonDialect, "ipython": pythonDialect, "python3": pythonDialect, "pyspark": pythonDialect,
	"r": rDialect, "scala": scalaDialect, "julia": juliaDialect, "matlab": matlabDialect,
	"bash": bashDialect, "sql": sqlDialect, "c#": csharpDialect, "csharp": csharpDialect, "f#": fsharpDialect, "fsharp": fsharpDialect,
	"powershell": powershellDialect, "pwsh": powershellDialect,
	"javascript": scriptDialect, "js": scriptDialect, "typescript": scriptDialect, "ts": scriptDialect,
}

func findDialect(kernelName, language string) (*dialect, error) {
	if d, ok := dialects[kernelName]; ok {
		return d, nil
	}
	if d, ok := dialects[language]; ok {
		return d, nil
	}
	if d, ok := languages[strings.ToLower(language)]; ok {
		return d, nil
	}
	return nil, problem.New(problem.Invalid, "No parameter translator functions specified for kernel '%s' or language '%s' "+
		"(known: python, R, scala, julia, matlab, bash, javascript, typescript, C#, F#, powershell, sql)", kernelName, language)
}

// LanguageOf returns the language in which parameters of a kernel are written,
// and whether there is one: the exact kernel name decides, then the language.
// The names are python, R, scala, julia, matlab, bash, javascript, C#, F#,
// powershell and sql.
func LanguageOf(kernelName, language string) (string, bool) {
	d, err := findDialect(kernelName, language)
	if err != nil {
		return "", false
	}
	return d.name, true
}

// Translate returns the source of the cell that assigns the set's values in
// order, after a comment line; an empty comment is DefaultComment. The translator
// is chosen by exact kernel name first, then by language.
//
// No value can end its literal or the comment: what comes out assigns exactly
// the given values. A name that is not an identifier of the language, a value
// that the language cannot hold (a NUL in R or the shell, nested lists in the
// shell) or an unknown language is an error of kind Invalid.
func Translate(kernelName, language string, set Set, comment string) (string, error) {
	d, err := findDialect(kernelName, language)
	if err != nil {
		return "", err
	}
	if comment == "" {
		comment = DefaultComment
	}
	var b strings.Builder
	b.WriteString(d.comment(oneLine(comment)))
	b.WriteByte('\n')
	for name, v := range set.All() {
		ident, ok := d.ident(name)
		if !ok {
			return "", problem.New(problem.Invalid, "parameter %s is not a name that %s can assign to", shorten(quotePython(name)), d.name)
		}
		text, err := d.value(v)
		if err != nil {
			return "", problem.Wrap(err, "parameter %s", name)
		}
		b.WriteString(d.assign(ident, v, text))
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// ValidName reports whether a parameter of this name can be assigned to in the
// language of the kernel; an unknown language takes no name.
func ValidName(kernelName, language, name string) bool {
	d, err := findDialect(kernelName, language)
	if err != nil {
		return false
	}
	_, ok := d.ident(name)
	return ok
}

// oneLine replaces everything that any language may take for a line end, and
// other control characters, by spaces.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < 0x20, r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029:
			return ' '
		}
		return r
	}, s)
}

func hashComment(text string) string  { return strings.TrimSpace("# " + text) }
func slashComment(text string) string { return strings.TrimSpace("// " + text) }

// tree writes values whose language differs only in these parts.
type tree struct {
	null, yes, no string
	integer       func(v Value) string
	float         func(f float64) string
	str           func(s string) (string, error)
	list          func(items []Value, texts []string) (string, error)
	dict          func(fields []Field, texts []string) (string, error) // keys are strings, each once
}

func (t *tree) value(v Value) (string, error) {
	switch v.kind {
	case KindBool:
		if v.b {
			return t.yes, nil
		}
		return t.no, nil
	case KindInt:
		if t.integer != nil {
			return t.integer(v), nil
		}
		return v.intText(), nil
	case KindFloat:
		return t.float(v.f), nil
	case KindString:
		return t.str(v.s)
	case KindList:
		texts := make([]string, len(v.list))
		for i, e := range v.list {
			text, err := t.value(e)
			if err != nil {
				return "", err
			}
			texts[i] = text
		}
		return t.list(v.list, texts)
	case KindDict:
		fields := stringFields(v.fields, Value.keyText)
		texts := make([]string, len(fields))
		for i, f := range fields {
			text, err := t.value(f.Value)
			if err != nil {
				return "", err
			}
			texts[i] = text
		}
		return t.dict(fields, texts)
	default:
		return t.null, nil
	}
}

// floats returns a float writer that names what is not finite.
func floats(nan, inf, negInf string) func(float64) string {
	return func(f float64) string {
		switch nonFiniteName(f) {
		case "NaN":
			return nan
		case "Infinity":
			return inf
		case "-Infinity":
			return negInf
		}
		return formatFloat(f)
	}
}

// joined returns a list writer: open, texts with sep between, close.
func joined(open, sep, end string) func([]Value, []string) (string, error) {
	return func(_ []Value, texts []string) (string, error) {
		return open + strings.Join(texts, sep) + end, nil
	}
}

// pairs returns a dictionary writer: entries are before + key + between + value + after.
func pairs(open, before, between, after, sep, end string, key func(string) (string, error)) func([]Field, []string) (string, error) {
	return func(fields []Field, texts []string) (string, error) {
		parts := make([]string, len(fields))
		for i, f := range fields {
			k, err := key(f.Key.s)
			if err != nil {
				return "", err
			}
			parts[i] = before + k + between + texts[i] + after
		}
		return open + strings.Join(parts, sep) + end, nil
	}
}

// assignment returns the usual form of assignment.
func assignment(before, between, after string) func(string, Value, string) string {
	return func(name string, _ Value, text string) string { return before + name + between + text + after }
}
