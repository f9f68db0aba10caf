package parameter

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"quire/internal/problem"
)

var flagCases = []struct {
	in   string
	want string // in the oracle's form
}{
	{"True", `["b",true]`},
	{"False", `["b",false]`},
	{"None", `["n"]`},
	{"true", `["s","true"]`},
	{" True", `["s"," True"]`},
	{"1_000", `["i","1000"]`},
	{"1__000", `["s","1__000"]`},
	{"_1", `["s","_1"]`},
	{"007", `["i","7"]`},
	{" 5 ", `["i","5"]`},
	{"+5", `["i","5"]`},
	{"- 5", `["s","- 5"]`},
	{"-0", `["i","0"]`},
	{"0x10", `["s","0x10"]`},
	{"12345678901234567890123", `["i","12345678901234567890123"]`},
	{"٣٤", `["i","34"]`},
	{"𝟗", `["i","9"]`},
	{"1e5", `["f","100000.0"]`},
	{"1.", `["f","1.0"]`},
	{".5", `["f","0.5"]`},
	{".", `["s","."]`},
	{"1_0.2_5e1_0", `["f","102500000000.0"]`},
	{"nan", `["f","nan"]`},
	{"-Infinity", `["f","-inf"]`},
	{"+iNf", `["f","inf"]`},
	{"1e999", `["f","inf"]`},
	{"0x1p3", `["s","0x1p3"]`},
	{"1e5_", `["s","1e5_"]`},
	{"", `["s",""]`},
	{"\u20031\t", `["i","1"]`},
	{"1\x1c", `["s","1\u001c"]`},
	{"1e-5", `["f","1e-05"]`},
	{"12345678901234567.0", `["f","1.2345678901234568e+16"]`},
	{"0.0001", `["f","0.0001"]`},
	{"-0.0", `["f","-0.0"]`},
}

func TestFromFlag(t *testing.T) {
	t.Parallel()
	inputs := []string{}
	for _, tt := range flagCases {
		v := FromFlag(tt.in)
		if got := asJSON(t, typed(v)); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.in, got, tt.want)
		}
		if text, ok := v.Text(); !ok || text != tt.in {
			t.Errorf("%q: the typed text is lost", tt.in)
		}
		inputs = append(inputs, tt.in)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		inputs = append(inputs, randomText(rng, "0123456789__..--++eEinfaNTy \t٣", 8))
	}
	for i, want := range oracle(t, "QUIRE_TEST_PYTHON", "flag", inputs) {
		if got := asJSON(t, typed(FromFlag(inputs[i]))); got != asJSON(t, want) {
			t.Errorf("%q: got %s, Python has %s", inputs[i], got, asJSON(t, want))
		}
	}
	if v := FromFlag(strings.Repeat("9", 5000)); v.Kind() != KindString {
		t.Errorf("5000 digits: got a %s", v.Kind())
	}
	if v := FromRaw("12"); v.Kind() != KindString {
		t.Errorf("-r 12: got a %s", v.Kind())
	}
}

func randomText(rng *rand.Rand, alphabet string, most int) string {
	chars := []rune(alphabet)
	var b strings.Builder
	for range rng.IntN(most) + 1 {
		b.WriteRune(chars[rng.IntN(len(chars))])
	}
	return b.String()
}

// yamlFixtures holds inputs and what PyYAML's safe loader without dates makes
// of them (testdata/pyyaml.json, made by oracle.py).
func yamlFixtures(t *testing.T) (inputs []string, want [][]any) {
	t.Helper()
	data, err := os.ReadFile("testdata/pyyaml.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		In   string `json:"in"`
		Want []any  `json:"want"`
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		inputs, want = append(inputs, r.In), append(want, r.Want)
	}
	return inputs, want
}

func TestFromYAMLIsPyYAMLs(t *testing.T) {
	t.Parallel()
	inputs, want := yamlFixtures(t)
	if len(inputs) < 100 {
		t.Fatalf("only %d fixtures", len(inputs))
	}
	for i := range inputs {
		compareYAML(t, inputs[i], want[i])
	}
	rng := rand.New(rand.NewPCG(3, 4))
	var random []string
	for range 4000 {
		random = append(random, randomText(rng, "0012789__..--+:eExbofnNyYaAsiIlu~", 9))
	}
	for i, want := range oracle(t, "QUIRE_TEST_PYYAML", "yaml", random) {
		compareYAML(t, random[i], want)
	}
}

// yamlDifferences are the inputs on which we decided to differ: a tab after a
// colon is fine, ordered maps are not parameters, and \/ is for JSON alone.
var yamlDifferences = []string{"a:\t1", "!!omap [a: 1]", "!!pairs [a: 1]", `a: "\/"`}

func compareYAML(t *testing.T, in string, want []any) {
	t.Helper()
	if slices.Contains(yamlDifferences, in) {
		return
	}
	v, err := yamlValue([]byte(in))
	switch {
	case want[0] == "e" && err == nil:
		t.Errorf("%q: got %s, PyYAML refuses it (%s)", in, v, want[1])
	case want[0] != "e" && err != nil:
		t.Errorf("%q: %v, PyYAML has %s", in, err, asJSON(t, want))
	case err == nil && asJSON(t, typed(v)) != asJSON(t, want):
		t.Errorf("%q: got %s, PyYAML has %s", in, asJSON(t, typed(v)), asJSON(t, want))
	}
}

func TestFromYAMLErrors(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [x, x]\n"
	empty := "a0: &a0 {}\n"
	for i := range 40 {
		prev, next := string(rune('a'+i%26))+itoa(i), string(rune('a'+(i+1)%26))+itoa(i+1)
		bomb += next + ": &" + next + " [*" + prev + ", *" + prev + "]\n"
		empty += next + ": &" + next + " {<<: [*" + prev + ", *" + prev + "]}\n"
	}
	for _, tt := range []struct {
		name, in string
		kind     problem.Kind
		say      string
	}{
		{"scalar", "5", problem.Invalid, "reading parameters from p.yaml: want a mapping of parameter names to values at the top, not a int"},
		{"list", "[a]", problem.Invalid, "not a list"},
		{"number as name", "1: a", problem.Invalid, "parameter name 1 is a int"},
		{"broken", "a: [1\nb: 2", problem.Invalid, "not YAML: line 1: did not find"},
		{"two documents", "a: 1\n---\nb: 2", problem.Invalid, "line 2: want one document"},
		{"bomb", bomb, problem.TooLarge, "more than 1000000 values"},
		{"empty bomb", empty, problem.TooLarge, "more than 1000000 values"},
		{"self", "a: &a [*a]", problem.Invalid, "anchor &a holds itself"},
		{"self merge", "a: &a {<<: *a}", problem.Invalid, "anchor &a holds itself"},
		{"deep", "a: " + strings.Repeat("[", 600) + strings.Repeat("]", 600), problem.TooLarge, "nested deeper than 500"},
		{"list as key", "? [a]\n: b", problem.Invalid, "line 1: a list cannot be a key"},
		{"binary", "a: !!binary aGk=", problem.Invalid, "line 1: tag !!binary"},
		{"python tag", "a: !!python/object:os.system {}", problem.Invalid, "!!python/object"},
		{"own tag", "a: !x 1", problem.Invalid, "tag !x"},
		{"large", strings.Repeat(" ", MaxDocument+1), problem.TooLarge, "over the limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := FromYAML("p.yaml", []byte(tt.in))
			if !problem.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("got %v, want %q", err, tt.say)
			}
		})
	}
}

func itoa(i int) string { return big.NewInt(int64(i)).String() }

func TestFromJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want, say string }{
		{`{"a": 1, "b": [1.0, 1e5, -0, 12345678901234567890], "c": {"x": null}}`, `["d",[[["s","a"],["i","1"]],[["s","b"],["l",[["f","1.0"],["f","100000.0"],["i","0"],["i","12345678901234567890"]]]],[["s","c"],["d",[[["s","x"],["n"]]]]]]]`, ""},
		{"\xef\xbb\xbf{}", `["d",[]]`, ""},
		{`{"a": NaN, "b": -Infinity}`, `["d",[[["s","a"],["f","nan"]],[["s","b"],["f","-inf"]]]]`, ""},
		{`{"a": "\ud83d\ude00\n\u0000"}`, `["d",[[["s","a"],["s","😀\n\u0000"]]]]`, ""},
		{`{"a": 1, "a": 2}`, `["d",[[["s","a"],["i","2"]]]]`, ""},
		{`{"a": "\ud83d"}`, "", "surrogate"},
		{"{\n \"a\" 1}", "", "line 2, column 6: want ':' after the name \"a\", not '1'"},
		{`{"a": 01}`, "", "may not begin with 0"},
		{`{"a": 1.}`, "", "want a digit after the point"},
		{`{"a": 1,}`, "", "want a name in double quotes"},
		{`{"a": tru}`, "", "want a value"},
		{`{"a": "x`, "", "has no end"},
		{"{\"a\": \"\x01\"}", "", "control character"},
		{"{\"a\": \"\xff\"}", "", "not UTF-8"},
		{`{} {}`, "", "want the end"},
		{``, "", "the end of the text"},
		{`{"a": ` + strings.Repeat("[", 600), "", "nested deeper"},
		{`7`, "", "want a mapping"},
	} {
		s, err := FromJSON("p.json", []byte(tt.in))
		switch {
		case tt.say != "":
			if err == nil || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("%s: got %v, want %q", shorten(tt.in), err, tt.say)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.in, err)
		default:
			if got := asJSON(t, typed(s.Value())); got != tt.want {
				t.Errorf("%s: got %s, want %s", tt.in, got, tt.want)
			}
		}
	}
}

func TestFromFileAndBase64(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"p.json", `{"a": 1e5}`, `{"a":100000.0}`},
		{"p.JSON", "a: yes", `{"a":true}`},
		{"p.yaml", `{"a": 1e5}`, `{"a":"1e5"}`},
		{"p.yml", "", `{}`},
		{"p.yml", `{"a": "\/", "b": 1.5}`, `{"a":"/","b":1.5}`},
	} {
		s, err := FromFile(tt.name, []byte(tt.in))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if got := asJSON(t, s); got != compact(t, tt.want) {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	if _, err := FromFile("p.json", []byte("{")); err == nil || !strings.Contains(err.Error(), "not JSON: line 1, column 2") {
		t.Errorf("broken .json: got %v", err)
	}
	s, err := FromBase64("e2ZvbzogYmFy\nLCBuOiAyfQ==")
	if err != nil || asJSON(t, s) != `{"foo":"bar","n":2}` {
		t.Errorf("base64: got %s, %v", asJSON(t, s), err)
	}
	for _, bad := range []string{"e2ZvbzogYmFyLCBuOiAyfQ", "a"} {
		if _, err := FromBase64(bad); !problem.Is(err, problem.Invalid) {
			t.Errorf("base64 %q: got %v", bad, err)
		}
	}
}

func compact(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return asJSON(t, json.RawMessage(text))
}

func TestSet(t *testing.T) {
	t.Parallel()
	var s Set
	s.Put("b", Int(1))
	s.Put("a", Int(2))
	s.Put("b", Int(3))
	c := s.Clone()
	c.Delete("b")
	c.Delete("none")
	c.Put("z", Null())
	if got := asJSON(t, s); got != `{"b":3,"a":2}` {
		t.Errorf("got %s", got)
	}
	if got := asJSON(t, c); got != `{"a":2,"z":null}` {
		t.Errorf("clone: got %s", got)
	}
	if s.Equal(c) || !s.Equal(SetOf(Field{String("a"), Int(2)}, Field{String("b"), Int(3)})) {
		t.Error("Equal is wrong")
	}
	if asJSON(t, Set{}) != "{}" {
		t.Error("the zero set is not {}")
	}
}

func TestMarshalJSON(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	s := SetOf(
		Field{String("n"), l(nan, math.Inf(1), d("a/b~", -math.Inf(1)), 1.0)},
		Field{String("d"), d(1, "a", true, "b", nil, "c", 2.0, "x", nan, "n", "1", "dup")},
		Field{String("big"), mustYAML("123456789012345678901234567890")},
		Field{String("s"), of("\x00\"\\\xff\u2028é")},
	)
	want := `{"n":["NaN","Infinity",{"a/b~":"-Infinity"},1.0],"d":{"1":"dup","null":"c","2.0":"x","NaN":"n"},` +
		`"big":123456789012345678901234567890,"s":"\u0000\"\\` + "\ufffd\u2028é" + `"}`
	got, err := s.MarshalJSON()
	if err != nil || string(got) != want || !json.Valid(got) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if at := strings.Join(s.NonFinite(), " "); at != "/n/0 /n/1 /n/2/a~1b~0" {
		t.Errorf("non-finite at %s", at)
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	values := []Value{
		Null(), Bool(true), Bool(false), Int(1), Int(0), Float(1), Float(math.NaN()), String("1"), String(""),
		l(), l(1), l("1"), d(), d("a", 1), d("a", 2), d(1, 1), d("1", 1), BigInt(new(big.Int).Lsh(big.NewInt(1), 90)),
	}
	for i, a := range values {
		for j, b := range values {
			if a.Equal(b) != (i == j) {
				t.Errorf("%s (%s) == %s (%s): %v", a, a.Kind(), b, b.Kind(), a.Equal(b))
			}
		}
	}
	if !d("a", 1, "b", 2).Equal(d("b", 2, "a", 1)) {
		t.Error("order must not matter")
	}
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte("a: [1, {b: ~}]"))
	f.Add([]byte(`{"a": [1e5, "x", null]}`))
	f.Add([]byte("a: &x {k: 1}\nb: {<<: *x}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, read := range []func(string, []byte) (Set, error){FromYAML, FromJSON} {
			s, err := read("f", data)
			if err != nil {
				if problem.KindOf(err) == problem.Internal {
					t.Fatalf("%q: %v", data, err)
				}
				continue
			}
			text, _ := s.MarshalJSON()
			if !json.Valid(text) {
				t.Fatalf("%q becomes %s", data, text)
			}
			if _, err := FromJSON("again", text); err != nil {
				t.Fatalf("%q: %s is not read again: %v", data, text, err)
			}
		}
	})
}

func FuzzFromFlag(f *testing.F) {
	for _, tt := range flagCases {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := FromFlag(s)
		if v.Kind() == KindString && v.s != s {
			t.Fatalf("%q became %q", s, v.s)
		}
		if v.Kind() == KindInt || v.Kind() == KindFloat {
			if w := FromFlag(v.String()); !w.Equal(v) {
				t.Fatalf("%q is %s, which is %s", s, v, w)
			}
		}
	})
}
