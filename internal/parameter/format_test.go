package parameter

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"quire/internal/problem"
)

var stamp = time.Date(2026, 11, 3, 4, 5, 6, 70_000_000, time.UTC)

var templateBuiltins = Builtins{RunUUID: "u-1", Local: stamp, UTC: stamp}

func templateSet() Set {
	return SetOf(
		Field{String("msg"), of("it's")},
		Field{String("n"), of(42)},
		Field{String("neg"), of(-1234567)},
		Field{String("x"), of(1234.5678)},
		Field{String("tiny"), of(1e-7)},
		Field{String("big"), of(1e22)},
		Field{String("one"), of(1.0)},
		Field{String("zero"), of(math.Copysign(0, -1))},
		Field{String("nan"), of(math.NaN())},
		Field{String("inf"), of(math.Inf(-1))},
		Field{String("t"), of(true)},
		Field{String("no"), of(nil)},
		Field{String("l"), l(1, "a\"b", l(2.5))},
		Field{String("d"), d("k", "v", "a b", 1, 5, "five", "l", l(7))},
		Field{String("w"), of(8)},
		Field{String("uni"), of("né\n😀\u200b")},
		Field{String("long"), mustYAML("123456789012345678901234567890")},
	)
}

// Papermill's test_parameterize.py, and more.
func TestFormat(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"foo/bar", "foo/bar"},
		{"foo/{msg}/{n}", "foo/it's/42"},
		{"{{msg}}", "{msg}"},
		{"{d[k]}/{d[a b]}/{d[5]}/{d[l][0]}", "v/1/five/7"},
		{"{l[0]}-{l[2][0]}", "1-2.5"},
		{"{l[1]!r}", `'a"b'`},
		{"{n:03d}", "042"},
		{"{n:>6}|{n:<6}|{n:^6}|{msg:*^10}", "    42|42    |  42  |***it's***"},
		{"{neg:,}/{neg:012,}", "-1,234,567/-001,234,567"},
		{"{x:.2f}/{x:e}/{x:10.3}", "1234.57/1.234568e+03/  1.23e+03"},
		{"{n:{w}d}", "      42"},
		{"{t}/{t:d}/{no}", "True/1/None"},
		{"{l}/{d}", `[1, 'a"b', [2.5]]/{'k': 'v', 'a b': 1, 5: 'five', 'l': [7]}`},
		{"{pm[run_uuid]}.ipynb", "u-1.ipynb"},
		{"{pm[current_datetime_utc]}", "2026-11-03 04:05:06.070000+00:00"},
		{"{pm[current_datetime_local]}", "2026-11-03 04:05:06.070000"},
		{"{pm[current_datetime_utc]:%Y-%m-%d}/{pm[current_datetime_local]:%H%M%S%z}", "2026-11-03/040506"},
		{"{pm[current_datetime_utc].year}", "2026"},
		{"{uni!a}", `'n\xe9\n\U0001f600\u200b'`},
		{"s3://b/{long:x}", "s3://b/18ee90ff6c373e0ee4e3f0ad2"},
	} {
		got, err := Format(tt.in, templateSet(), templateBuiltins)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
	hidden := SetOf(Field{String("pm"), of("mine")})
	if got, err := Format("{pm}", hidden, templateBuiltins); err != nil || got != "mine" {
		t.Errorf("a parameter called pm: got %q, %v", got, err)
	}
}

func TestFormatErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, say string }{
		{"{x_missing}/a", `filling the path template "{x_missing}/a": Missing parameter 'x_missing'`},
		{"{d[nope]}", "Missing parameter 'nope'"},
		{"{pm[nope]}", "Missing parameter 'nope'"},
		{"{d[7]}", "Missing parameter 7"},
		{"{}", "the field {} names no parameter: a path template is filled by name"},
		{"{0}", "names no parameter"},
		{"{l[9]}", "there is no element 9 among 3"},
		{"{l[-1]}", "there is no element -1"},
		{"{n[0]}", "has no elements"},
		{"{n.real}", `there is no attribute "real"`},
		{"{msg.__class__}", "there is no attribute"},
		{"{n", "has no '}'"},
		{"a}", "a single '}' stands at character 2"},
		{"{n!x}", `conversion "x"`},
		{"{n:q}", `the format "q" is not one of Python's`},
		{"{msg:d}", "a string takes no format of type 'd'"},
		{"{no:5}", "a null takes no format"},
		{"{n:99999}", "over the limit of 4096"},
		{"{n:{w:{w}}}", "nested too deep"},
		{"{n:.99999999999999999999f}", "over the limit"},
	} {
		_, err := Format(tt.in, templateSet(), templateBuiltins)
		if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s: got %v, want %q", tt.in, err, tt.say)
		}
	}
}

// Python's own str.format gives the same for random fields.
func TestFormatIsPythons(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(13, 14))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	params := typed(templateSet().Value())
	var cases [][]any
	var templates []string
	for range 5000 {
		name := pick("msg", "n", "neg", "x", "tiny", "big", "one", "zero", "nan", "inf", "t", "no", "l", "d", "uni", "long", "l[0]", "l[1]", "d[k]", "d[5]", "pm[run_uuid]", "w")
		spec := ""
		if rng.IntN(4) > 0 {
			spec = ":" + pick("", "", "*", "0", "é", "{w}")
			if len(spec) > 1 {
				spec += pick("<", ">", "=", "^")
			} else {
				spec += pick("", "", "<", ">", "=", "^")
			}
			spec += pick("", "", "", "+", "-", " ") + pick("", "", "", "", "#", "z") + pick("", "", "0") + pick("", "1", "5", "12", "{w}") + pick("", "", ",", "_") + pick("", "", ".0", ".1", ".3", ".10") +
				pick("", "", "d", "f", "e", "g", "G", "s", "%", "x", "X", "b", "o", "n", "c", "E", "F", "z", "q")
		}
		text := pick("", "a/", "{{", "}}") + "{" + name + pick("", "", "", "!r", "!s", "!a") + spec + "}" + pick("", "}}", ".ipynb")
		if rng.IntN(6) == 0 {
			text = "{pm[current_datetime_" + pick("utc", "local") + "]:%" + string("YmdHMSyIpaAbBFTXRDxceUWVGgujwfzZ%nthCkl"[rng.IntN(38)]) + " %-d}"
		}
		moment := time.Unix(rng.Int64N(4e9), rng.Int64N(2)*123456000).UTC()
		templates = append(templates, text)
		cases = append(cases, []any{text, params, moment.Format("2006-01-02T15:04:05.000000+00:00")})
	}
	for i, want := range oracle(t, "QUIRE_TEST_PYTHON", "format", cases) {
		moment, err := time.Parse(time.RFC3339Nano, cases[i][2].(string))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Format(templates[i], templateSet(), Builtins{RunUUID: "u-1", Local: moment, UTC: moment})
		switch {
		case err != nil && strings.Contains(err.Error(), "# is not supported"):
		case err != nil && want[0] != "e":
			t.Errorf("%s: %v, Python has %q", templates[i], err, want[1])
		case err == nil && want[0] == "e":
			t.Errorf("%s: got %q, Python refuses it (%s)", templates[i], got, want[1])
		case err == nil && got != want[1]:
			t.Errorf("%s: got %q, Python has %q", templates[i], got, want[1])
		}
	}
}

func FuzzFormat(f *testing.F) {
	for _, s := range []string{"{n:{w}d}", "{d[k]!r:>5}", "{pm[current_datetime_utc]:%Y%%}", "{{}}", "{l[0]", "{x:+012,.3f}"} {
		f.Add(s)
	}
	set := templateSet()
	f.Fuzz(func(t *testing.T, s string) {
		out, err := Format(s, set, templateBuiltins)
		if err != nil && !problem.Is(err, problem.Invalid) {
			t.Fatal(err)
		}
		if len(out) > 50*maxWidth*(len(s)+1) {
			t.Fatalf("%q became %d bytes", s, len(out))
		}
	})
}
