package parameter

import (
	"fmt"
	"strings"

	"quire/internal/problem"
)

var pythonTree = &tree{
	null: "None", yes: "True", no: "False", str: quotedPython,
	float: floats("float('nan')", "float('inf')", "float('-inf')"),
	list:  joined("[", ", ", "]"),
	dict:  pairs("{", "", ": ", "", ", ", "}", quotedPython),
}

var pythonDialect = &dialect{
	name: "python", comment: hashComment, ident: pythonName,
	assign: assignment("", " = ", ""), value: pythonTree.value,
}

var rTree = &tree{
	null: "NULL", yes: "TRUE", no: "FALSE", str: quotedR,
	float: floats("NaN", "Inf", "-Inf"),
	list:  joined("list(", ", ", ")"),
	dict:  rDict,
}

var rDialect = &dialect{
	name: "R", comment: hashComment, ident: rName,
	assign: assignment("", " = ", ""), value: rTree.value,
}

// rDict writes list("k" = v); R takes no empty name there.
func rDict(fields []Field, texts []string) (string, error) {
	empty := false
	names := make([]string, len(fields))
	for i, f := range fields {
		name, err := quotedR(f.Key.s)
		if err != nil {
			return "", err
		}
		names[i] = name
		empty = empty || f.Key.s == ""
	}
	if empty {
		return "setNames(list(" + strings.Join(texts, ", ") + "), c(" + strings.Join(names, ", ") + "))", nil
	}
	return pairs("list(", "", " = ", "", ", ", ")", quotedR)(fields, texts)
}

// int64Text writes an integer as .NET and the JVM want it: L beyond 32 bits,
// big around what is beyond 64.
func int64Text(bigForm string) func(Value) string {
	return func(v Value) string {
		switch {
		case v.big != nil:
			return fmt.Sprintf(bigForm, v.big.String())
		case v.i > 1<<31-1 || v.i < -1<<31:
			return v.intText() + "L"
		}
		return v.intText()
	}
}

var scalaTree = &tree{
	null: "None", yes: "true", no: "false", str: quotedPair,
	integer: int64Text(`BigInt("%s")`),
	float:   floats("Double.NaN", "Double.PositiveInfinity", "Double.NegativeInfinity"),
	list:    joined("Seq(", ", ", ")"),
	dict:    pairs("Map(", "", " -> ", "", ", ", ")", quotedPair),
}

var scalaDialect = &dialect{
	// A backslash would let old compilers read \u000a in the comment as a line end.
	name: "scala", comment: func(s string) string { return slashComment(strings.ReplaceAll(s, `\`, "/")) },
	ident: scalaName, assign: assignment("val ", " = ", ""), value: scalaTree.value,
}

var juliaTree = &tree{
	null: "nothing", yes: "true", no: "false", str: quotedJulia,
	float: floats("NaN", "Inf", "-Inf"),
	list:  joined("[", ", ", "]"),
	dict:  pairs("Dict(", "", " => ", "", ", ", ")", quotedJulia),
}

var juliaDialect = &dialect{
	// "#=" would begin a comment of many lines.
	name: "julia", comment: hashComment, ident: juliaName,
	assign: assignment("", " = ", ""), value: juliaTree.value,
}

var matlabTree = &tree{
	null: "NaN", yes: "true", no: "false", str: quotedMatlab,
	float: floats("NaN", "Inf", "-Inf"),
	list:  joined("{", ", ", "}"),
	dict:  matlabDict,
}

var matlabDialect = &dialect{
	name:    "matlab",
	comment: func(s string) string { return strings.TrimSpace("% " + s) },
	ident:   matlabName, assign: assignment("", " = ", ";"), value: matlabTree.value,
}

func matlabDict(fields []Field, texts []string) (string, error) {
	if len(fields) == 0 {
		return "containers.Map()", nil
	}
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i], _ = matlabChars(f.Key.s)
	}
	return "containers.Map({" + strings.Join(keys, ", ") + "}, {" + strings.Join(texts, ", ") + "})", nil
}

var powershellTree = &tree{
	null: "$Null", yes: "$True", no: "$False", str: quotedPowershell,
	integer: func(v Value) string {
		if v.big != nil {
			return `[bigint]"` + v.intText() + `"`
		}
		return v.intText()
	},
	float: floats("[double]::NaN", "[double]::PositiveInfinity", "[double]::NegativeInfinity"),
	list:  powershellList,
	dict:  powershellDict,
}

var powershellDialect = &dialect{
	name: "powershell", comment: hashComment, ident: powershellName,
	assign: assignment("$", " = ", ""), value: powershellTree.value,
}

// powershellList keeps a list that is the only element of a list from being
// unrolled into it.
func powershellList(items []Value, texts []string) (string, error) {
	if len(items) == 1 && items[0].kind == KindList {
		return "@(," + texts[0] + ")", nil
	}
	return "@(" + strings.Join(texts, ", ") + ")", nil
}

func powershellDict(fields []Field, texts []string) (string, error) {
	seen := make(map[string]string, len(fields))
	for _, f := range fields {
		low := strings.ToLower(f.Key.s)
		if other, ok := seen[low]; ok {
			return "", problem.New(problem.Invalid, "keys %s and %s are the same to PowerShell, which ignores case",
				shorten(quotePython(other)), shorten(quotePython(f.Key.s)))
		}
		seen[low] = f.Key.s
	}
	return pairs("@{", "", " = ", "", "\n ", "}", quotedPowershell)(fields, texts)
}

var bashTree = &tree{
	null: "", yes: "true", no: "false", str: quotedShell,
	float: formatFloat, list: bashList, dict: bashDict,
}

var bashDialect = &dialect{
	name: "bash", comment: hashComment, ident: bashName, value: bashTree.value,
	assign: func(name string, v Value, text string) string {
		if v.kind == KindDict {
			return "declare -A " + name + "=" + text
		}
		return name + "=" + text
	},
}

func bashList(items []Value, texts []string) (string, error) {
	for i, e := range items {
		if e.kind == KindList || e.kind == KindDict {
			return "", problem.New(problem.Invalid, "the shell has no list in a list or dictionary")
		}
		if e.kind == KindNull {
			texts[i] = "''"
		}
	}
	return "(" + strings.Join(texts, " ") + ")", nil
}

func bashDict(fields []Field, texts []string) (string, error) {
	for i, f := range fields {
		switch {
		case f.Key.s == "":
			return "", problem.New(problem.Invalid, "a dictionary in the shell has no empty key")
		case f.Value.kind == KindList || f.Value.kind == KindDict:
			return "", problem.New(problem.Invalid, "the shell has no list or dictionary in a dictionary (key %s)", shorten(quotePython(f.Key.s)))
		case f.Value.kind == KindNull:
			texts[i] = "''"
		}
	}
	return pairs("(", "[", "]=", "", " ", ")", quotedShell)(fields, texts)
}

// scriptTree writes JavaScript that is TypeScript too.
var scriptTree = &tree{
	null: "null", yes: "true", no: "false", str: quotedPair,
	integer: func(v Value) string {
		const safe = 1<<53 - 1
		if v.big != nil || v.i > safe || v.i < -safe {
			return v.intText() + "n"
		}
		return v.intText()
	},
	float: floats("NaN", "Infinity", "-Infinity"),
	list:  joined("[", ", ", "]"),
	dict: pairs("{", "", ": ", "", ", ", "}", func(key string) (string, error) {
		text, err := quotedPair(key)
		if key == "__proto__" { // in letters it would set the prototype
			text = "[" + text + "]"
		}
		return text, err
	}),
}

var scriptDialect = &dialect{
	name: "javascript", comment: slashComment, ident: scriptName,
	// var, so that the cell may run again.
	assign: assignment("var ", " = ", ";"), value: scriptTree.value,
}
