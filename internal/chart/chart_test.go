package chart

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quire/internal/problem"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// shows is a table of a small streaming service.
func shows() *Table {
	devices, countries := []string{"tv", "phone", "tablet", "web"}, []string{"US", "FR", "BR"}
	names := []string{"device", "country", "day", "hours", "plays"}
	return NewTable(names, 120, func(r, c int) any {
		switch names[c] {
		case "device":
			return devices[r%4]
		case "country":
			return countries[r%3]
		case "day":
			return time.Date(2018, 5, 1+r/12, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		case "hours":
			if r == 7 {
				return nil
			}
			return json.Number(fmt.Sprint(float64(r%12)*10 + float64(r%4)*7.5))
		}
		return r * r % 97
	})
}

// choices are the charts that the golden files hold.
var choices = map[string]Choice{
	"bar":       {Form: Bar, X: "device", Y: []string{"hours"}},
	"stacked":   {Form: Bar, X: "device", Y: []string{"hours"}, By: "country"},
	"clustered": {Form: Bar, X: "device", Y: []string{"hours"}, By: "country", Sum: "mean"},
	"line":      {Form: Line, X: "day", Y: []string{"hours"}, By: "device", Sum: "sum"},
	"area":      {Form: Area, X: "day", Y: []string{"hours"}, By: "country", Sum: "sum"},
	"scatter":   {Form: Scatter, X: "hours", Y: []string{"plays"}, By: "country", Size: "plays"},
	"histogram": {Form: Histogram, Y: []string{"plays"}, By: "country"},
	"box":       {Form: Box, X: "device", Y: []string{"plays"}},
	"heatmap":   {Form: Heatmap, X: "device", By: "country", Y: []string{"hours"}},
	"treemap":   {Form: Treemap, Levels: []string{"country", "device"}, Y: []string{"hours"}},
	"sunburst":  {Form: Sunburst, Levels: []string{"country", "device"}, Y: []string{"hours"}},
	"network":   {Form: Network, X: "device", By: "country", Y: []string{"plays"}},
	"parallel":  {Form: Parallel, Y: []string{"day", "hours", "plays"}, By: "device"},
}

// wellFormed fails when a picture is not one element with nothing foreign in it.
func wellFormed(t *testing.T, svg string) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(svg))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("the picture is not well-formed: %v", err)
		}
		e, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		switch e.Name.Local {
		case "svg", "rect", "line", "circle", "path", "text", "title", "a":
		default:
			t.Errorf("the picture has an element %s", e.Name.Local)
		}
		for _, a := range e.Attr {
			if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "style" || strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
				t.Errorf("the picture has %s=%q", a.Name.Local, a.Value)
			}
		}
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, c := range choices {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Draw(shows(), c, Options{})
			if err != nil {
				t.Fatal(err)
			}
			wellFormed(t, p.SVG)
			got := []byte(p.Figure() + "\n")
			path := filepath.Join("testdata", name+".want.html")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs; rewrite it with -update if that is meant", path)
			}
		})
	}
}

// TestEveryTable draws every form of every odd table: an error in words or a
// picture that is well-formed, never a panic.
func TestEveryTable(t *testing.T) {
	t.Parallel()
	evil := `"'><script>__pwn=1</script><img src=x onerror=__pwn=1>`
	one := func(names []string, rows ...[]any) *Table {
		return NewTable(names, len(rows), func(r, c int) any { return rows[r][c] })
	}
	tables := map[string]*Table{
		"no rows":      one([]string{"a"}),
		"no columns":   one(nil),
		"one row":      one([]string{"a", "b"}, []any{"x", 1}),
		"nothing":      one([]string{"a", "b"}, []any{nil, nil}, []any{nil, nil}),
		"not numbers":  one([]string{"a", "b", "c"}, []any{"x", math.NaN(), math.Inf(1)}, []any{"", math.Inf(-1), -1.0}),
		"huge numbers": one([]string{"a", "b", "c"}, []any{"x", 1e308, -1e308}, []any{"y", 1e299, 5e-324}),
		"negative":     one([]string{"a", "b", "c"}, []any{"x", -1, -5}, []any{"y", -2, 3}),
		"hostile":      one([]string{evil, evil + "2", "n"}, []any{evil, evil, 1}, []any{evil + "2", "\x00\x1b\xff", 2}),
		"same":         one([]string{"a", "b", "c"}, []any{"x", 5, 5}, []any{"x", 5, 5}),
		"times":        one([]string{"t", "v"}, []any{"2018-05-01", 1}, []any{"2018-05-01T10:00:00Z", true}, []any{"1066-10-14", 3}),
		"lists":        one([]string{"a", "b"}, []any{[]any{1, 2}, map[string]any{"x": evil}}),
		"shows":        shows(),
	}
	wide := NewTable([]string{"k", "to", "v"}, 5000, func(r, c int) any {
		return []any{fmt.Sprintf("category %d", r%900), fmt.Sprint(r % 70), float64(r) * 1.5}[c]
	})
	tables["many"] = wide
	drawn := 0
	for name, table := range tables {
		for _, form := range []Form{Bar, Line, Area, Scatter, Histogram, Box, Heatmap, Treemap, Sunburst, Network, Parallel} {
			for _, c := range []Choice{{Form: form}, {Form: form, X: "a", Y: []string{"b", "c"}, By: "a", Size: "c", Levels: []string{"a", "b"}, Sum: "mean"}, {Form: form, X: "v", Y: []string{"v"}, By: "k"}} {
				p, err := Draw(table, c, Options{Limits: []Limit{{3, evil}}})
				if err != nil {
					if !problem.Is(err, problem.Invalid) {
						t.Errorf("%s as %s: %v", name, form, err)
					}
					continue
				}
				drawn++
				wellFormed(t, p.SVG)
				if strings.Contains(p.Figure(), "<script") || strings.Contains(p.Figure(), "<img") {
					t.Errorf("%s as %s lets markup through", name, form)
				}
				if len(p.SVG) > 2<<20 {
					t.Errorf("%s as %s: %d bytes", name, form, len(p.SVG))
				}
			}
		}
	}
	if drawn < 150 {
		t.Errorf("only %d pictures were drawn", drawn)
	}
}

func TestParseChoice(t *testing.T) {
	t.Parallel()
	// web/src/explorer reads the same file.
	data, err := os.ReadFile("testdata/choices.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name   string
		DX     json.RawMessage
		Choice *Choice
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 10 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, tt := range cases {
		got, ok, err := ParseChoice(tt.DX)
		if err != nil || ok != (tt.Choice != nil) {
			t.Errorf("%s: %v, %v", tt.Name, ok, err)
			continue
		}
		if !ok {
			continue
		}
		if fmt.Sprint(got) != fmt.Sprint(*tt.Choice) {
			t.Errorf("%s: got %+v, want %+v", tt.Name, got, *tt.Choice)
		}
	}
	for _, bad := range []string{`{"view":7}`, `[]`, `{`, `{"chart":{"metric1":` + strings.Repeat(" ", maxChoice) + `"x"}}`} {
		if _, _, err := ParseChoice([]byte(bad)); err == nil {
			t.Errorf("%.40s is taken", bad)
		}
	}
}

func TestNewTable(t *testing.T) {
	t.Parallel()
	rows := [][]any{{"2018-05-01", json.Number("1"), "x", true, nil}, {"2018-05-02T10:00:00", 2.5, "2018-05-01", false, nil}, {nil, nil, nil, nil, nil}}
	table := NewTable([]string{"time", "number", "mixed", "flag", "none"}, 3, func(r, c int) any { return rows[r][c] })
	for i, want := range []Kind{Time, Number, Text, Number, Text} {
		if got := table.Columns[i].Kind; got != want {
			t.Errorf("column %s is of kind %d, want %d", table.Columns[i].Name, got, want)
		}
	}
	if v := table.Columns[0].Num[0]; v != 1525132800000 {
		t.Errorf("the day is %v", v)
	}
	if !math.IsNaN(table.Columns[1].Num[2]) {
		t.Error("no number is a number")
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		s    scale
		want string
	}{
		{linear(0, 97, 0, 1, 5), "0 20 40 60 80 100"},
		{linear(0, 0.03, 0, 1, 4), "0 0.01 0.02 0.03"},
		{linear(0, 5_100_000, 0, 1, 5), "0 2M 4M 6M"},
		{linear(-3, 3, 0, 1, 3), "-4 -2 0 2 4"},
		{linear(7, 7, 0, 1, 3), "6.0 6.5 7.0 7.5 8.0"},
		{timely(0, 86400e3, 0, 1, 4), "Jan 1 06:00 12:00 18:00 Jan 2"},
		{timely(0, 400*86400e3, 0, 1, 5), "Jan 1970 Apr 1970 Jul 1970 Oct 1970 Jan 1971"},
		{timely(0, 5000*86400e3, 0, 1, 3), "1970 1975 1980"},
	} {
		var labels []string
		for _, v := range tt.s.ticks {
			labels = append(labels, tt.s.format(v))
		}
		if got := strings.Join(labels, " "); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	for v, want := range map[float64]string{1234567: "1,234,567", -1234.5: "-1,234.5", 0.123456789: "0.123457", 1e20: "1e+20", 999: "999", 0: "0", 123456.789: "123,457"} {
		if got := exact(v); got != want {
			t.Errorf("exact(%v) is %q, want %q", v, got, want)
		}
	}
}

func TestMap(t *testing.T) {
	t.Parallel()
	good := `{"type":"FeatureCollection","features":[
	 {"type":"Feature","properties":{"name":"Square <b>"},"geometry":{"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10],[0,10],[0,0]],[[2,2],[3,2],[3,3],[2,2]]]}},
	 {"type":"Feature","properties":null,"geometry":{"type":"Point","coordinates":[5,5]}},
	 {"type":"Feature","geometry":{"type":"LineString","coordinates":[[0,0],[5,9],[null],[1e12,0]]}}]}`
	p, err := Map([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, p.SVG)
	for _, want := range []string{"Square &lt;b&gt;", "<circle", "evenodd", "Map of 3 shapes"} {
		if !strings.Contains(p.SVG, want) {
			t.Errorf("the map lacks %q", want)
		}
	}
	for _, bad := range []string{`{}`, `{"type":"Polygon","coordinates":7}`, `x`, `{"type":"FeatureCollection","features":[]}`} {
		if _, err := Map([]byte(bad)); err == nil {
			t.Errorf("%s is a map", bad)
		}
	}
}
