package parameter

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// papermillCase is a row of Papermill's test_inspect_python.
var papermillCases = []struct {
	src  string
	want []Definition
}{
	{"a = 2", []Definition{{Name: "a", Type: "None", Default: "2"}}},
	{"a: int = 2", []Definition{{Name: "a", Type: "int", Default: "2"}}},
	{"a = 2 # type:int", []Definition{{Name: "a", Type: "int", Default: "2"}}},
	{"a = False # Nice variable a", []Definition{{Name: "a", Type: "None", Default: "False", Help: "Nice variable a"}}},
	{"a: float = 2.258 # type: int Nice variable a", []Definition{{Name: "a", Type: "float", Default: "2.258", Help: "Nice variable a"}}},
	{"a = 'this is a string' # type: int Nice variable a", []Definition{{Name: "a", Type: "int", Default: "'this is a string'", Help: "Nice variable a"}}},
	{"a: List[str] = ['this', 'is', 'a', 'string', 'list'] # Nice variable a", []Definition{{Name: "a", Type: "List[str]", Default: "['this', 'is', 'a', 'string', 'list']", Help: "Nice variable a"}}},
	{"a: List[str] = [\n    'this', # First\n    'is',\n    'a',\n    'string',\n    'list' # Last\n] # Nice variable a", []Definition{{Name: "a", Type: "List[str]", Default: "['this','is','a','string','list']", Help: "Nice variable a"}}},
	{"a: List[str] = [\n    'this',\n    'is',\n    'a',\n    'string',\n    'list'\n] # Nice variable a", []Definition{{Name: "a", Type: "List[str]", Default: "['this','is','a','string','list']", Help: "Nice variable a"}}},
	{"a: List[str] = [\n                'this', # First\n                'is',\n\n                'a',\n                'string',\n                'list' # Last\n            ] # Nice variable a\n\n            b: float = -2.3432 # My b variable\n            ", []Definition{
		{Name: "a", Type: "List[str]", Default: "['this','is','a','string','list']", Help: "Nice variable a"},
	}},
	// complex_parameters.ipynb, whose cell is not legal Python.
	{
		"msg = None\na: float = 2.25 # Variable a\nb = [\n    'Hello', # First element\n# Dummy comment\n    'World'\n] # type: List[str] Nice list\n\n# Interesting c variable\nc: \"NoneType\" = None\n# Not introspectable line\nd = a == 3\n# Broken name definition\n= 2",
		[]Definition{
			{Name: "msg", Type: "None", Default: "None"},
			{Name: "a", Type: "float", Default: "2.25", Help: "Variable a"},
			{Name: "b", Type: "List[str]", Default: "['Hello','World']", Help: "Nice list"},
			{Name: "c", Type: "NoneType", Default: "None"},
		},
	},
}

func TestInspectIsPapermills(t *testing.T) {
	t.Parallel()
	ignore := cmpopts.IgnoreFields(Definition{}, "Line", "Inferred", "value", "literal")
	for _, tt := range papermillCases {
		got, _ := Inspect("python", tt.src)
		if diff := cmp.Diff(tt.want, got, ignore); diff != "" {
			t.Errorf("%s:\n%s", tt.src, diff)
		}
	}
}

func TestInspectWarns(t *testing.T) {
	t.Parallel()
	last := papermillCases[len(papermillCases)-1]
	defs, warnings := Inspect("python", last.src)
	want := []Warning{{11, "Unable to parse line 11 'd = a == 3'."}, {13, "Unable to parse line 13 '= 2'."}}
	want[0].Line, want[0].Text = 12, "Unable to parse line 12 'd = a == 3'."
	want[1].Line, want[1].Text = 14, "Unable to parse line 14 '= 2'."
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Error(diff)
	}
	help := "  msg: Unknown type (default None)\n" +
		"  a: float (default 2.25)         Variable a\n" +
		"  b: List[str] (default ['Hello','World'])\n                                  Nice list\n" +
		"  c: NoneType (default None)      \n"
	if got := FormatHelp(defs); got != help {
		t.Errorf("help:\n%s\nwant:\n%s", got, help)
	}
	if got := FormatHelp(nil); !strings.Contains(got, "Can't infer anything about this notebook's parameters.") {
		t.Errorf("no help: %s", got)
	}
}

func TestInspectPython(t *testing.T) {
	t.Parallel()
	def := func(name, typ, def, help, inferred string, line int) Definition {
		return Definition{Name: name, Type: typ, Default: def, Help: help, Inferred: inferred, Line: line}
	}
	for _, tt := range []struct {
		name, src string
		want      []Definition
	}{
		{"two on a line", "a=1;b=2 # both", []Definition{def("a", "None", "1", "", "int", 1), def("b", "None", "2", "both", "int", 1)}},
		{"semicolon and help", "a = 1;  # help", []Definition{def("a", "None", "1", "help", "int", 1)}},
		{"chained", "a = b = 'x'", []Definition{def("a", "None", "'x'", "", "str", 1), def("b", "None", "'x'", "", "str", 1)}},
		{"tuple", "a, (b) = 1, [2]", []Definition{def("a", "None", "1", "", "int", 1), def("b", "None", "[2]", "", "list", 1)}},
		{"tuple of names", "a, b = 1, [2]", []Definition{def("a", "None", "1", "", "int", 1), def("b", "None", "[2]", "", "list", 1)}},
		{"tuple of one value", "a, b = f()", []Definition{def("a", "None", "f()", "", "", 1), def("b", "None", "f()", "", "", 1)}},
		{"call with keywords", "x = f(a=1, b=2) # h", []Definition{def("x", "None", "f(a=1, b=2)", "h", "", 1)}},
		{"comparison", "x = y == 3", []Definition{def("x", "None", "y == 3", "", "", 1)}},
		{"walrus", "x = (n := 10)\n(m := 5)", []Definition{def("x", "None", "(n := 10)", "", "", 1)}},
		{"augmented", "x = 1\nx += 2", []Definition{def("x", "None", "1", "", "int", 1)}},
		{"attribute", "x.y = 1\nd['k'] = 2\nz = 3", []Definition{def("z", "None", "3", "", "int", 3)}},
		{"literal type", `c: Literal["a", "b"] = "a"  # which`, []Definition{def("c", `Literal["a", "b"]`, `"a"`, "which", "str", 1)}},
		{"quoted annotation", "c: 'int | None' = None", []Definition{def("c", "int | None", "None", "", "", 1)}},
		{"required", "n: int", []Definition{{Name: "n", Type: "int", Required: true, Line: 1}}},
		{"declared then set", "n: int # h\nn = 5", []Definition{def("n", "int", "5", "h", "int", 2)}},
		{"set twice", "n = 1\nm = 2\nn = 3", []Definition{def("n", "None", "3", "", "int", 3), def("m", "None", "2", "", "int", 2)}},
		{"hash in string", "s = 'a # b = c' # h", []Definition{def("s", "None", "'a # b = c'", "h", "str", 1)}},
		{"triple", "s = '''a = 1\nb = 2 # no\n''' # h\nz = 1", []Definition{def("s", "None", "'''a = 1\nb = 2 # no\n'''", "h", "str", 1), def("z", "None", "1", "", "int", 4)}},
		{"f-string with quotes", `s = f"{d["k"]:>{w}} # {x!r:'^9}" # h`, []Definition{def("s", "None", `f"{d["k"]:>{w}} # {x!r:'^9}"`, "h", "", 1)}},
		{"continuation", "s = 1 + \\\n    2 # h", []Definition{def("s", "None", "1 + 2", "h", "", 1)}},
		{"words apart", "s = (1 if x\n  else 2)", []Definition{def("s", "None", "(1 if x else 2)", "", "", 1)}},
		{"code after", "a = 1\nprint(a)\nimport os as o\nfor i in x: b = 2\nif a:\n    c = 3\nelse:\n    d = 4\ne = 5", []Definition{def("a", "None", "1", "", "int", 1), def("e", "None", "5", "", "int", 9)}},
		{"functions", "@dec\ndef f(a=1):\n    b = 2\n\n\nclass C:\n    x: int = 1\nasync def g(): y = 2\nz = 1", []Definition{def("z", "None", "1", "", "int", 9)}},
		{"one-line block", "if x: a = 1; b = 2\nc = 3", []Definition{def("c", "None", "3", "", "int", 2)}},
		{"match", "match x:\n    case 1:\n        a = 1\nmatch = 5", []Definition{def("match", "None", "5", "", "int", 4)}},
		{"magics", "%matplotlib inline\n!ls = x\n?help\nx = !ls 'it\ny = %time 5\nz = 7 % 3\nx?", []Definition{def("x", "None", "!ls 'it", "", "", 4), def("y", "None", "%time 5", "", "", 5), def("z", "None", "7 % 3", "", "", 6)}},
		{"cell magic", "%%time\na = 1", []Definition{def("a", "None", "1", "", "int", 2)}},
		{"another language's cell", "%%bash\na=1", []Definition{}},
		{"indented cell", "    a = 1\n    b = 2", []Definition{def("a", "None", "1", "", "int", 1), def("b", "None", "2", "", "int", 2)}},
		{"lambda", "f = lambda x=1, *a: x\ng: Callable = lambda: 0", []Definition{def("f", "None", "lambda x=1, *a: x", "", "", 1), def("g", "Callable", "lambda: 0", "", "", 2)}},
		{"type with spaces", "d = {} # type: Dict[str, List[int]] the map", []Definition{def("d", "Dict[str, List[int]]", "{}", "the map", "dict", 1)}},
		{"windows lines", "a = 1\r\nb = 2\r\n", []Definition{def("a", "None", "1", "", "int", 1), def("b", "None", "2", "", "int", 2)}},
		{"unicode name", "größe: int = 3", []Definition{def("größe", "int", "3", "", "int", 1)}},
		{"keyword is no name", "None = 1\nTrue: int = 2\nx = 3", []Definition{def("x", "None", "3", "", "int", 3)}},
		{"open string", "s = 'abc\nx = 3", []Definition{def("x", "None", "3", "", "int", 2)}},
		{"empty", "\n# nothing\n", []Definition{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _ := Inspect("python", tt.src)
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Definition{}, "value", "literal")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInspectLiterals(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		`None`: `null`, `True`: `true`, `-1_000`: `-1000`, `0xff`: `255`, `0o17`: `15`, `0b11`: `3`, `1e3`: `1000.0`, `.5`: `0.5`,
		`"a" 'b' r'\c'`: `"ab\\c"`, `"\x41\u00e9\101\n\q"`: `"Aé` + `A\n\\q"`, `("x")`: `"x"`, `()`: `[]`, `(1,)`: `[1]`, `1, 2`: `[1,2]`,
		`[1, [2.0], {"k": (3,)}]`: `[1,[2.0],{"k":[3]}]`, `{}`: `{}`, `{1: 'a', True: 'b'}`: `{"1":"b"}`, `float('nan')`: `"NaN"`,
		`""" a """`: `" a "`, `+1`: `1`,
	} {
		defs, _ := Inspect("python", "x = "+src)
		v, ok := defs[0].Value()
		if got := asJSON(t, v); !ok || got != want {
			t.Errorf("%s: got %s (%v), want %s", src, got, ok, want)
		}
	}
	for _, src := range []string{`f"a"`, `b"a"`, `x`, `1 + 2`, `[x]`, `{1, 2}`, `f()`, `"\N{DASH}"`, `007`, `1j`, `-"a"`, `not True`, `[*x]`, `{**x}`, `[i for i in y]`, `"a" + "b"`, `date(2020, 1, 1)`} {
		defs, _ := Inspect("python", "x = "+src)
		if v, ok := defs[0].Value(); ok {
			t.Errorf("%s: got %s, want no literal", src, v)
		}
	}
}

// rawPython is what is found before definitions of one name are merged.
func rawPython(src string) [][]any {
	defs, _ := inspectPython(strings.ReplaceAll(src, "\r\n", "\n"))
	found := [][]any{}
	for _, d := range defs {
		found = append(found, []any{d.Name, d.Type, d.Default, d.Line})
	}
	return found
}

// CPython's own parser finds the same assignments in random cells and in the
// module level of its standard library.
func TestInspectIsCPythons(t *testing.T) {
	t.Parallel()
	python := os.Getenv("QUIRE_TEST_PYTHON")
	if python == "" {
		return
	}
	var sources []string
	rng := rand.New(rand.NewPCG(11, 12))
	for range 3000 {
		sources = append(sources, randomCell(rng))
	}
	out, err := exec.Command(python, "-c", "import json, sys; print(json.__file__)").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(strings.TrimSpace(string(out)))), "*.py"))
	if len(files) < 100 {
		t.Fatalf("only %d files of the standard library", len(files))
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, string(data))
	}
	cases := [][]any{}
	for _, s := range sources {
		cases = append(cases, []any{s, rawPython(s)})
	}
	legal := 0
	for i, answer := range oracle(t, "QUIRE_TEST_PYTHON", "assign", cases) {
		switch answer[0] {
		case "ok":
			legal++
		case "diff":
			t.Errorf("%s\n%s", answer[1], shorten(sources[i]))
		}
	}
	if legal < 900 {
		t.Errorf("only %d of %d cells are Python", legal, len(sources))
	}
}

func randomCell(rng *rand.Rand) string {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	value := func() string {
		return pick("1", "-2.5", "'a'", `"b # c"`, "[1, 2]", "{'k': 1, 'l': [2]}", "(1)", "(1,\n  2)", "1, 2", "f(a=1)", "x == 3", "f'{x}'", `f"{x['k']:>{w}}"`,
			"'''t\n = 1'''", "lambda a=1, b=2: a", "[\n 1, # c\n 2\n]", "1 + \\\n 2", "x if y else z", "not x", "r'\\d'", "b'x' b'y'", "(yield)", "{**a}", "x[1:2]",
			"1if x else 2", "0xffor x", "...", "-x**2", "a@b", "(n := 1)", `"\""`, `'\\'`, "f'{{}}'", "f'{x!r}'", "*a, b", "await_x", "1_000", "1e-5", "1.", "x<=y", "x!=y", "rb'\\'' ''", "u'x'", "f'''{\nx\n}'''", `f'{x:{"a"}}'`, "", "]", "'")
	}
	var b strings.Builder
	for range rng.IntN(5) + 1 {
		target := pick("a", "b", "alpha", "_x", "a, b", "(a, b)", "[a, b]", "*a, b", "a.b", "a[0]", "a, b.c", "(a)", "match", "type", "é", "a,", "None")
		switch rng.IntN(12) {
		case 0:
			b.WriteString(target + ": " + pick("int", "'str'", "List[int]", "Literal['a', \"b\"]", "Optional[\n int]", "x.y", "int | None"))
		case 1, 2:
			b.WriteString(target + ": " + pick("int", "'str'", "Dict[str, int]", "Annotated[int, Ge(0)]", "lambda: 0") + " = " + value())
		case 3:
			b.WriteString(target + " = " + pick("a", "c") + " = " + value())
		case 4:
			b.WriteString(pick("print(a)", "import os", "a += 1", "# only", "pass", "x; y = 1", "f(b=2)", "del a", "assert a == 1", "(a := 1)", "a == b", "'''doc = 1'''", "@dec", "global a", "x: y: z"))
		case 5:
			b.WriteString(pick("if x:", "for i in y:", "def f(a=1):", "class C:", "try:", "with a as b:", "while x:", "match x:") + pick(" a = 1; b = 2", "\n    a = 1\n    b = 2", "\n\n    # c\n    a: int = 1", "\n\tpass"))
			if strings.HasPrefix(b.String(), "try") {
				b.WriteString("\nfinally:\n  z = 1")
			}
		default:
			b.WriteString(target + pick(" = ", "=", " =\\\n ") + value())
		}
		b.WriteString(pick("\n", "\n", "\n", "; ", " # type: int help\n", " # = x\n", "\n\n", ";\n"))
	}
	return b.String()
}

func FuzzInspect(f *testing.F) {
	for _, tt := range papermillCases {
		f.Add(tt.src)
	}
	f.Add("f'{f\"{x:{y}}\"}'\n")
	f.Add("x <- c(1, 2) # h\nval x: Int = 5\nconst a = `b${c}`")
	f.Fuzz(func(t *testing.T, src string) {
		for _, lang := range []string{"python", "R", "scala", "julia", "matlab", "bash", "C#", "F#", "powershell", "javascript", "sql"} {
			defs, _ := Inspect(lang, src)
			for _, d := range defs {
				if d.Name == "" || d.Line < 1 || d.Line > strings.Count(src, "\n")+strings.Count(src, "\r")+1 {
					t.Fatalf("%s: %+v", lang, d)
				}
			}
			_ = SchemaOf(defs)
		}
	})
}

// Sixteen times the source takes about sixteen times the time, not 256: no cell
// can hold up a run.
func TestInspectIsLinear(t *testing.T) {
	languages := []string{"python", "R", "scala", "julia", "matlab", "bash", "C#", "F#", "powershell", "javascript", "sql"}
	units := []string{
		"[", "a = [\n", "'", "a = '\n", "f'{", "f'{f\"{", "a = 1 # x\n", ";", "a,", "(", "\"\"\"", "a = b = ", "{", "/* ", "#= ", "lambda ",
		"if x\n", "a:", "\\\n", "<<E\n", "`${", "x = \n", "\n", "let a =\n\n", " \n", "/* x */", "/", "x -> ", "$(\"", "const a = 1,", "a=1 ",
	}
	for _, lang := range languages {
		for _, unit := range units {
			took := func(size int) time.Duration {
				src := strings.Repeat(unit, size/len(unit)) + " b"
				start := worked(t)
				Inspect(lang, src)
				return max(worked(t)-start, time.Millisecond)
			}
			ok := false
			for range 4 { // garbage of the one before may be swept
				if took(32_000) < 60*took(2_000) {
					ok = true
					break
				}
			}
			if !ok {
				t.Errorf("%s: %q: sixteen times the source takes over sixty times as long", lang, unit)
			}
		}
	}
}

// worked is the processor's time that this process has taken: on a busy machine the
// clock says little about a program.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestInspectJSON(t *testing.T) {
	t.Parallel()
	defs, _ := Inspect("python", "a: int = 1 # h")
	b, err := json.Marshal(defs)
	want := `[{"name":"a","inferred_type_name":"int","default":"1","help":"h","inferred":"int","line":1}]`
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v", b, err)
	}
}
