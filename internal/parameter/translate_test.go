package parameter

import (
	"math"
	"testing"
)

func d(pairs ...any) Value {
	var fields []Field
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, Field{Key: of(pairs[i]), Value: of(pairs[i+1])})
	}
	return Dict(fields...)
}

func l(items ...any) Value {
	list := []Value{}
	for _, e := range items {
		list = append(list, of(e))
	}
	return List(list...)
}

func of(x any) Value {
	switch x := x.(type) {
	case Value:
		return x
	case string:
		return String(x)
	case int:
		return Int(int64(x))
	case float64:
		return Float(x)
	case bool:
		return Bool(x)
	case nil:
		return Null()
	}
	panic("no such value")
}

// Papermill's own tables: test_translators.py, by language.
func TestTranslateIsPapermills(t *testing.T) {
	t.Parallel()
	type row struct {
		in   Value
		want string
	}
	nan, inf := math.NaN(), math.Inf(1)
	for lang, rows := range map[string][]row{
		"python": {
			{of("foo"), `"foo"`},
			{of(`{"foo": "bar"}`), `"{\"foo\": \"bar\"}"`},
			{d("foo", "bar"), `{"foo": "bar"}`},
			{d("foo", `"bar"`), `{"foo": "\"bar\""}`},
			{d("foo", l("bar")), `{"foo": ["bar"]}`},
			{d("foo", d("bar", "baz")), `{"foo": {"bar": "baz"}}`},
			{d("foo", d("bar", `"baz"`)), `{"foo": {"bar": "\"baz\""}}`},
			{l("foo"), `["foo"]`},
			{l("foo", `"bar"`), `["foo", "\"bar\""]`},
			{l(d("foo", "bar")), `[{"foo": "bar"}]`},
			{l(d("foo", `"bar"`)), `[{"foo": "\"bar\""}]`},
			{of(12345), `12345`},
			{of(-54321), `-54321`},
			{of(1.2345), `1.2345`},
			{of(-5432.1), `-5432.1`},
			{of(nan), `float('nan')`},
			{of(-inf), `float('-inf')`},
			{of(inf), `float('inf')`},
			{of(true), `True`},
			{of(false), `False`},
			{of(nil), `None`},
			{d(1, "a", true, "b", nil, "c", 2.5, "d"), `{"1": "b", "None": "c", "2.5": "d"}`},
			{of("é€😀\x00\x7f\n\\"), `"\xe9\u20ac\U0001f600\x00\x7f\n\\"`},
			{of("a\xffb"), `"a\udcffb"`},
		},
		"R": {
			{of("foo"), `"foo"`},
			{of(`{"foo": "bar"}`), `"{\"foo\": \"bar\"}"`},
			{d("foo", "bar"), `list("foo" = "bar")`},
			{d("foo", `"bar"`), `list("foo" = "\"bar\"")`},
			{d("foo", l("bar")), `list("foo" = list("bar"))`},
			{d("foo", d("bar", "baz")), `list("foo" = list("bar" = "baz"))`},
			{d("foo", d("bar", `"baz"`)), `list("foo" = list("bar" = "\"baz\""))`},
			{l("foo"), `list("foo")`},
			{l("foo", `"bar"`), `list("foo", "\"bar\"")`},
			{l(d("foo", "bar")), `list(list("foo" = "bar"))`},
			{of(12345), `12345`},
			{of(-54321), `-54321`},
			{of(1.2345), `1.2345`},
			{of(-5432.1), `-5432.1`},
			{of(true), `TRUE`},
			{of(false), `FALSE`},
			{of(nil), `NULL`},
			{l(nan, inf, -inf), `list(NaN, Inf, -Inf)`},
			{of("é"), `"\u00e9"`},
			{d("", 1), `setNames(list(1), c(""))`},
		},
		"scala": {
			{of("foo"), `"foo"`},
			{of(`{"foo": "bar"}`), `"{\"foo\": \"bar\"}"`},
			{d("foo", "bar"), `Map("foo" -> "bar")`},
			{d("foo", `"bar"`), `Map("foo" -> "\"bar\"")`},
			{d("foo", l("bar")), `Map("foo" -> Seq("bar"))`},
			{d("foo", d("bar", "baz")), `Map("foo" -> Map("bar" -> "baz"))`},
			{d("foo", d("bar", `"baz"`)), `Map("foo" -> Map("bar" -> "\"baz\""))`},
			{l("foo"), `Seq("foo")`},
			{l("foo", `"bar"`), `Seq("foo", "\"bar\"")`},
			{l(d("foo", "bar")), `Seq(Map("foo" -> "bar"))`},
			{of(12345), `12345`},
			{of(-54321), `-54321`},
			{of(1.2345), `1.2345`},
			{of(-5432.1), `-5432.1`},
			{of(2147483648), `2147483648L`},
			{of(-2147483649), `-2147483649L`},
			{of(true), `true`},
			{of(false), `false`},
			{of(nil), `None`},
			{of("😀\x01"), `"\ud83d\ude00\u0001"`},
			{mustYAML("9223372036854775808"), `BigInt("9223372036854775808")`},
		},
		".net-csharp": {
			{of("foo"), `"foo"`},
			{of(`{"foo": "bar"}`), `"{\"foo\": \"bar\"}"`},
			{d("foo", "bar"), `new Dictionary<string,Object>{ { "foo" , "bar" } }`},
			{d("foo", `"bar"`), `new Dictionary<string,Object>{ { "foo" , "\"bar\"" } }`},
			{l("foo"), `new [] { "foo" }`},
			{l("foo", `"bar"`), `new [] { "foo", "\"bar\"" }`},
			{l(d("foo", "bar")), `new [] { new Dictionary<string,Object>{ { "foo" , "bar" } } }`},
			{of(12345), `12345`},
			{of(-54321), `-54321`},
			{of(1.2345), `1.2345`},
			{of(-5432.1), `-5432.1`},
			{of(2147483648), `2147483648L`},
			{of(-2147483649), `-2147483649L`},
			{of(true), `true`},
			{of(false), `false`},
			{l(1, "a"), `new object[] { 1, "a" }`},
			{l(), `new object[] {  }`},
			{l(1, 2.5, 4294967296), `new [] { 1, 2.5, 4294967296L }`},
			{l("a", nil), `new [] { "a", null }`},
			{l(l(1), l("a")), `new object[] { new [] { 1 }, new [] { "a" } }`},
		},
		".net-powershell": {
			{of("foo"), `"foo"`},
			{of(`{"foo": "bar"}`), "\"{`\"foo`\": `\"bar`\"}\""},
			{d("foo", "bar"), `@{"foo" = "bar"}`},
			{d("foo", `"bar"`), "@{\"foo\" = \"`\"bar`\"\"}"},
			{d("foo", l("bar")), `@{"foo" = @("bar")}`},
			{d("foo", d("bar", "baz")), `@{"foo" = @{"bar" = "baz"}}`},
			{d("foo", d("bar", `"baz"`)), "@{\"foo\" = @{\"bar\" = \"`\"baz`\"\"}}"},
			{l("foo"), `@("foo")`},
			{l("foo", `"bar"`), "@(\"foo\", \"`\"bar`\"\")"},
			{l(d("foo", "bar")), `@(@{"foo" = "bar"})`},
			{of(12345), `12345`},
			{of(-54321), `-54321`},
			{of(1.2345), `1.2345`},
			{of(-5432.1), `-5432.1`},
			{of(nan), `[double]::NaN`},
			{of(-inf), `[double]::NegativeInfinity`},
			{of(inf), `[double]::PositiveInfinity`},
			{of(true), `$True`},
			{of(false), `$False`},
			{of(nil), `$Null`},
			{of("a$b`c”d\n\x01"), "\"a`$b``c`”d`n$([char]0x01)\""},
			{of(`C:\new`), `"C:\new"`},
			{l(l("a")), `@(,@("a"))`},
		},
		".net-fsharp": {
			{of("foo"), `"foo"`},
			{of(`{"foo": "bar"}`), `"{\"foo\": \"bar\"}"`},
			{d("foo", "bar"), `[ ("foo", "bar" :> IComparable) ] |> Map.ofList`},
			{d("foo", `"bar"`), `[ ("foo", "\"bar\"" :> IComparable) ] |> Map.ofList`},
			{l("foo"), `[ "foo" ]`},
			{l("foo", `"bar"`), `[ "foo"; "\"bar\"" ]`},
			{l(d("foo", "bar")), `[ [ ("foo", "bar" :> IComparable) ] |> Map.ofList ]`},
			{of(12345), `12345`},
			{of(-54321), `-54321`},
			{of(1.2345), `1.2345`},
			{of(-5432.1), `-5432.1`},
			{of(2147483648), `2147483648L`},
			{of(-2147483649), `-2147483649L`},
			{of(true), `true`},
			{of(false), `false`},
			{l(1, "a", nil), `[ box (1); box ("a"); box (null) ]`},
		},
		"julia": {
			{of("foo"), `"foo"`},
			{of(`{"foo": "bar"}`), `"{\"foo\": \"bar\"}"`},
			{d("foo", "bar"), `Dict("foo" => "bar")`},
			{d("foo", `"bar"`), `Dict("foo" => "\"bar\"")`},
			{d("foo", l("bar")), `Dict("foo" => ["bar"])`},
			{d("foo", d("bar", "baz")), `Dict("foo" => Dict("bar" => "baz"))`},
			{d("foo", d("bar", `"baz"`)), `Dict("foo" => Dict("bar" => "\"baz\""))`},
			{l("foo"), `["foo"]`},
			{l("foo", `"bar"`), `["foo", "\"bar\""]`},
			{l(d("foo", "bar")), `[Dict("foo" => "bar")]`},
			{of(12345), `12345`},
			{of(-54321), `-54321`},
			{of(1.2345), `1.2345`},
			{of(-5432.1), `-5432.1`},
			{of(true), `true`},
			{of(false), `false`},
			{of(nil), `nothing`},
			{of("$(run(`id`)) é"), "\"\\$(run(`id`)) \\u00e9\""},
		},
		"matlab": {
			{of("foo"), `"foo"`},
			{of(`{"foo": "bar"}`), `"{""foo"": ""bar""}"`},
			{d(1, "foo"), `containers.Map({'1'}, {"foo"})`},
			{d(1.0, "foo"), `containers.Map({'1.0'}, {"foo"})`},
			{d(nil, "foo"), `containers.Map({'None'}, {"foo"})`},
			{d(true, "foo"), `containers.Map({'True'}, {"foo"})`},
			{d("foo", "bar"), `containers.Map({'foo'}, {"bar"})`},
			{d("foo", `"bar"`), `containers.Map({'foo'}, {"""bar"""})`},
			{d("foo", l("bar")), `containers.Map({'foo'}, {{"bar"}})`},
			{d("foo", d("bar", "baz")), `containers.Map({'foo'}, {containers.Map({'bar'}, {"baz"})})`},
			{d("foo", d("bar", `"baz"`)), `containers.Map({'foo'}, {containers.Map({'bar'}, {"""baz"""})})`},
			{l("foo"), `{"foo"}`},
			{l("foo", `"bar"`), `{"foo", """bar"""}`},
			{l(d("foo", "bar")), `{containers.Map({'foo'}, {"bar"})}`},
			{l(d("foo", `"bar"`)), `{containers.Map({'foo'}, {"""bar"""})}`},
			{of(12345), `12345`},
			{of(-54321), `-54321`},
			{of(1.2345), `1.2345`},
			{of(-5432.1), `-5432.1`},
			{of(true), `true`},
			{of(false), `false`},
			{of(nil), `NaN`},
			{of("a\nb"), `("a" + char(10) + "b")`},
			{d("it's\n", 1), `containers.Map({['it''s', char(10)]}, {1})`},
			{d(), `containers.Map()`},
		},
		"bash": {
			{of("foo"), `foo`},
			{of("foo space"), `'foo space'`},
			{of("foo's apostrophe"), `'foo'"'"'s apostrophe'`},
			{of("shell ( is ) <dumb>"), `'shell ( is ) <dumb>'`},
			{of(12345), `12345`},
			{of(-54321), `-54321`},
			{of(1.2345), `1.2345`},
			{of(-5432.1), `-5432.1`},
			{of(true), `true`},
			{of(false), `false`},
			{of(nil), ``},
			{of(""), `''`},
			{l("a", nil, "b c"), `(a '' 'b c')`},
			{d("k 1", "v", "n", 2), `(['k 1']=v [n]=2)`},
			{of("a\tb"), `$'a\tb'`},
		},
		"deno": {
			{of("a\"\u2028</script>"), `"a\"\u2028</script>"`},
			{d("__proto__", 1, "a", nil), `{["__proto__"]: 1, "a": null}`},
			{of(9007199254740993), `9007199254740993n`},
			{l(nan, -inf, true), `[NaN, -Infinity, true]`},
		},
	} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			dialect, err := findDialect(lang, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				got, err := dialect.value(r.in)
				if err != nil {
					t.Errorf("%s: %v", r.in, err)
				} else if got != r.want {
					t.Errorf("%s:\n got %s\nwant %s", r.in, got, r.want)
				}
			}
		})
	}
}

func mustYAML(text string) Value {
	v, err := yamlValue([]byte(text))
	if err != nil {
		panic(err)
	}
	return v
}

func TestTranslateCells(t *testing.T) {
	t.Parallel()
	one := func(name string, v any) Set { return SetOf(Field{String(name), of(v)}) }
	ordered := SetOf(Field{String("foo"), of("bar")}, Field{String("baz"), l("buz")})
	for _, tt := range []struct {
		kernel, language string
		set              Set
		comment          string
		want             string
	}{
		{"python3", "python", one("foo", "bar"), "", "# Parameters\nfoo = \"bar\"\n"},
		{"python3", "python", one("foo", true), "", "# Parameters\nfoo = True\n"},
		{"python3", "python", one("foo", 1.1), "", "# Parameters\nfoo = 1.1\n"},
		{"python3", "python", ordered, "", "# Parameters\nfoo = \"bar\"\nbaz = [\"buz\"]\n"},
		{"pysparkkernel", "scala", one("foo", 5), "", "# Parameters\nfoo = 5\n"},
		{"python3", "python", one("foo", 5), "['best effort']", "# ['best effort']\nfoo = 5\n"},
		{"python3", "python", one("foo", 5), "a\nimport os\u2028x", "# a import os x\nfoo = 5\n"},
		{"x", "R", one("___foo", 5), "", "# Parameters\nfoo = 5\n"},
		{"ir", "", ordered, "", "# Parameters\nfoo = \"bar\"\nbaz = list(\"buz\")\n"},
		{"sparkrkernel", "", one("foo", 5), "", "# Parameters\nfoo = 5\n"},
		{"sparkkernel", "", ordered, "", "// Parameters\nval foo = \"bar\"\nval baz = Seq(\"buz\")\n"},
		{"x", "scala", one("foo", 5), `\u000aboom`, "// /u000aboom\nval foo = 5\n"},
		{".net-csharp", "C#", ordered, "", "// Parameters\nvar foo = \"bar\";\nvar baz = new [] { \"buz\" };\n"},
		{".net-csharp", "C#", one("foo", nil), "", "// Parameters\nobject foo = null;\n"},
		{".net-powershell", "", ordered, "", "# Parameters\n$foo = \"bar\"\n$baz = @(\"buz\")\n"},
		{".net-fsharp", "", ordered, "", "(* Parameters *)\nlet foo = \"bar\"\nlet baz = [ \"buz\" ]\n"},
		{".net-fsharp", "", one("a", 1), `x *) "y`, "(* x * ) 'y *)\nlet a = 1\n"},
		{"x", "julia", ordered, "", "# Parameters\nfoo = \"bar\"\nbaz = [\"buz\"]\n"},
		{"x", "matlab", ordered, "", "% Parameters\nfoo = \"bar\";\nbaz = {\"buz\"};\n"},
		{"x", "bash", one("baz", "$dumb(shell)"), "", "# Parameters\nbaz='$dumb(shell)'\n"},
		{"x", "bash", one("m", d("a", 1)), "", "# Parameters\ndeclare -A m=([a]=1)\n"},
		{"x", "TypeScript", one("m", d("a", 1)), "", "// Parameters\nvar m = {\"a\": 1};\n"},
	} {
		t.Run(tt.kernel+" "+tt.language, func(t *testing.T) {
			t.Parallel()
			got, err := Translate(tt.kernel, tt.language, tt.set, tt.comment)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}
