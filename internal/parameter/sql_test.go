package parameter

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitSQL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, source string
		want         []string // "name[:type]=value" or a statement
	}{
		{"nothing", " \n;; -- only this\n/* and ; this */", nil},
		{"one", "SELECT 1", []string{"SELECT 1"}},
		{"several", "SELECT 1; SELECT\n2 ;\n-- end", []string{"SELECT 1", "SELECT\n2"}},
		{
			"semicolons inside", "SELECT ';', \"a;b\", `c;d`, $$e;$$, $x$f;$$;$x$, E'\\';' /* ; /* ; */ ; */ -- ;\n; SELECT 2",
			[]string{"SELECT ';', \"a;b\", `c;d`, $$e;$$, $x$f;$$;$x$, E'\\';'", "SELECT 2"},
		},
		{"never closed", "SELECT 'a; SELECT 2", []string{"SELECT 'a; SELECT 2"}},
		{
			"definitions", "-- Parameters\ncountry = 'F''R;'\ndays: int = 7  -- how many\nl = [\n1,\n2]\nx=1;y=2\nSELECT a\n = 1",
			[]string{"country='F''R;'", "days:int=7", "l=[\n1,\n2]", "x=1", "y=2", "SELECT a\n = 1"},
		},
		{"text of several lines", "a = 'x\ny'\nSELECT :a", []string{"a='x\ny'", "SELECT :a"}},
		{"a type with a text", "c: Literal['a=b', 'c'] = 'c'", []string{"c:Literal['a=b', 'c']='c'"}},
		{"required", "out: str =\nSELECT 1", []string{"out:str=", "SELECT 1"}},
		{"no definitions", "UPDATE t SET a = 1 WHERE b\n= 2; a == 1; a => 2; a::int = 3", []string{"UPDATE t SET a = 1 WHERE b\n= 2", "a == 1", "a => 2", "a::int = 3"}},
		{"windows", "a = 1\r\nSELECT 1;\r\n", []string{"a=1", "SELECT 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, p := range SplitSQL(tt.source) {
				if p.Text != tt.source[p.Start:p.End] {
					t.Errorf("%+v is not where it says", p)
				}
				text := p.Text
				if p.Type != "" {
					text = p.Name + ":" + p.Type + "=" + text
				} else if p.Name != "" {
					text = p.Name + "=" + text
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseSQL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want Value
	}{
		{"NULL", Null()},
		{"true", Bool(true)},
		{"False", Bool(false)},
		{"7", Int(7)},
		{"-7", Int(-7)},
		{"+7", Int(7)},
		{"007", Int(7)},
		{"-0", Int(0)},
		{"1.5", Float(1.5)},
		{"1e3", Float(1000)},
		{".5", Float(.5)},
		{"''", String("")},
		{"'it''s'", String("it's")},
		{"'\\n'", String("\\n")},
		{"'a\r\nb'", String("a\r\nb")},
		{"[]", List()},
		{"['a,b', 2, /* , */ NULL]", List(String("a,b"), Int(2), Null())},
		{"('a')", List(String("a"))},
	} {
		got, err := ParseSQL(tt.text)
		if err != nil || !got.Equal(tt.want) {
			t.Errorf("%s: %v, %v, want %v", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"", "x", "'a' || 'b'", "'a", "1 + 1", "[1,,2]", "[[1]]", "now()", "0x1f", "'a';", "[x]", "NaN"} {
		if got, err := ParseSQL(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

// What Translate writes for SQL is read as the values that it was given, and
// nothing of it is a statement.
func TestSQLRoundTrip(t *testing.T) {
	t.Parallel()
	values := []Value{Null(), Bool(true), Int(1 << 60), Float(-1.5e-300), Float(2), List(), List(Int(1), String("a'b"), Null())}
	for _, s := range hostile {
		values = append(values, String(s), List(String(s), String(s)))
	}
	for _, v := range values {
		var set Set
		set.Put("v", v)
		source, err := Translate("sql", "sql", set, "x\n; DROP TABLE t")
		if err != nil {
			if strings.Contains(v.String(), `\x00`) {
				continue
			}
			t.Errorf("%v: %v", v, err)
			continue
		}
		parts := SplitSQL(source)
		if len(parts) != 1 || parts[0].Name != "v" {
			t.Errorf("%v: %q has the parts %+v", v, source, parts)
			continue
		}
		if got, err := ParseSQL(parts[0].Text); err != nil || !got.Equal(v) {
			t.Errorf("%q: %v, %v, want %v", source, got, err, v)
		}
	}
}

func TestTranslateSQL(t *testing.T) {
	t.Parallel()
	var set Set
	set.Put("country", String("FR"))
	set.Put("days", Int(7))
	set.Put("all", Bool(false))
	got, err := Translate("sql", "sql", set, "")
	if want := "-- Parameters\ncountry = 'FR'\ndays = 7\nall = FALSE\n"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for name, v := range map[string]Value{
		"a b": Int(1), "1a": Int(1), "n": Float(math.NaN()), "d": Dict(), "l": List(List(Int(1))), "z": String("\x00"), "bytes": String("\xff"),
	} {
		var set Set
		set.Put(name, v)
		if got, err := Translate("sql", "sql", set, ""); err == nil {
			t.Errorf("%s: %q, want an error", name, got)
		}
	}
}

func TestInspectSQL(t *testing.T) {
	t.Parallel()
	source := "-- Parameters\ncountry: Literal['FR', 'US'] = 'FR'  -- where\ndays = 7 -- how many\nout: str =\nnow = now()\nSELECT * FROM t\nWHERE a\n = 1;"
	got, warnings := Inspect("sql", source)
	for i := range got {
		got[i].value, got[i].literal = Value{}, false
	}
	want := []Definition{
		{Name: "country", Type: "Literal['FR', 'US']", Default: "'FR'", Help: "where", Inferred: "str", Line: 2},
		{Name: "days", Type: NoType, Default: "7", Help: "how many", Inferred: "int", Line: 3},
		{Name: "out", Type: "str", Required: true, Line: 4},
		{Name: "now", Type: NoType, Default: "now()", Line: 5},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Definition{}, Value{})); diff != "" {
		t.Error(diff)
	}
	if len(warnings) != 1 || warnings[0].Line != 5 {
		t.Errorf("warnings %+v, want one of line 5", warnings)
	}
}

func TestOpenSQL(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]bool{
		"": false, "SELECT 1": false, "SELECT 1 -- x": false, "SELECT 'a": true, "SELECT (1": true, "/* a": true, "$$ a": true, `"a`: true, "SELECT ';)'": false,
	} {
		if got := OpenSQL(source); got != want {
			t.Errorf("%q: %v", source, got)
		}
	}
}

func FuzzSplitSQL(f *testing.F) {
	for _, s := range []string{"a = 1; SELECT ';' -- x", "x: int = [1,\n'a''b']", "$a$;$a$ E'\\'' `;`", "/* /* */ a\r\n= 2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		end := 0
		for _, p := range SplitSQL(source) {
			if p.Start < end || p.End < p.Start || p.End > len(source) || p.Text != source[p.Start:p.End] || p.Name == "" && p.Text == "" {
				t.Fatalf("%q: %+v behind %d", source, p, end)
			}
			end = p.End
			if p.Name == "" {
				continue
			}
			if v, err := ParseSQL(p.Text); err == nil {
				text, err := sqlValue(v)
				if err != nil {
					continue // a zero, an infinity
				}
				if again, err := ParseSQL(text); err != nil || !again.Equal(v) {
					t.Fatalf("%q: %v, written as %q, is %v, %v", p.Text, v, text, again, err)
				}
			}
		}
		_ = OpenSQL(source)
	})
}
