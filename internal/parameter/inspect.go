package parameter

import (
	"fmt"
	"strings"
)

// MaxSource is the largest cell source that Inspect reads, in bytes; of a
// longer one it reads nothing and says so in a warning.
const MaxSource = 4 << 20

// NoType is the Type of a definition that states none, as Papermill has it.
const NoType = "None"

// Definition is one parameter that a parameters cell declares. The JSON names
// of the first four are those of papermill.inspect_notebook.
type Definition struct {
	Name string `json:"name"`
	// Type is the annotation, else the word after "# type:", else NoType.
	Type string `json:"inferred_type_name"`
	// Default is the source text of the value, on one line, without comments;
	// empty when Required.
	Default string `json:"default"`
	// Help is the comment that ends the definition's last line.
	Help string `json:"help"`
	// Inferred is the kind of the default when it is a literal: bool, int,
	// float, str, list or dict; else empty.
	Inferred string `json:"inferred,omitempty"`
	// Required is set for a declaration without a value (x: int).
	Required bool `json:"required,omitempty"`
	// Line is the line of the definition in the cell, from 1.
	Line int `json:"line"`

	value   Value
	literal bool // value is the default
}

// Value returns the default's value, and whether it is a literal that could be
// read: a default that is computed has none.
func (d Definition) Value() (Value, bool) { return d.value, d.literal }

// Warning is something in a parameters cell that could not be read.
type Warning struct {
	Line int    `json:"line"` // from 1
	Text string `json:"text"`
}

// Inspect returns the parameters that the source of a parameters cell declares:
// its assignments at the top level, in order, each name once (its last value in
// the place of its first). What else the cell does (calls, imports, blocks,
// augmented assignments) is passed over. language is a name that LanguageOf
// knows, in any case; kernel names work too. A language without a reader gives a
// warning, and broken source gives what could be read and warnings; it never
// fails, and takes time in proportion to the source.
func Inspect(language, source string) ([]Definition, []Warning) {
	d, err := findDialect(language, language)
	if err != nil {
		return nil, []Warning{{Line: 1, Text: fmt.Sprintf("Translator for '%s' language does not support parameter introspection.", language)}}
	}
	if len(source) > MaxSource {
		return nil, []Warning{{Line: 1, Text: fmt.Sprintf("the parameters cell has %d bytes, over the limit of %d: it was not read", len(source), MaxSource)}}
	}
	source = strings.TrimPrefix(source, "\ufeff")
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	var defs []Definition
	var warnings []Warning
	switch d {
	case pythonDialect:
		defs, warnings = inspectPython(source)
	case sqlDialect:
		defs, warnings = inspectSQL(source)
	default:
		defs, warnings = inspectOther(d.name, source)
	}
	return lastOfEach(defs), warnings
}

// lastOfEach merges the definitions of one name: the place of the first, the
// value of the last, and what the last leaves out from those before it.
func lastOfEach(defs []Definition) []Definition {
	at := make(map[string]int, len(defs))
	out := make([]Definition, 0, len(defs))
	for _, d := range defs {
		i, ok := at[d.Name]
		if !ok {
			at[d.Name] = len(out)
			out = append(out, d)
			continue
		}
		before := out[i]
		if d.Required && !before.Required { // a declaration after a value takes no value away
			d.Default, d.value, d.literal, d.Inferred, d.Required = before.Default, before.value, before.literal, before.Inferred, false
		}
		if d.Type == NoType {
			d.Type = before.Type
		}
		if d.Help == "" {
			d.Help = before.Help
		}
		out[i] = d
	}
	return out
}

// FormatHelp returns one line for each definition as papermill --help-notebook
// prints it, each with its line end: the definition padded to 34 columns and the
// help behind it, or on the next line where the definition is over 30 characters
// long. For no definitions it is the sentence that Papermill prints.
func FormatHelp(defs []Definition) string {
	if len(defs) == 0 {
		return "\n  Can't infer anything about this notebook's parameters. It may not have any parameter defined.\n"
	}
	var b strings.Builder
	for _, d := range defs {
		typ := d.Type
		if typ == NoType {
			typ = "Unknown type"
		}
		line := fmt.Sprintf("  %s: %s (default %s)", d.Name, typ, d.Default)
		if d.Required {
			line = fmt.Sprintf("  %s: %s (required)", d.Name, typ)
		}
		switch long := len([]rune(line)) > 30; {
		case long && d.Help != "":
			line += "\n" + strings.Repeat(" ", 34) + d.Help
		case !long:
			line = fmt.Sprintf("%-34s%s", line, d.Help)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
