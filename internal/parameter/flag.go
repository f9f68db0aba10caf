package parameter

import (
	"encoding/base64"
	"strings"

	"quire/internal/problem"
)

// FromFlag types the value of a -p flag as Papermill does: exactly True, False
// and None, then what Python's int reads ("1_000", "007", " 5 "), then what its
// float reads ("1e5", "nan"), else a string. A number of more than 4300 digits
// stays a string. The value keeps its text for a declared type to read.
func FromFlag(text string) Value {
	v := guess(text)
	v.text, v.typed = text, true
	return v
}

func guess(text string) Value {
	switch text {
	case "True":
		return Bool(true)
	case "False":
		return Bool(false)
	case "None":
		return Null()
	}
	if n, ok := parsePyInt(text); ok {
		return n
	}
	if f, ok := parsePyFloat(text); ok {
		return Float(f)
	}
	return String(text)
}

// FromRaw returns the value of a -r flag: always the string itself. A declared
// type does not change it.
func FromRaw(text string) Value { return String(text) }

// FromBase64 reads a -b flag: YAML in base64. As Python's decoder does, it
// ignores characters outside the alphabet, so line ends and spaces are fine.
func FromBase64(text string) (Set, error) {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '+', r == '/':
			return r
		}
		return -1
	}, text)
	if len(clean)%4 == 1 || paddingShort(text, len(clean)) {
		return Set{}, problem.New(problem.Invalid, "reading base64 parameters: the text is cut short or not base64")
	}
	data, err := base64.RawStdEncoding.DecodeString(clean)
	if err != nil {
		return Set{}, problem.WrapAs(problem.Invalid, err, "reading base64 parameters")
	}
	return FromYAML("base64 parameters", data)
}

// paddingShort reports whether text lacks the '=' that n base64 characters need.
func paddingShort(text string, n int) bool {
	need := (4 - n%4) % 4
	return strings.Count(text, "=") < need
}
