package parameter

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// otherReader finds the assignments of a language other than Python.
type otherReader struct {
	masked
	language string
	rules    *otherRules
	defs     []Definition
	line     int // of place
	place    int
	comment  int // the first comment that may still follow a statement
	next     int // where the next line that is not blank begins, and
	deeper   bool
}

// inspectOther reads the parameters cell of a language other than Python: its
// strings and comments by the language's rules, its statements by their ends, its
// assignments by the form of the statement. Blocks are passed over.
func inspectOther(language, src string) ([]Definition, []Warning) {
	rules := others()[language]
	if rules == nil {
		return nil, nil
	}
	r := otherReader{masked: mask(blankMagics(src, language), rules), language: language, rules: rules, line: 1}
	for _, s := range r.statements() {
		r.read(s)
	}
	return r.defs, nil
}

// blankMagics blanks lines that are the kernel's, not the language's.
func blankMagics(src, language string) string {
	if language != "C#" && language != "F#" && language != "powershell" || !strings.Contains(src, "#") {
		return src
	}
	lines := strings.Split(src, "\n")
	for i, line := range lines {
		if trimmed := strings.TrimLeft(line, " \t"); strings.HasPrefix(trimmed, "#!") || language != "powershell" && strings.HasPrefix(trimmed, "#") {
			lines[i] = strings.Repeat(" ", len(line))
		}
	}
	return strings.Join(lines, "\n")
}

// statements cuts the code at line ends and semicolons outside brackets and
// blocks.
func (r *otherReader) statements() []span {
	var all []span
	depth, blocks, start := 0, 0, 0
	cut := func(end int) {
		if strings.TrimSpace(string(r.code[start:end])) != "" {
			all = append(all, span{start, end})
		}
		start = end + 1
	}
	commandStart := true // a word here begins a command
	for i := 0; i < len(r.code); i++ {
		switch c := r.code[i]; {
		case c == '(' || c == '[' || c == '{':
			depth++
			commandStart = c != '['
		case c == ')' || c == ']' || c == '}':
			depth = max(depth-1, 0)
		case depth == 0 && wordByte(c):
			end := i
			for end < len(r.code) && wordByte(r.code[end]) {
				end++
			}
			blocks = max(blocks+r.blockWord(i, end, commandStart), 0)
			word := string(r.code[i:end])
			commandStart = word == "then" || word == "do" || word == "else"
			i = end - 1
		case c == ';' || c == '\n':
			commandStart = true
			if depth == 0 && blocks == 0 && r.ends(start, i) {
				cut(i)
			}
		case c != ' ' && c != '\t':
			commandStart = c == '&' || c == '|' || c == ','
		}
	}
	cut(len(r.code))
	return all
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// blockWord returns 1 for a word that begins a block, -1 for one that ends it.
func (r *otherReader) blockWord(i, end int, commandStart bool) int {
	if r.rules.openers == nil || i > 0 && (r.code[i-1] == ':' || r.code[i-1] == '.' || r.code[i-1] == '$') {
		return 0
	}
	word := string(r.code[i:end])
	if r.language != "julia" && !commandStart {
		return 0
	}
	switch {
	case slices.Contains(r.rules.openers, word):
		return 1
	case slices.Contains(r.rules.closers, word):
		return -1
	}
	return 0
}

// ends reports whether the separator at i ends the statement that began at
// start.
func (r *otherReader) ends(start, i int) bool {
	if r.code[i] == ';' {
		return true
	}
	if r.rules.semicolons {
		return false
	}
	line := strings.TrimRight(string(r.code[max(start, i-200):i]), " \t\n")
	if line == "" {
		return true
	}
	if r.rules.layout {
		return !r.indented(i + 1)
	}
	if last := line[len(line)-1]; strings.IndexByte(r.rules.trailing, last) >= 0 && !strings.HasSuffix(line, "++") && !strings.HasSuffix(line, "--") {
		return false
	}
	if r.rules.leading == "" {
		return true
	}
	rest := strings.TrimLeft(string(r.code[i+1:min(len(r.code), i+200)]), " \t\n")
	return rest == "" || strings.IndexByte(r.rules.leading, rest[0]) < 0 || strings.HasPrefix(rest, "++") || strings.HasPrefix(rest, "--")
}

// indented reports whether the next line that is not blank is indented, or goes
// on with a bracket or a bar.
func (r *otherReader) indented(i int) bool {
	if i <= r.next {
		return r.deeper
	}
	begin := i
	for ; i < len(r.code); i++ {
		if c := r.code[i]; c == '\n' {
			begin = i + 1
		} else if c != ' ' && c != '\t' {
			break
		}
	}
	r.next = begin
	r.deeper = i < len(r.code) && (i > begin || strings.IndexByte("|)]", r.code[i]) >= 0)
	return r.deeper
}

// read takes the assignment of one statement.
func (r *otherReader) read(s span) {
	for s.start < s.end && strings.IndexByte(" \t\n", r.code[s.start]) >= 0 {
		s.start++
	}
	code := string(r.code[s.start:s.end])
	if r.language == "bash" {
		r.shell(s, code)
		return
	}
	if first := strings.FieldsFunc(code, func(c rune) bool { return !isWord(c) }); len(first) > 0 && slices.Contains(r.rules.skip, first[0]) && strings.HasPrefix(code, first[0]) {
		return
	}
	if r.language == "javascript" {
		r.declarators(s, code)
		return
	}
	if m := r.rules.assign.FindStringSubmatchIndex(code); m != nil {
		if r.isAssign(code, m[1]) {
			name, typ := r.groups(s, m)
			r.define(s, name, typ, span{s.start + m[1], s.end})
			return
		}
	}
	if r.rules.reverse != nil && !strings.HasPrefix(code, `\(`) { // the body of a function takes in what follows it
		if m := r.rules.reverse.FindStringSubmatchIndex(code); m != nil && m[0] > 0 {
			name, _ := r.groups(s, m)
			r.define(s, name, "", span{s.start, s.start + m[0]})
		}
	}
}

// isAssign reports whether the "=" that ends before i is one alone.
func (r *otherReader) isAssign(code string, i int) bool {
	if code[i-1] != '=' {
		return true
	}
	return i == len(code) || code[i] != '=' && code[i] != '>' && (code[i] != '~' || r.language != "R")
}

// groups returns the name and the type that a form has found.
func (r *otherReader) groups(s span, m []int) (name, typ string) {
	text := func(g int) string {
		if 2*g+1 < len(m) && m[2*g] >= 0 {
			return strings.TrimSpace(r.src[s.start+m[2*g] : s.start+m[2*g+1]])
		}
		return ""
	}
	switch r.language {
	case "R":
		return text(1) + text(2), ""
	case "C#", "powershell":
		if typ = text(1); typ == "var" {
			typ = ""
		}
		return text(2), typ
	}
	return text(1), text(2)
}

var (
	declaration = regexp.MustCompile(`^(?:export\s+)?(?:const|let|var)\s+`)
	declarator  = regexp.MustCompile(`^\s*` + nameForm + `\s*!?(?::\s*([^=]+?)\s*)?(=|$)`)
)

// declarators takes const a = 1, b = 2 and a = 1.
func (r *otherReader) declarators(s span, code string) {
	head := declaration.FindString(code)
	if head == "" {
		if m := r.rules.assign.FindStringSubmatchIndex(code); m != nil && m[4] < 0 && r.isAssign(code, m[1]) {
			name, _ := r.groups(s, m)
			r.define(s, name, "", span{s.start + m[1], s.end})
		}
		return
	}
	at := s.start + len(head)
	for _, part := range topCommas(code[len(head):]) {
		m := declarator.FindStringSubmatchIndex(strings.TrimRight(part, " \t\n"))
		if m != nil && r.isAssign(part+" ", max(m[1], 1)) {
			piece := span{at, at + len(part)}
			name, typ := r.groups(piece, m)
			r.define(piece, name, typ, span{at + m[1], piece.end})
		}
		at += len(part) + 1
	}
}

// topCommas cuts code at the commas outside brackets.
func topCommas(code string) []string {
	var parts []string
	depth, from := 0, 0
	for i := range len(code) {
		switch code[i] {
		case '(', '[', '{', '<':
			depth++
		case ')', ']', '}', '>':
			depth = max(depth-1, 0)
		case ',':
			if depth == 0 {
				parts, from = append(parts, code[from:i]), i+1
			}
		}
	}
	return append(parts, code[from:])
}

var shellAssign = regexp.MustCompile(`^([A-Za-z_]\w*)=`)

// shell takes A=1 B=2, export A=1, declare -i A=1; not A=1 command.
func (r *otherReader) shell(s span, code string) {
	var found []span
	declares := false
	for _, w := range shellWords(code) {
		word := code[w.start:w.end]
		switch {
		case shellAssign.MatchString(word):
			found = append(found, w)
		case w.start == 0 && slices.Contains(words("export readonly declare typeset local"), word):
			declares = true
		case declares:
		default:
			return
		}
	}
	for _, w := range found {
		name, _, _ := strings.Cut(code[w.start:w.end], "=")
		r.define(s, name, "", span{s.start + w.start + len(name) + 1, s.start + w.end})
	}
}

// shellWords cuts code at blanks outside brackets.
func shellWords(code string) []span {
	var all []span
	depth, start := 0, -1
	for i := range len(code) {
		switch c := code[i]; {
		case c == '(' || c == '{':
			depth++
		case c == ')' || c == '}':
			depth = max(depth-1, 0)
		case depth == 0 && (c == ' ' || c == '\t' || c == '\n'):
			if start >= 0 {
				all = append(all, span{start, i})
			}
			start = -1
			continue
		}
		if start < 0 {
			start = i
		}
	}
	if start >= 0 {
		all = append(all, span{start, len(code)})
	}
	return all
}

// lineOf returns the line of a place; places must not decrease.
func (r *otherReader) lineOf(place int) int {
	if place > r.place {
		r.line += strings.Count(r.src[r.place:place], "\n")
		r.place = place
	}
	return r.line
}

func (r *otherReader) define(s span, name, typ string, value span) {
	if name == "" || name == "_" {
		return
	}
	for s.start < s.end && strings.IndexByte(" \t\n", r.code[s.start]) >= 0 {
		s.start++
	}
	d := Definition{Name: name, Type: NoType, Line: r.lineOf(s.start), Default: r.flat(value)}
	commentType, help := trailing(r.after(s.end))
	d.Help = help
	switch {
	case typ != "":
		d.Type = strings.Join(strings.Fields(typ), " ")
	case commentType != "":
		d.Type = commentType
	}
	d.Required = d.Default == ""
	if v, ok := otherLiteral(r.language, d.Default); ok {
		d.value, d.literal = v, true
		if !v.IsNull() {
			d.Inferred = v.kind.String()
		}
	}
	r.defs = append(r.defs, d)
}

// after returns the text of the comment that follows a statement on its last
// line, beginning with '#'.
func (r *otherReader) after(end int) string {
	for r.comment < len(r.comments) && r.comments[r.comment].end <= end-1000 {
		r.comment++
	}
	for _, c := range r.comments[r.comment:] {
		if c.start > end+200 {
			break
		}
		if c.start < end && len(bytes.TrimSpace(r.code[c.start:end])) > 0 {
			continue
		}
		if c.start > end && len(bytes.Trim(r.code[end:c.start], " \t;,")) > 0 {
			break
		}
		marks := "#/*%=<>() \t"
		if r.language == "sql" {
			marks += "-"
		}
		text := strings.Trim(r.src[c.start:c.end], marks)
		if text, _, _ = strings.Cut(text, "\n"); c.end < end && bytes.IndexByte(r.code[c.end:end], '\n') >= 0 {
			continue
		}
		return "# " + text
	}
	return ""
}

// flat returns the source of a value on one line, without comments: a line end
// with what is around it becomes a space.
func (r *otherReader) flat(s span) string {
	var b strings.Builder
	for i := s.start; i < s.end; {
		end := i
		lines := false
		for end < s.end && strings.IndexByte(" \t\n", r.code[end]) >= 0 {
			lines = lines || r.code[end] == '\n' || r.src[end] != r.code[end]
			end++
		}
		switch {
		case lines:
			b.WriteByte(' ')
		case end == i:
			end = i + 1
			fallthrough
		default:
			b.WriteString(r.src[i:end])
		}
		i = end
	}
	return strings.TrimSpace(b.String())
}

// otherLiteral reads the literals that the languages share: numbers, strings
// without escapes, booleans, null and lists of them.
func otherLiteral(language, text string) (Value, bool) {
	switch text {
	case "TRUE", "true", "$true", "$True", "T":
		return Bool(true), text != "T" || language == "R"
	case "FALSE", "false", "$false", "$False", "F":
		return Bool(false), text != "F" || language == "R"
	case "NULL", "null", "nothing", "None", "$null", "$Null", "undefined":
		return Null(), true
	}
	if language == "bash" {
		return shellLiteral(text)
	}
	number := strings.TrimRight(text, "LlIfFdDn")
	if strings.HasPrefix(text, "0x") {
		number = text
	}
	if e, ok := parseAnnotation(number); ok && e.kind == exprLiteral && e.value.kind != KindString && text != "" {
		return e.value, true
	}
	if n := len(text); n >= 2 && (text[0] == '"' || text[0] == '\'' && language != "scala" && language != "C#" && language != "F#" && language != "julia") &&
		text[n-1] == text[0] && !strings.ContainsAny(text[1:n-1], "\\$`"+text[:1]) {
		return String(text[1 : n-1]), true
	}
	if n := len(text); n >= 2 && text[0] == '[' && text[n-1] == ']' && (language == "julia" || language == "javascript") {
		if v, err := ParseJSON([]byte(text)); err == nil {
			return v, true
		}
	}
	return Value{}, false
}

func shellLiteral(text string) (Value, bool) {
	if n := len(text); n >= 2 && text[0] == text[n-1] && (text[0] == '\'' || text[0] == '"') && !strings.ContainsAny(text[1:n-1], "\\$`\"'") {
		return String(text[1 : n-1]), true
	}
	if text == "" || strings.ContainsAny(text, "\\$`\"'(){}*?[]~|&<>;") {
		return Value{}, text == ""
	}
	return guess(text), true
}
