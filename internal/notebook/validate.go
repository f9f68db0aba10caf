package notebook

import (
	"fmt"
	"strings"

	"quire/internal/problem"
)

// Validate holds the notebook against the rules of nbformat's JSON schema for
// its minor version, as nbformat.validate(nb, relax_add_props=True) does:
// unknown fields are allowed. It returns the first violation, with its place,
// as problem.Invalid. A minor version newer than CurrentMinor is held against
// CurrentMinor's rules, with unknown kinds of cells and outputs allowed.
func (nb *Notebook) Validate() error {
	v := validator{nb: nb}
	v.notebook()
	if len(v.issues) == 0 {
		return nil
	}
	more := ""
	if n := len(v.issues) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return problem.New(problem.Invalid, "%s%s", v.issues[0].text, more)
}

// An issue is one violation of the schema.
type issue struct {
	text      string
	wrongType bool // a type that Read refuses; else it is let pass with a warning
}

type validator struct {
	nb           *Notebook
	cell, output int // as in writer
	issues       []issue
	refused      bool // some issue is a wrong type
	uniqueIDs    bool // that cell ids are unique is known
}

func (v *validator) report(wrongType bool, format string, args ...any) {
	if len(v.issues) >= maxWarnings && (!wrongType || v.refused) {
		return
	}
	v.refused = v.refused || wrongType
	v.issues = append(v.issues, issue{
		text:      place(v.cell, v.output-1) + fmt.Sprintf(format, args...),
		wrongType: wrongType,
	})
}

// soft reports a violation that Python's nbformat logs and that harms nothing here.
func (v *validator) soft(format string, args ...any) { v.report(false, format, args...) }

// hard reports a wrong type in a field that Quire reads.
func (v *validator) hard(format string, args ...any) { v.report(true, format, args...) }

func (v *validator) notebook() {
	nb := v.nb
	if nb.Format != CurrentFormat {
		v.soft("nbformat %d: want %d", nb.Format, CurrentFormat)
	}
	if nb.Minor < 0 {
		v.soft("nbformat_minor %d: want 0 or more", nb.Minor)
	}
	v.metadata(nb.Metadata)
	check := nb.Minor >= 5 && !v.uniqueIDs
	var seen idSet
	if check {
		seen = newIDSet(nb.Cells)
	}
	for i, c := range nb.Cells {
		v.cell = i + 1
		v.oneCell(c)
		if !check || c == nil || c.ID == "" {
			continue
		}
		if first := seen.add(i); first != i {
			v.soft("id %q: cell %d has the same", shorten(c.ID), first+1)
		}
	}
	v.cell = 0
}

// kindOf names a value's JSON type.
func kindOf(val any) string {
	switch val.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case Number, int, int64, float64:
		return "a number"
	case []any, []string, []Object:
		return "a list"
	}
	return "an object"
}

// asObject returns val as an Object.
func asObject(val any) (Object, bool) {
	switch o := val.(type) {
	case Object:
		return o, true
	case map[string]any:
		return o, true
	case MimeBundle:
		return Object(o), true
	case Raw:
		i := skipSpace(o, 0)
		return nil, i < len(o) && o[i] == '{'
	}
	return nil, false
}

type reporter func(format string, args ...any)

// field checks that o[key], when present, is a string.
func (v *validator) field(report reporter, at string, o Object, key string) {
	val, ok := o[key]
	if !ok {
		return
	}
	if _, ok := val.(string); !ok {
		report("%s%s is %s: want a string", at, key, kindOf(val))
	}
}

func (v *validator) required(at string, o Object, keys ...string) {
	for _, k := range keys {
		if _, ok := o[k]; !ok {
			v.soft("%s%s is missing", at, k)
		}
	}
}

func (v *validator) metadata(meta Object) {
	if val, ok := meta["kernelspec"]; ok {
		if o, ok := asObject(val); !ok {
			v.hard("metadata: kernelspec is %s: want an object", kindOf(val))
		} else {
			v.required("metadata: kernelspec: ", o, "name", "display_name")
			v.field(v.hard, "metadata: kernelspec: ", o, "name")
			v.field(v.soft, "metadata: kernelspec: ", o, "display_name")
		}
	}
	if val, ok := meta["language_info"]; ok {
		if o, ok := asObject(val); !ok {
			v.hard("metadata: language_info is %s: want an object", kindOf(val))
		} else {
			v.languageInfo(o)
		}
	}
	if v.nb.Minor < 2 {
		return
	}
	v.field(v.soft, "metadata: ", meta, "title")
	if val, ok := meta["authors"]; ok && kindOf(val) != "a list" {
		v.soft("metadata: authors is %s: want a list", kindOf(val))
	}
}

func (v *validator) languageInfo(o Object) {
	const at = "metadata: language_info: "
	v.required(at, o, "name")
	v.field(v.hard, at, o, "name")
	for _, key := range []string{"file_extension", "mimetype", "pygments_lexer"} {
		v.field(v.soft, at, o, key)
	}
	if val, ok := o["codemirror_mode"]; ok {
		if k := kindOf(val); k != "a string" && k != "an object" {
			v.soft("%scodemirror_mode is %s: want a string or an object", at, k)
		}
	}
}

func (v *validator) oneCell(c *Cell) {
	if c == nil {
		v.hard("is nil")
		return
	}
	minor := v.nb.Minor
	if !c.Type.known() && minor <= CurrentMinor {
		v.hard("cell_type %q: want one of code, markdown, raw", c.Type)
	}
	if minor >= 5 && c.Type.known() {
		if c.ID == "" {
			v.soft("id is missing")
		} else if !ValidID(c.ID) {
			v.soft("id %q: want 1 to 64 of a-z, A-Z, 0-9, - and _", shorten(c.ID))
		}
	}
	v.cellMetadata(c)
	if c.Type != Code {
		return
	}
	if c.ExecutionCount != nil && *c.ExecutionCount < 0 {
		v.soft("execution_count %d: want 0 or more", *c.ExecutionCount)
	}
	for i, o := range c.Outputs {
		v.output = i + 1
		v.oneOutput(o)
	}
	v.output = 0
}

func shorten(s string) string {
	if len(s) > 70 {
		return strings.ToValidUTF8(s[:70], "") + "..."
	}
	return s
}

// ValidID reports whether s is a cell id as nbformat 4.5 wants it: 1 to 64
// letters, digits, hyphens and underscores of ASCII.
func ValidID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		b := s[i]
		if b != '-' && b != '_' && !isDigit(b) && (b|0x20 < 'a' || b|0x20 > 'z') {
			return false
		}
	}
	return true
}

func (v *validator) cellMetadata(c *Cell) {
	const at = "metadata: "
	meta := c.Metadata
	if len(meta) == 0 {
		return
	}
	if val, ok := meta["name"]; ok {
		if s, ok := val.(string); !ok {
			v.soft("metadata: name is %s: want a string", kindOf(val))
		} else if one := strings.TrimSuffix(s, "\n"); one == "" || strings.Contains(one, "\n") {
			v.soft("metadata: name %q: want one line that is not empty", shorten(s))
		}
	}
	v.tags(meta)
	if c.Type == RawCell {
		v.field(v.soft, at, meta, "format")
	}
	minor := v.nb.Minor
	if val, ok := meta["jupyter"]; ok && minor >= 3 && c.Type.known() {
		if _, ok := asObject(val); !ok {
			v.soft("metadata: jupyter is %s: want an object", kindOf(val))
		}
	}
	if c.Type != Code {
		return
	}
	if val, ok := meta["collapsed"]; ok && kindOf(val) != "a boolean" {
		v.soft("metadata: collapsed is %s: want a boolean", kindOf(val))
	}
	if val, ok := meta["scrolled"]; ok && kindOf(val) != "a boolean" && val != "auto" {
		v.soft(`metadata: scrolled is %s: want true, false or "auto"`, kindOf(val))
	}
	if val, ok := meta["execution"]; ok && minor >= 4 {
		v.execution(val)
	}
}

func (v *validator) execution(val any) {
	o, ok := asObject(val)
	if !ok {
		v.soft("metadata: execution is %s: want an object", kindOf(val))
		return
	}
	for _, key := range sortedKeys(o) {
		if strings.Contains(strings.TrimSuffix(key, "\n"), "\n") {
			continue
		}
		v.field(v.soft, "metadata: execution: ", o, key)
	}
}

func (v *validator) tags(meta Object) {
	val, ok := meta["tags"]
	if !ok {
		return
	}
	var tags []string
	switch list := val.(type) {
	case []string:
		tags = list
	case []any:
		for i, item := range list {
			s, ok := item.(string)
			if !ok {
				v.hard("metadata: tags[%d] is %s: want a string", i, kindOf(item))
				return
			}
			tags = append(tags, s)
		}
	default:
		v.hard("metadata: tags is %s: want a list of strings", kindOf(val))
		return
	}
	seen := make(map[string]bool, len(tags))
	for i, tag := range tags {
		switch {
		case tag == "" || strings.Contains(tag, ","):
			v.soft("metadata: tags[%d] %q: want text without commas", i, shorten(tag))
		case seen[tag]:
			v.soft("metadata: tags[%d] %q: occurs twice", i, shorten(tag))
		}
		seen[tag] = true
	}
}

func (v *validator) oneOutput(o *Output) {
	switch {
	case o == nil:
		v.hard("is nil")
	case !o.Type.known() && v.nb.Minor <= CurrentMinor:
		v.hard("output_type %q: want one of stream, display_data, execute_result, error", o.Type)
	case o.Type == ExecuteResult && o.ExecutionCount != nil && *o.ExecutionCount < 0:
		v.soft("execution_count %d: want 0 or more", *o.ExecutionCount)
	}
	if o == nil || o.Type != ExecuteResult && o.Type != DisplayData {
		return
	}
	for mime, val := range o.Data {
		if _, ok := val.(string); !ok && !IsJSONMime(mime) {
			v.hard("data: %s is %s: want a string", mime, kindOf(val))
		}
	}
}
