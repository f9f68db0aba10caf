package query

import (
	"strings"

	"quire/internal/problem"
)

// stateKinds are the kinds of errors by the beginning of their SQLSTATE. Source:
// ISO/IEC 9075-2, and the codes of PostgreSQL and Spark.
var stateKinds = []struct {
	state string
	kind  problem.Kind
}{
	{"42P01", problem.NotFound},
	{"42704", problem.NotFound},
	{"3F000", problem.NotFound},
	{"3D000", problem.NotFound},
	{"42P07", problem.Exists},
	{"42P06", problem.Exists},
	{"42710", problem.Exists},
	{"42501", problem.Denied},
	{"25006", problem.Denied},
	{"28", problem.Denied},
	{"57014", problem.Canceled},
	{"HY008", problem.Canceled},
	{"40", problem.Conflict},
	{"57P", problem.Unavailable},
	{"53", problem.Unavailable},
	{"58", problem.Unavailable},
	{"08", problem.Unavailable},
	{"HV", problem.Unavailable},
	{"XX", problem.Unavailable},
}

// KindOfState is the kind of an error with an SQLSTATE. One that says nothing
// else is about the statement: it is Invalid.
func KindOfState(state string) problem.Kind {
	for _, one := range stateKinds {
		if strings.HasPrefix(state, one.state) {
			return one.kind
		}
	}
	return problem.Invalid
}
