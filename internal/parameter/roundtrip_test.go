package parameter

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"quire/internal/problem"
)

// hostile are strings that would end a literal, a line or a comment somewhere.
var hostile = []string{
	"", " ", "'", `"`, "`", "\\", `\"`, `\\"`, "$", "$x", "${x}", "$(touch pwned)", "`id`", "#{x}", "%s %d", "!",
	"a\nb", "a\r\nb", "\x00", "\x01\x1b[31m", "\x7f", "\u0085", "\u00a0", "\u2028\u2029", "\ufeff", "é", "€", "😀", "“ ” „",
	"\u202ereversed", "*)", "*/", "//", "#", "--", "]]>", "';DROP TABLE x;--", "\"; import os; x = \"", "\\u0022; boom(); \"",
	"a\tb", "~", "*", "[5]=x", "k=v", "-n", "__proto__", "constructor", "\\x41", "\\N{DIGIT ONE}", "{x}", "True", "None", "1",
	"'''", `"""`, "\\\n", "\v\f\b", "𐀀\U0010ffff", strings.Repeat("x", 3000),
}

func randomValue(rng *rand.Rand, depth int) Value {
	kind := rng.IntN(8)
	if depth <= 0 && kind > 5 {
		kind = 5
	}
	switch kind {
	case 0:
		return Null()
	case 1:
		return Bool(rng.IntN(2) == 0)
	case 2:
		return Int(rng.Int64() >> rng.IntN(64) * int64(1-2*rng.IntN(2)))
	case 3:
		return Float([]float64{0, -1.5, 1e-7, 1e22, 5e-324, math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN(), rng.NormFloat64()}[rng.IntN(10)])
	case 6:
		items := []Value{}
		for range rng.IntN(4) {
			items = append(items, randomValue(rng, depth-1))
		}
		return List(items...)
	case 7:
		var fields []Field
		for range rng.IntN(4) {
			fields = append(fields, Field{Key: String(randomString(rng)), Value: randomValue(rng, depth-1)})
		}
		return Dict(fields...)
	default:
		return String(randomString(rng))
	}
}

func randomString(rng *rand.Rand) string {
	s := hostile[rng.IntN(len(hostile))]
	if rng.IntN(2) == 0 {
		s += hostile[rng.IntN(len(hostile))]
	}
	return s
}

// The text that Translate writes, run by the real Python, gives the values back.
func TestPythonRunsIt(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	var sources []string
	var wants []Value
	add := func(v Value) {
		s := SetOf(Field{String("x"), v}, Field{String("after"), Int(1)})
		text, err := Translate("python3", "python", s, "")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(text, "\n") != 3 {
			t.Errorf("%s: not one line: %q", v, text)
		}
		sources, wants = append(sources, text), append(wants, s.Value())
	}
	for _, h := range hostile {
		add(String(h))
	}
	for range 3000 {
		add(randomValue(rng, 3))
	}
	for i, got := range oracle(t, "QUIRE_TEST_PYTHON", "exec", sources) {
		if want := asJSON(t, typed(wants[i])); asJSON(t, got) != want {
			t.Errorf("%q\ngives %s\nwant  %s", sources[i], asJSON(t, got), want)
		}
	}
}

// interpreter runs a program where its language is installed; ok is false
// where it is not.
func interpreter(t *testing.T, stdin, name string, args ...string) (out string, ok bool) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		return "", false
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, b)
	}
	return string(b), true
}

func TestNodeRunsIt(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	var program strings.Builder
	var wants []string
	program.WriteString(`"use strict"; const out = [];
const show = (v) => typeof v === "bigint" ? v.toString() : typeof v === "number" && !Number.isFinite(v) ? JSON.stringify(String(v)) :
  Array.isArray(v) ? "[" + v.map(show).join(",") + "]" : v && typeof v === "object" ?
  "{" + Object.keys(v).sort().map((k) => JSON.stringify(k) + ":" + show(v[k])).join(",") + "}" : JSON.stringify(v);
`)
	for i := range 2000 {
		v := randomValue(rng, 3)
		if i < len(hostile) {
			v = String(hostile[i])
		}
		text, err := Translate("deno", "", SetOf(Field{String("x"), v}), "")
		if err != nil {
			t.Fatal(err)
		}
		program.WriteString(text + "out.push(show(x));\n")
		wants = append(wants, asJSON(t, v))
	}
	program.WriteString("console.log(JSON.stringify(out));\n")
	out, ok := interpreter(t, program.String(), "node", "-")
	if !ok {
		return
	}
	var got []string
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, shorten(out))
	}
	for i := range wants {
		if normalJSON(t, got[i]) != normalJSON(t, wants[i]) {
			t.Errorf("got  %s\nwant %s", got[i], wants[i])
		}
	}
}

// normalJSON parses and writes again: one order of keys, one form of numbers.
func normalJSON(t *testing.T, text string) string {
	t.Helper()
	v, err := ParseJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	var plain any
	if err := json.Unmarshal([]byte(asJSON(t, v)), &plain); err != nil {
		t.Fatal(err)
	}
	return asJSON(t, plain)
}

func TestBashRunsIt(t *testing.T) {
	t.Parallel()
	var program, want strings.Builder
	add := func(v Value, show string, words ...string) {
		text, err := Translate("x", "bash", SetOf(Field{String("v"), v}), "")
		if err != nil {
			t.Fatal(err)
		}
		program.WriteString(text + "printf '<%s>' " + show + "; printf '\\n'; unset v\n")
		for _, w := range words {
			want.WriteString("<" + w + ">")
		}
		want.WriteByte('\n')
	}
	for i, h := range hostile {
		if strings.ContainsRune(h, 0) {
			continue
		}
		other := strings.ReplaceAll(hostile[(i*7+3)%len(hostile)], "\x00", "")
		add(String(h), `"$v"`, h)
		add(l(h, other, nil, 5, true, 1.5), `"${v[@]}"`, h, other, "", "5", "true", "1.5")
		if h != "" {
			add(d(h, other), `"${!v[@]}" "${v[@]}"`, h, other)
		}
	}
	out, ok := interpreter(t, program.String(), "bash", "-s")
	if !ok {
		return
	}
	if out != want.String() {
		got, wanted := strings.Split(out, "\n"), strings.Split(want.String(), "\n")
		for i := range got {
			if i >= len(wanted) || wanted[i] != got[i] {
				t.Fatalf("line %d: got %q, want %q", i+1, got[i], wanted[min(i, len(wanted)-1)])
			}
		}
		t.Fatalf("got %d lines, want %d", len(got), len(wanted))
	}
}

// Where no interpreter is at hand: walk the literal by the language's own rules
// and see that it ends where it should.
func FuzzLiteralsHold(f *testing.F) {
	for _, h := range hostile {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, lang := range []string{"python", "R", "scala", "julia", "C#", "F#", "deno", "matlab", "powershell"} {
			text, err := Translate(lang, lang, SetOf(Field{String("x"), String(s)}), s)
			if err != nil {
				if strings.ContainsRune(s, 0) && lang == "R" && problem.Is(err, problem.Invalid) {
					continue
				}
				t.Fatalf("%s: %v", lang, err)
			}
			lines := strings.Split(text, "\n")
			if len(lines) != 3 || lines[2] != "" || !utf8.ValidString(text) {
				t.Fatalf("%s: %q is not one comment and one assignment", lang, text)
			}
			_, literal, _ := strings.Cut(lines[1], " = ")
			literal = strings.TrimSuffix(literal, ";")
			if !closed(lang, literal) {
				t.Fatalf("%s: %q ends early", lang, literal)
			}
		}
	})
}

func closed(lang, literal string) bool {
	switch lang {
	case "matlab":
		return matlabClosed(literal)
	case "powershell":
		return powershellClosed(literal)
	}
	body := strings.TrimSuffix(strings.TrimPrefix(literal, `"`), `"`)
	if len(body) != len(literal)-2 {
		return false
	}
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '\\':
			if i++; i == len(body) {
				return false
			}
		case c == '"' || c < 0x20 || c >= 0x7f || c == '$' && lang == "julia":
			return false
		}
	}
	return true
}

func matlabClosed(literal string) bool {
	literal = strings.TrimSuffix(strings.TrimPrefix(literal, "("), ")")
	inside := false
	var outside strings.Builder
	for i := 0; i < len(literal); i++ {
		switch {
		case literal[i] == '"' && inside && i+1 < len(literal) && literal[i+1] == '"':
			i++
		case literal[i] == '"':
			inside = !inside
		case !inside:
			outside.WriteByte(literal[i])
		case literal[i] < 0x20:
			return false
		}
	}
	return !inside && strings.Trim(outside.String(), " +char()0123456789") == ""
}

func powershellClosed(literal string) bool {
	body, ok := strings.CutPrefix(literal, `"`)
	if !ok || !strings.HasSuffix(body, `"`) {
		return false
	}
	runes := []rune(strings.TrimSuffix(body, `"`))
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '`':
			if i++; i == len(runes) {
				return false
			}
		case r == '$':
			call := string(runes[i:min(len(runes), i+len("$([char]0x2028)"))])
			end := strings.IndexByte(call, ')')
			if !strings.HasPrefix(call, "$([char]0x") || end < 0 || strings.Trim(call[len("$([char]0x"):end], hexDigits) != "" {
				return false
			}
			i += end
		case r == '"' || r >= 0x201c && r <= 0x201e || isControl(r):
			return false
		}
	}
	return true
}

func TestNamesThatNoLanguageTakes(t *testing.T) {
	t.Parallel()
	for _, lang := range []string{"python", "R", "scala", "julia", "matlab", "bash", "C#", "F#", "powershell", "deno"} {
		for _, name := range []string{"", "1a", "a b", "a-b", "a;b", "a\nb", "a=1;b", "a.b.c()", "a\xff", "x\x00", "true false", "a\u2028b", "(a)", "a[0]"} {
			if _, err := Translate(lang, lang, SetOf(Field{String(name), Int(1)}), ""); !problem.Is(err, problem.Invalid) {
				t.Errorf("%s takes the name %q: %v", lang, name, err)
			}
		}
		for _, name := range []string{"a", "alpha_1", "Country"} {
			if !ValidName(lang, lang, name) {
				t.Errorf("%s refuses the name %q", lang, name)
			}
		}
	}
	for _, tt := range []struct {
		lang, name string
		want       bool
	}{
		{"python", "class", false},
		{"python", "match", true},
		{"python", "été", true},
		{"python", "_x", true},
		{"python", "__debug__", false},
		{"R", "a.b", true},
		{"R", ".2x", false},
		{"R", "_", false},
		{"R", "TRUE", false},
		{"R", "if", false},
		{"julia", "end", false},
		{"julia", "push!", true},
		{"scala", "val", false},
		{"matlab", "_x", false},
		{"bash", "été", false},
		{"bash", "time", true},
		{"deno", "$x", true},
		{"deno", "let", false},
		{"C#", "class", false},
		{"F#", "match", false},
		{"powershell", "True", false},
		{"cobol", "a", false},
	} {
		if got := ValidName(tt.lang, tt.lang, tt.name); got != tt.want {
			t.Errorf("%s %q: got %v", tt.lang, tt.name, got)
		}
	}
}

func TestValuesThatALanguageCannotHold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lang string
		v    Value
		say  string
	}{
		{"R", of("a\x00"), "parameter x: a string in R cannot hold a NUL"},
		{"R", d("a\x00", 1), "NUL"},
		{"bash", of("a\x00"), "NUL"},
		{"bash", l(l()), "no list in a list"},
		{"bash", d("a", l()), `key "a"`},
		{"bash", d("", 1), "no empty key"},
		{"powershell", d("a", 1, "A", 2), `keys "a" and "A" are the same`},
		{"cobol", of(1), "No parameter translator functions specified for kernel 'cobol' or language 'cobol'"},
	} {
		_, err := Translate(tt.lang, tt.lang, SetOf(Field{String("x"), tt.v}), "")
		if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s: got %v, want %q", tt.lang, err, tt.say)
		}
	}
}

func TestRRunsIt(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 10))
	var program, want strings.Builder
	program.WriteString(`show <- function(x) {
  if (is.null(x)) "null"
  else if (is.list(x)) {
    parts <- vapply(x, show, "")
    if (!is.null(names(x))) parts <- paste0(vapply(names(x), show, ""), "=", parts)
    paste0("(", paste(parts, collapse = ","), ")")
  } else if (is.character(x)) paste0("s", paste(utf8ToInt(x), collapse = "."))
  else if (is.logical(x)) if (x) "T" else "F"
  else if (is.nan(x)) "NaN" else if (is.infinite(x)) if (x > 0) "Inf" else "-Inf"
  else sprintf("%a", x)
}
`)
	for i := range 1500 {
		v := randomValue(rng, 3)
		if i < len(hostile) {
			v = String(hostile[i])
		}
		text, err := Translate("ir", "R", SetOf(Field{String("x"), v}), "")
		if err != nil {
			continue // a NUL somewhere in it
		}
		program.WriteString(text + "cat(show(x), \"\\n\", sep = \"\")\n")
		want.WriteString(showR(v) + "\n")
	}
	out, ok := interpreter(t, program.String(), "Rscript", "--vanilla", "-")
	if !ok {
		return
	}
	got, wanted := strings.Split(out, "\n"), strings.Split(want.String(), "\n")
	if len(got) != len(wanted) || len(got) < 500 {
		t.Fatalf("got %d lines, want %d", len(got), len(wanted))
	}
	for i := range got {
		if got[i] != wanted[i] {
			t.Errorf("line %d: got %s, want %s", i+1, got[i], wanted[i])
		}
	}
}

// showR is what the R function show above writes for v.
func showR(v Value) string {
	switch v.kind {
	case KindBool:
		return strings.ToUpper(v.String()[:1])
	case KindInt, KindFloat:
		f, _ := v.AsFloat()
		switch {
		case nonFiniteName(f) != "":
			return strings.Replace(nonFiniteName(f), "Infinity", "Inf", 1)
		}
		return hexFloat(f)
	case KindString:
		parts := []string{}
		for _, r := range v.s {
			parts = append(parts, itoa(int(r)))
		}
		return "s" + strings.Join(parts, ".")
	case KindList:
		parts := []string{}
		for _, e := range v.list {
			parts = append(parts, showR(e))
		}
		return "(" + strings.Join(parts, ",") + ")"
	case KindDict:
		parts := []string{}
		for _, f := range v.fields {
			parts = append(parts, showR(f.Key)+"="+showR(f.Value))
		}
		return "(" + strings.Join(parts, ",") + ")"
	default:
		return "null"
	}
}

// hexFloat writes f as C's %a does.
func hexFloat(f float64) string {
	s := strconv.FormatFloat(f, 'x', -1, 64)
	mantissa, exponent, _ := strings.Cut(s, "p")
	n, _ := strconv.Atoi(exponent)
	if f == math.SmallestNonzeroFloat64 { // C keeps the exponent of subnormal numbers
		return "0x0.0000000000001p-1022"
	}
	return fmt.Sprintf("%sp%+d", mantissa, n)
}
