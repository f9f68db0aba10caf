package parameter

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"quire/internal/problem"
)

// quotePython returns s as Papermill writes a Python string: unicode_escape and
// \" in double quotes. A byte that is not UTF-8 is written as Python's
// surrogateescape has it.
func quotePython(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\udc%02x`, s[i])
		case simpleEscape(&b, r):
		case r < 0x20 || r >= 0x7f && r <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x7f:
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += n
	}
	b.WriteByte('"')
	return b.String()
}

// simpleEscape writes the escapes that all languages of C's family share.
func simpleEscape(b *strings.Builder, r rune) bool {
	switch r {
	case '"':
		b.WriteString(`\"`)
	case '\\':
		b.WriteString(`\\`)
	case '\n':
		b.WriteString(`\n`)
	case '\r':
		b.WriteString(`\r`)
	case '\t':
		b.WriteString(`\t`)
	default:
		return false
	}
	return true
}

// cQuote returns s in double quotes with all but printable ASCII escaped. astral
// writes what is beyond 16 bits; extra is a set of ASCII characters that get a
// backslash too.
func cQuote(s, extra string, astral func(rune) string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case simpleEscape(&b, r):
		case r < 0x80 && strings.ContainsRune(extra, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= 0x20 && r < 0x7f:
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(astral(r))
		}
	}
	b.WriteByte('"')
	return b.String()
}

func longEscape(r rune) string { return fmt.Sprintf(`\U%08x`, r) }

func pairEscape(r rune) string {
	high, low := utf16.EncodeRune(r)
	return fmt.Sprintf(`\u%04x\u%04x`, high, low)
}

func quotedPython(s string) (string, error) { return quotePython(s), nil }
func quotedLong(s string) (string, error)   { return cQuote(s, "", longEscape), nil }
func quotedPair(s string) (string, error)   { return cQuote(s, "", pairEscape), nil }
func quotedJulia(s string) (string, error)  { return cQuote(s, "$", longEscape), nil }

func quotedR(s string) (string, error) {
	if strings.ContainsRune(s, 0) {
		return "", problem.New(problem.Invalid, "a string in R cannot hold a NUL character")
	}
	return cQuote(s, "", longEscape), nil
}

// quotedPowershell escapes with backticks. PowerShell takes typographic double
// quotes for quotes too, and expands $.
func quotedPowershell(s string) (string, error) {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '`' || r == '$' || r >= 0x201c && r <= 0x201e:
			b.WriteByte('`')
			b.WriteRune(r)
		case r == 0:
			b.WriteString("`0")
		case r == '\n':
			b.WriteString("`n")
		case r == '\r':
			b.WriteString("`r")
		case r == '\t':
			b.WriteString("`t")
		case isControl(r):
			fmt.Fprintf(&b, "$([char]0x%02x)", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String(), nil
}

// isControl reports whether r cannot stand in a source file as itself.
func isControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff
}

// quotedMatlab writes a string, or a sum of strings when it holds control
// characters: MATLAB has no escapes.
func quotedMatlab(s string) (string, error) {
	parts := matlabParts(s, '"')
	if len(parts) == 1 {
		return parts[0], nil
	}
	return "(" + strings.Join(parts, " + ") + ")", nil
}

// matlabChars writes a char array.
func matlabChars(s string) (string, error) {
	parts := matlabParts(s, '\'')
	if len(parts) == 1 {
		return parts[0], nil
	}
	return "[" + strings.Join(parts, ", ") + "]", nil
}

func matlabParts(s string, quote rune) []string {
	var parts []string
	var b strings.Builder
	flush := func() {
		parts = append(parts, string(quote)+b.String()+string(quote))
		b.Reset()
	}
	for _, r := range s {
		switch {
		case isControl(r):
			if b.Len() > 0 || len(parts) == 0 {
				flush()
			}
			parts = append(parts, fmt.Sprintf("char(%d)", r))
		case r == quote:
			b.WriteRune(r)
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	if b.Len() > 0 || len(parts) == 0 {
		flush()
	}
	return parts
}

// quotedShell quotes as Python's shlex does; what a terminal would act on
// (tabs, escape characters) is written by name.
func quotedShell(s string) (string, error) {
	if strings.ContainsRune(s, 0) {
		return "", problem.New(problem.Invalid, "a string in the shell cannot hold a NUL character")
	}
	if s == "" {
		return "''", nil
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 && r != '\n' || r == 0x7f }) {
		return ansiShell(s), nil
	}
	for i := 0; i < len(s); i++ {
		if !shellSafe(s[i]) {
			return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'", nil
		}
	}
	return s, nil
}

func shellSafe(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_@%+=:,./-", c) >= 0
}

func ansiShell(s string) string {
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\r':
			b.WriteString(`\r`)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
