package parameter

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// schemaOf reads a Python cell.
func schemaOf(t *testing.T, cell string) Schema {
	t.Helper()
	defs, warnings := Inspect("python", cell)
	if len(warnings) > 0 {
		t.Fatal(warnings)
	}
	return SchemaOf(defs)
}

func TestSchemaOf(t *testing.T) {
	t.Parallel()
	val := func(x any) *Value { v := of(x); return &v }
	bound := func(x any) *Bound { return &Bound{Value: of(x)} }
	for _, tt := range []struct {
		src  string
		want Parameter
	}{
		{"x = 1", Parameter{Type: TypeInt, Default: val(1)}},
		{"x = None", Parameter{Type: TypeAny, Nullable: true, Default: val(nil)}},
		{"x = f()", Parameter{Type: TypeAny}},
		{"x: int", Parameter{Type: TypeInt, Declared: true, Required: true}},
		{"x: int = 2 # how many", Parameter{Type: TypeInt, Declared: true, Default: val(2), Help: "how many"}},
		{"x = 2 # type: float rate", Parameter{Type: TypeFloat, Declared: true, Default: val(2), Help: "rate"}},
		{"x: str = None", Parameter{Type: TypeStr, Declared: true, Nullable: true, Default: val(nil)}},
		{"x: Optional[int]", Parameter{Type: TypeInt, Declared: true, Nullable: true, Required: true}},
		{"x: int | None = 1", Parameter{Type: TypeInt, Declared: true, Nullable: true, Default: val(1)}},
		{"x: 'None | float' = 1", Parameter{Type: TypeFloat, Declared: true, Nullable: true, Default: val(1)}},
		{"x: Union[int, float] = 1", Parameter{Type: TypeFloat, Declared: true, Default: val(1)}},
		{"x: int | str = 1", Parameter{Type: TypeAny, Declared: true, Default: val(1)}},
		{"x: Literal['a', 'b'] = 'a'", Parameter{Type: TypeStr, Declared: true, Choices: []Value{of("a"), of("b")}, Default: val("a")}},
		{"x: typing.Literal[1, 2, None] = 1", Parameter{Type: TypeInt, Declared: true, Nullable: true, Choices: []Value{of(1), of(2)}, Default: val(1)}},
		{"x: Optional[Literal['a']] = 'a'", Parameter{Type: TypeStr, Declared: true, Nullable: true, Choices: []Value{of("a")}, Default: val("a")}},
		{"x: Annotated[int, Ge(0), Le(10)] = 5", Parameter{Type: TypeInt, Declared: true, Min: bound(0), Max: bound(10), Default: val(5)}},
		{"x: Annotated[float, at.Gt(0.5), 'the rate'] = 5", Parameter{Type: TypeFloat, Declared: true, Min: &Bound{Value: of(0.5), Exclusive: true}, Help: "the rate", Default: val(5)}},
		{"x: Annotated[int, Field(ge=1, lt=9, description='n')] = 5", Parameter{Type: TypeInt, Declared: true, Min: bound(1), Max: &Bound{Value: of(9), Exclusive: true}, Help: "n", Default: val(5)}},
		{"x: conint(ge=-1) = 5", Parameter{Type: TypeInt, Declared: true, Min: bound(-1), Default: val(5)}},
		{"x: PositiveInt = 5", Parameter{Type: TypeInt, Declared: true, Min: &Bound{Value: of(0), Exclusive: true}, Default: val(5)}},
		{"x: list[str] = []", Parameter{Type: TypeList, Declared: true, Element: TypeStr, Default: val(l())}},
		{"x: Dict[str, int] = {}", Parameter{Type: TypeDict, Declared: true, Element: TypeInt, Default: val(d())}},
		{"x: tuple[int, str] = (1, 'a')", Parameter{Type: TypeList, Declared: true, Default: val(l(1, "a"))}},
		{"x: Tuple[int, ...] = ()", Parameter{Type: TypeList, Declared: true, Element: TypeInt, Default: val(l())}},
		{"x: datetime.date = '2026-01-01'", Parameter{Type: TypeDate, Declared: true, Default: val("2026-01-01")}},
		{"x: datetime = '2026-01-01'", Parameter{Type: TypeDatetime, Declared: true, Default: val("2026-01-01")}},
		{"x: pd.DataFrame = None", Parameter{Type: TypeAny, Nullable: true, Default: val(nil)}},
		{"x = 3 # 0..10", Parameter{Type: TypeInt, Min: bound(0), Max: bound(10), Help: "0..10", Default: val(3)}},
		{"x = 0.5 # share, range: -1.5 .. 2", Parameter{Type: TypeFloat, Min: bound(-1.5), Max: bound(2), Help: "share, range: -1.5 .. 2", Default: val(0.5)}},
		{"x = 'US' # where (one of: US, \"FR\") it is", Parameter{Type: TypeStr, Choices: []Value{of("US"), of("FR")}, Help: "where (one of: US, \"FR\") it is", Default: val("US")}},
		{"x = 1 # one of: 1, 2", Parameter{Type: TypeInt, Choices: []Value{of(1), of(2)}, Help: "one of: 1, 2", Default: val(1)}},
		{"x = 'k' # secret: the key", Parameter{Type: TypeStr, Secret: true, Help: "secret: the key"}},
		{"x = 'k' # the secret sauce", Parameter{Type: TypeStr, Help: "the secret sauce", Default: val("k")}},
		{"x: SecretStr", Parameter{Type: TypeStr, Declared: true, Secret: true, Required: true}},
		{"x: Annotated[str, Secret] = 'k'", Parameter{Type: TypeStr, Declared: true, Secret: true}},
		{"x: Final[int] = 1", Parameter{Type: TypeInt, Declared: true, Default: val(1)}},
	} {
		tt.want.Name, tt.want.Line = "x", 1
		s := schemaOf(t, tt.src)
		s.Parameters[0].DefaultText = ""
		if diff := cmp.Diff(tt.want, s.Parameters[0], cmp.Comparer(func(a, b Value) bool { return a.Equal(b) })); diff != "" {
			t.Errorf("%s:\n%s", tt.src, diff)
		}
	}
}

func TestTypesOfOtherLanguages(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Type{
		"Int": TypeInt, "Vector{Int64}": TypeList, "Seq[String]": TypeList, "Array<string>": TypeList, "string[]": TypeList,
		"Double": TypeFloat, "number": TypeFloat, "Boolean": TypeBool, "Map[String, Int]": TypeDict, "int?": TypeInt, "MyThing": TypeAny, "a b": TypeAny,
	} {
		p := parameterOf(Definition{Name: "x", Type: text})
		if p.Type != want {
			t.Errorf("%s: got %s, want %s", text, p.Type, want)
		}
	}
	p := parameterOf(Definition{Name: "x", Type: `"a" | "b" | null`})
	if len(p.Choices) != 2 || !p.Nullable {
		t.Errorf("TypeScript's literals: %+v", p)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	s := schemaOf(t, `
country: Literal["US", "FR"] = "US"
n: Annotated[int, Ge(0), Le(10)] = 5
code: str = "007"
rate: Annotated[float, Gt(0)] = 0.5
flag: bool = False
day: date
tags: list[str] = []
sizes: Dict[str, int] = {}
maybe: Optional[str] = None
key: Annotated[str, Secret] = ""
level = 1  # one of: 1, 2
share = 0.5  # 0..1
free = 1
`)
	day := func(more ...any) Set {
		set := SetOf(Field{String("day"), of("2026-11-23")})
		for i := 0; i < len(more); i += 2 {
			set.Put(more[i].(string), of(more[i+1]))
		}
		return set
	}
	for _, tt := range []struct {
		name   string
		set    Set
		strict bool
		want   string
	}{
		{"right", day("n", 10, "rate", 1, "tags", l("a"), "sizes", d("a", 1), "maybe", nil, "free", "anything", "level", 2, "share", 0), true, ""},
		{"required", Set{}, false, "day: a value is required, and none was given"},
		{"all at once", day("n", 12, "country", "XX", "code", 7), false, `country: "XX" is not one of "US", "FR"; n: 12 is over its maximum 10; code: 7 is an int, not a str`},
		{"minimum", day("n", -1), false, "n: -1 is under its minimum 0"},
		{"exclusive", day("rate", 0), false, "rate: 0 is not over 0"},
		{"nan", day("rate", math.NaN()), false, "rate: nan is in no range"},
		{"bool is no int", day("n", true), false, "n: True is a bool, not an int"},
		{"int is no bool", day("flag", 1), false, "flag: 1 is an int, not a bool"},
		{"null", day("code", nil), false, "code: None is null, not a str"},
		{"element", day("tags", l("a", 1)), false, "tags: element 1, 1, is an int, not a str"},
		{"value", day("sizes", d("a", "b")), false, `sizes: the value of "a", "b", is a str, not an int`},
		{"date", SetOf(Field{String("day"), of("tomorrow")}), false, `day: "tomorrow" is a str, not a date like 2026-11-23`},
		{"secret", day("key", 12345), false, "key: the value is an int, not a str"},
		{"choice in comment", day("level", 3), false, "level: 3 is not one of 1, 2"},
		{"range in comment", day("share", 1.5), false, "share: 1.5 is over its maximum 1"},
		{"not a number", day("share", "x"), false, `share: "x" is a str, not a number`},
		{"unknown, lax", day("contry", "US"), false, ""},
		{"unknown", day("contry", "US"), true, "contry: unknown parameter: did you mean country?"},
		{"unknown, nothing near", day("zzzzzz", 1), true, "zzzzzz: unknown parameter: the notebook has country, n, code, rate, flag, day, tags, sizes, maybe, ke… (78 characters)"},
		{"big integer", day("n", mustYAML("123456789012345678901234567890")), false, "n: 123456789012345678901234567890 is over its maximum 10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, v := range s.Check(tt.set, tt.strict) {
				got = append(got, v.String())
			}
			if text := strings.Join(got, "; "); text != tt.want {
				t.Errorf("got  %s\nwant %s", text, tt.want)
			}
		})
	}
}

func TestApplyReadsWhatWasTyped(t *testing.T) {
	t.Parallel()
	s := schemaOf(t, `
code: str = ""
maybe: Optional[str] = None
flag: bool = False
n: int = 1
x: float = 1
tags: list[str] = []
m: dict = {}
size: Literal["1", "2"] = "1"
one: Literal[1, 2] = 1
day: date = "2026-01-01"
free = 1
`)
	for _, tt := range []struct{ name, text, want string }{
		{"code", "007", `"007"`},
		{"code", "None", `"None"`},
		{"code", " 5 ", `" 5 "`},
		{"maybe", "None", `null`},
		{"maybe", "1e5", `"1e5"`},
		{"flag", "yes", `true`},
		{"flag", "FALSE", `false`},
		{"flag", "0", `false`},
		{"n", "5.0", `5`},
		{"n", "1_0", `10`},
		{"x", "5", `5`},
		{"tags", `["a", "b"]`, `["a","b"]`},
		{"tags", `['a', 'b']`, `["a","b"]`},
		{"m", `{"a": 1}`, `{"a":1}`},
		{"size", "2", `"2"`},
		{"one", "2", `2`},
		{"day", "2026-11-23", `"2026-11-23"`},
		{"free", "007", `7`},
		{"other", "007", `7`},
	} {
		set := SetOf(Field{String(tt.name), FromFlag(tt.text)})
		got, violations := s.Apply(set, false)
		v, _ := got.Get(tt.name)
		if asJSON(t, v) != tt.want || len(violations) > 0 {
			t.Errorf("%s %q: got %s, want %s; %v", tt.name, tt.text, asJSON(t, v), tt.want, violations)
		}
		if w, _ := set.Get(tt.name); !w.Equal(FromFlag(tt.text)) {
			t.Errorf("%s: the given set was changed", tt.name)
		}
	}
	set := SetOf(Field{String("code"), FromRaw("x")}, Field{String("n"), FromFlag("x")}, Field{String("flag"), FromFlag("maybe")}, Field{String("tags"), FromFlag("a,b")})
	if got := len(s.Check(set, true)); got != 3 {
		t.Errorf("got %d violations, want 3", got)
	}
}

func TestJSONSchema(t *testing.T) {
	t.Parallel()
	s := schemaOf(t, `country: Literal["US", "FR"] = "US"  # where
n: Annotated[int, Ge(0), Lt(10)]
day: Optional[date] = None
tags: list[str] = []
key: SecretStr = "hidden"
x = f()
`)
	want := `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{` +
		`"country":{"enum":["US","FR"],"description":"where","default":"US"},` +
		`"n":{"type":"integer","minimum":0,"exclusiveMaximum":10},` +
		`"day":{"type":["string","null"],"format":"date","default":null},` +
		`"tags":{"type":"array","items":{"type":"string"},"default":[]},` +
		`"key":{"type":"string","writeOnly":true},"x":{}},"required":["n"]}`
	if got := string(s.JSONSchema()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if text := asJSON(t, s); strings.Contains(text, "hidden") {
		t.Errorf("a secret's default is shown: %s", text)
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	s := schemaOf(t, "start_date = 1\nend_date = 2\nn = 3\nCountry = 4")
	for name, want := range map[string]string{"startdate": "start_date", "edn_date": "end_date", "country": "Country", "m": "n", "whatever": "", "": "n", strings.Repeat("x", 100000): ""} {
		began := time.Now()
		if got := s.Suggest(name); got != want {
			t.Errorf("%s: got %q, want %q", shorten(name), got, want)
		}
		if time.Since(began) > 5*time.Second {
			t.Errorf("%s took long", shorten(name))
		}
	}
}
