package query

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"quire/internal/problem"
)

func TestParseText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"plain", "SELECT :a, :b_2 WHERE x=:a", []string{"a", "b_2"}},
		{"cast", "SELECT x::int, '1'::text, :a::date", []string{"a"}},
		{"string", "SELECT ':a', 'it''s :b', E'it\\':c'", nil},
		{"quoted name", `SELECT "x:a", ` + "`y:b`" + ` FROM t WHERE z = :c`, []string{"c"}},
		{"comment", "SELECT 1 -- :a\n/* :b /* :c */ :d */ , :e", []string{"e"}},
		{"dollar", "SELECT $$ :a $$, $tag$ :b $tag$, :c", []string{"c"}},
		{"slice", "SELECT l[1:n], l[a:b], l[f(1):n], {'k':v}", nil},
		{"behind a bracket", "SELECT * FROM t WHERE x IN (:a) AND y=(:b)", []string{"a", "b"}},
		{"time", "SELECT TIME '10:30', 10:30", nil},
		{"never closed", "SELECT 'abc :a", nil},
		{"assignment", "SELECT f(x := 1, y := :a)", []string{"a"}},
		{"unicode", "SELECT :größe, 'ä' || :b", []string{"größe", "b"}},
		{"at the end", "SELECT :", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text, err := ParseText(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := text.Names(); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%s: parameters %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestParseTextRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"SELECT \x00", "SELECT \xff"} {
		if _, err := ParseText(text); !problem.Is(err, problem.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestBind(t *testing.T) {
	t.Parallel()
	values := map[string]Value{
		"a": {Type: Int, Text: "1"}, "evil": {Type: String, Text: "'; DROP TABLE t; --"},
		"l": {Type: List, List: []Value{{Type: Int, Text: "1"}, {Type: Int, Text: "2"}}}, "none": {Type: List, List: []Value{}},
	}
	for _, tt := range []struct {
		text, want string
		style      Style
		bound      int
	}{
		{"SELECT :a + :a", "SELECT $1 + $1", Dollar, 1},
		{"SELECT :a + :a", "SELECT ? + ?", Question, 2},
		{"SELECT :evil", "SELECT $1", Dollar, 1},
		{"x IN (:l)", "x IN ($1, $2)", Dollar, 2},
		{"x IN :l", "x IN ($1, $2)", Dollar, 2},
		{"x IN (:none)", "x IN (NULL)", Dollar, 0},
		{"x IN (0, :l)", "x IN (0, $1, $2)", Dollar, 2},
	} {
		text, err := ParseText(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := text.Bind(tt.style, values)
		if err != nil || b.SQL != tt.want || len(b.Values) != tt.bound {
			t.Errorf("%s: %q with %d values, want %q with %d (%v)", tt.text, b.SQL, len(b.Values), tt.want, tt.bound, err)
		}
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	source := "SELECT :a,\n  'ä', :a AS b, wrong"
	text, err := ParseText(source)
	if err != nil {
		t.Fatal(err)
	}
	b, err := text.Bind(Dollar, map[string]Value{"a": {Type: Int, Text: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	located := text.AtOffset(b, strings.Index(b.SQL, "wrong"), problem.New(problem.Invalid, "there is no wrong"))
	if at, ok := PositionOf(located); !ok || at != (Position{2, 17}) {
		t.Errorf("the position is %v, want line 2, column 17", at)
	}
	missing, err := ParseText("SELECT 1,\n :b")
	if err != nil {
		t.Fatal(err)
	}
	err = missing.Check(nil)
	if at, ok := PositionOf(err); !ok || at != (Position{2, 2}) || !problem.Is(err, problem.Invalid) {
		t.Errorf("a missing parameter: %v at %v", err, at)
	}
}

func TestParseValues(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]Type{
		"null": Null, "true": Bool, "12": Int, "-1.5e3": Float, `"x"`: String, `[1,"a"]`: List,
		`{"type":"date","value":"2018-05-08"}`: Date, `{"type":"decimal","value":"1.20"}`: Decimal, `{"type":"bytes","value":"AAE="}`: Bytes,
		`{"type":"timestamp","value":"2018-05-08T12:00:00Z"}`: Timestamp,
	} {
		got, err := ParseValues(map[string]json.RawMessage{"p": json.RawMessage(raw)})
		if err != nil || got["p"].Type != want {
			t.Errorf("%s: %v, %v; want %s", raw, got["p"], err, want)
		}
	}
	for _, raw := range []string{
		`[[1]]`, `{"type":"date","value":"tomorrow"}`, `{"type":"sql","value":"now()"}`, `{"value":1}`, `{"type":"int","value":"1; DROP TABLE t"}`,
		`{"type":"float","value":"1 OR 1=1"}`, `{"type":"decimal","value":"."}`, `{"type":"bool","value":"yes"}`, `{"type":"bytes","value":"?"}`,
	} {
		if got, err := ParseValues(map[string]json.RawMessage{"p": json.RawMessage(raw)}); !problem.Is(err, problem.Invalid) {
			t.Errorf("%s: %v, %v; want it refused", raw, got, err)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"CREATE SECRET s (TYPE s3, KEY_ID 'AK', SECRET 'hush''hush')":   "CREATE SECRET s (TYPE s3, KEY_ID 'AK', SECRET '***')",
		"ALTER USER ann PASSWORD 'hush'":                                "ALTER USER ann PASSWORD '***'",
		"ATTACH 'postgres://ann:hush@db/x'":                             "ATTACH 'postgres://ann:***@db/x'",
		"SET x.aws_secret_access_key='hush'":                            "SET x.aws_secret_access_key='***'",
		"SELECT * FROM read_text('/etc/passwd') WHERE a = 'not secret'": "SELECT * FROM read_text('/etc/passwd') WHERE a = 'not secret'",
		"SELECT password FROM users WHERE name = 'ann'":                 "SELECT password FROM users WHERE name = 'ann'",
		"OPTIONS (password => 'hush":                                    "OPTIONS (password => '***'",
	} {
		if got := Redact(text); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string][]string{
		"SELECT 1":                  nil,
		"SELECT * FROM a, s.b c, D": {Read: {"a", "s.b", "d"}},
		"CREATE OR REPLACE TABLE IF NOT EXISTS x AS (SELECT * FROM y JOIN \"Z z\" ON 1=1)": {Wrote: {"x"}, Read: {"y", "z z"}},
		"INSERT INTO s.t SELECT * FROM range(3)":                                           {Wrote: {"s.t"}},
		"WITH w AS (SELECT * FROM a) SELECT * FROM w":                                      {Read: {"a"}},
		"DELETE FROM t WHERE a IN (SELECT b FROM u)":                                       {Wrote: {"t"}, Read: {"u"}},
		"UPDATE t SET a = 1":                        {Wrote: {"t"}},
		"SELECT 'FROM x' -- FROM y\n FROM z":        {Read: {"z"}},
		"SELECT * FROM 'file.parquet'":              nil,
		"SELECT * FROM (SELECT * FROM inner_one) x": {Read: {"inner_one"}},
	} {
		parsed, err := ParseText(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.Tables(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func FuzzParseText(f *testing.F) {
	for _, seed := range []string{"SELECT :a::int, ':b' -- :c", "$x$ :a $x$ :b", "E'\\' :a", "/* /* :a */", "a[:b]", "(:a)"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		text, err := ParseText(source)
		if err != nil {
			return
		}
		values := map[string]Value{}
		for _, name := range text.Names() {
			values[name] = Value{Type: Int, Text: "1"}
		}
		b, err := text.Bind(Dollar, values)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(b.SQL) {
			if at := b.Source(i); at < 0 || at > len(source)+20 {
				t.Fatalf("byte %d of %q is at %d of %q", i, b.SQL, at, source)
			}
		}
		text.Tables()
	})
}
