package parameter

// inspectOther reads the parameters cell of a language other than Python.
func inspectOther(_, _ string) ([]Definition, []Warning) { return nil, nil }
