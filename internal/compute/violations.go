package compute

import (
	"fmt"
	"strings"

	"quire/internal/problem"
)

// Violation says what is wrong with one field.
type Violation struct {
	Field   string `json:"field"`   // as in the JSON of the thing that was checked: "memoryBytes"
	Message string `json:"message"` // for a person, with the value and the limit
}

// Violations is everything that is wrong with one thing, in the order of its
// fields. The nil value is nothing.
type Violations []Violation

// Add appends a violation with a formatted message.
func (v *Violations) Add(field, format string, args ...any) {
	*v = append(*v, Violation{Field: field, Message: fmt.Sprintf(format, args...)})
}

// Under returns the violations with prefix and a dot before every field.
func (v Violations) Under(prefix string) Violations {
	out := make(Violations, len(v))
	for i, one := range v {
		out[i] = Violation{Field: prefix + "." + one.Field, Message: one.Message}
	}
	return out
}

// Error returns all of them in one line.
func (v Violations) Error() string {
	parts := make([]string, len(v))
	for i, one := range v {
		parts[i] = one.Field + ": " + one.Message
	}
	return strings.Join(parts, "; ")
}

// Err returns nil where nothing is wrong, and otherwise an error of kind
// Invalid that says everything; errors.As finds the Violations in it.
func (v Violations) Err(format string, args ...any) error {
	if len(v) == 0 {
		return nil
	}
	return problem.WrapAs(problem.Invalid, v, format, args...)
}
