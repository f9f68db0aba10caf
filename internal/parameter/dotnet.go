package parameter

import (
	"slices"
	"strings"
)

var csharpTree = &tree{
	null: "null", yes: "true", no: "false", str: quotedLong,
	integer: int64Text(`System.Numerics.BigInteger.Parse("%s")`),
	float:   floats("double.NaN", "double.PositiveInfinity", "double.NegativeInfinity"),
	list:    csharpList,
	dict:    pairs("new Dictionary<string,Object>{ ", "{ ", " , ", " }", ", ", " }", quotedLong),
}

var csharpDialect = &dialect{
	name: "C#", comment: slashComment, ident: csharpName, value: csharpTree.value,
	assign: func(name string, v Value, text string) string {
		if v.kind == KindNull {
			return "object " + name + " = null;"
		}
		return "var " + name + " = " + text + ";"
	},
}

// csharpList writes "new [] {...}" where the compiler can find one type for the
// elements, and an array of objects where it cannot.
func csharpList(items []Value, texts []string) (string, error) {
	open := "new [] { "
	if csharpElement(items) == "object" {
		open = "new object[] { "
	}
	return open + strings.Join(texts, ", ") + " }", nil
}

// csharpElement returns the element type of an array of items.
func csharpElement(items []Value) string {
	types := elementTypes(items, csharpType)
	switch {
	case len(types) == 1 && types[0] != "null":
		return types[0]
	case only(types, "int", "long"):
		return "long"
	case only(types, "int", "long", "double"):
		return "double"
	case len(types) > 0 && only(types, "null", "string"):
		return "string"
	}
	return "object"
}

func csharpType(v Value) string {
	switch v.kind {
	case KindNull:
		return "null"
	case KindBool:
		return "bool"
	case KindInt:
		return netInt(v, "int", "long")
	case KindFloat:
		return "double"
	case KindString:
		return "string"
	case KindList:
		return csharpElement(v.list) + "[]"
	default:
		return "dictionary"
	}
}

func netInt(v Value, narrow, wide string) string {
	switch {
	case v.big != nil:
		return "big"
	case v.i > 1<<31-1 || v.i < -1<<31:
		return wide
	}
	return narrow
}

// elementTypes returns the distinct types of items, sorted.
func elementTypes(items []Value, typeOf func(Value) string) []string {
	var types []string
	for _, e := range items {
		if t := typeOf(e); !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	return types
}

// only reports whether types has two or more members, all of them allowed, or
// one besides null.
func only(types []string, allowed ...string) bool {
	for _, t := range types {
		if !slices.Contains(allowed, t) {
			return false
		}
	}
	return len(types) > 1
}

var fsharpTree = &tree{
	null: "None", yes: "true", no: "false", str: quotedLong,
	integer: int64Text("%sI"),
	float:   floats("System.Double.NaN", "System.Double.PositiveInfinity", "System.Double.NegativeInfinity"),
	list:    fsharpList,
	dict:    pairs("[ ", "(", ", ", " :> IComparable)", "; ", " ] |> Map.ofList", quotedLong),
}

var fsharpComment = strings.NewReplacer("*)", "* )", "(*", "( *", `"`, "'")

var fsharpDialect = &dialect{
	name: "F#", ident: fsharpName, value: fsharpTree.value,
	comment: func(s string) string { return "(* " + fsharpComment.Replace(s) + " *)" },
	assign:  assignment("let ", " = ", ""),
}

// fsharpList boxes the elements when they are not of one type.
func fsharpList(items []Value, texts []string) (string, error) {
	if types := elementTypes(items, fsharpType); len(types) > 1 {
		for i, e := range items {
			if e.kind == KindNull {
				texts[i] = "null"
			}
			texts[i] = "box (" + texts[i] + ")"
		}
	}
	return "[ " + strings.Join(texts, "; ") + " ]", nil
}

func fsharpType(v Value) string {
	switch v.kind {
	case KindInt:
		return netInt(v, "int", "int64")
	case KindList:
		types := elementTypes(v.list, fsharpType)
		if len(types) == 1 {
			return types[0] + " list"
		}
		if len(types) == 0 {
			return "empty list"
		}
		return "obj list"
	default:
		return v.kind.String()
	}
}
