package chart

import (
	"encoding/json"
	"slices"

	"quire/internal/problem"
)

// A Form is a kind of chart.
type Form string

// The forms of charts.
const (
	Bar       Form = "bar"
	Line      Form = "line"
	Area      Form = "area"
	Scatter   Form = "scatter"
	Histogram Form = "histogram"
	Box       Form = "box"
	Heatmap   Form = "heatmap"
	Treemap   Form = "treemap"
	Sunburst  Form = "sunburst"
	Network   Form = "network"
	Parallel  Form = "parallel"
)

// A Choice says what of a table is drawn and how. Names of columns that the
// table has not are replaced by ones that fit.
type Choice struct {
	Form Form
	// X is the column along the x axis: categories of bars, boxes and heatmaps,
	// the x of lines and points, the source of a network's edges.
	X string
	// Y are the columns of values: heights, the y of lines and points, sizes of a
	// hierarchy's parts, weights of edges. Lines and parallel coordinates take
	// several, the other forms the first.
	Y []string
	// By is the column that colours, stacks, or makes the rows of a heatmap; of a
	// network it is the target of the edges.
	By string
	// Size is the column that makes points large or small.
	Size string
	// Levels are the columns that a hierarchy is cut by, outermost first.
	Levels []string
	// Sum is how several rows become one value: "sum", "mean", "median", "min",
	// "max" or "count". Empty is what fits the form.
	Sum string
}

// A dx is a choice as nteract's data explorer keeps it in the metadata of an
// output: there "view" is the form, and metrics and dimensions have numbers.
type dx struct {
	View               string            `json:"view"`
	LineType           string            `json:"lineType"`
	SummaryType        string            `json:"summaryType"`
	HierarchyType      string            `json:"hierarchyType"`
	SelectedDimensions []string          `json:"selectedDimensions"`
	SelectedMetrics    []string          `json:"selectedMetrics"`
	Chart              map[string]string `json:"chart"`
	Quire              struct {
		Sum string `json:"sum"`
	} `json:"quire"`
}

// maxChoice is how long a stored choice may be, in bytes of JSON.
const maxChoice = 64 << 10

// Sums are the ways in which several rows become one value.
var Sums = []string{"sum", "mean", "median", "min", "max", "count"}

// ParseChoice reads a choice in the form of nteract's data explorer. ok is false
// when it asks for a table, or for nothing.
func ParseChoice(data []byte) (c Choice, ok bool, err error) {
	if len(data) > maxChoice {
		return c, false, problem.New(problem.TooLarge, "the choice of a chart is %d bytes: want at most %d", len(data), maxChoice)
	}
	var d dx
	if err := json.Unmarshal(data, &d); err != nil {
		return c, false, problem.WrapAs(problem.Invalid, err, "reading the choice of a chart")
	}
	pick := func(key string) string {
		if name := d.Chart[key]; name != "none" {
			return name
		}
		return ""
	}
	some := func(keys ...string) (names []string) {
		for _, key := range keys {
			if name := pick(key); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return names
	}
	c = Choice{X: pick("dim1"), By: pick("dim2"), Y: some("metric1")}
	if slices.Contains(Sums, d.Quire.Sum) {
		c.Sum = d.Quire.Sum
	}
	switch d.View {
	case "bar":
		c.Form = Bar
	case "line":
		c.Form = Line
		if d.LineType == "stackedarea" {
			c.Form = Area
		}
		c.X, c.By, c.Y = pick("timeseriesSort"), pick("dim1"), d.SelectedMetrics
		if c.X == "array-order" {
			c.X = ""
		}
		if len(c.Y) == 0 {
			c.Y = some("metric1")
		}
	case "scatter":
		c.Form, c.X, c.Y, c.Size, c.By = Scatter, pick("metric1"), some("metric2"), pick("metric3"), pick("dim1")
	case "hexbin":
		c.Form, c.X, c.By, c.Y = Heatmap, pick("metric1"), pick("metric2"), some("metric3")
	case "summary":
		c.Form = Box
		switch d.SummaryType {
		case "histogram":
			c.Form, c.By = Histogram, pick("dim1")
		case "heatmap":
			c.Form = Heatmap
		}
	case "hierarchy":
		c.Form, c.Levels = Treemap, d.SelectedDimensions
		if d.HierarchyType == "sunburst" || d.HierarchyType == "partition" {
			c.Form = Sunburst
		}
		if len(c.Levels) == 0 {
			c.Levels = some("dim1", "dim2", "dim3")
		}
		c.X, c.By = "", ""
	case "network":
		c.Form = Network
	case "parallel":
		c.Form, c.X, c.By, c.Y = Parallel, "", pick("dim1"), d.SelectedMetrics
	default:
		return Choice{}, false, nil
	}
	return c, true, nil
}

// complete replaces what the choice names and the table lacks.
func (c Choice) complete(t *Table) Choice {
	known := func(name string) string {
		if t.Column(name) == nil {
			return ""
		}
		return name
	}
	only := func(names []string) (kept []string) {
		for _, name := range names {
			if t.Column(name) != nil {
				kept = append(kept, name)
			}
		}
		return kept
	}
	c.X, c.By, c.Size, c.Y, c.Levels = known(c.X), known(c.By), known(c.Size), only(c.Y), only(c.Levels)
	numbers, words, times := t.named(Number), t.named(Text), t.named(Time)
	first := func(lists ...[]string) string {
		for _, l := range lists {
			for _, name := range l {
				if name != c.X && name != c.By && !slices.Contains(c.Y, name) {
					return name
				}
			}
		}
		return ""
	}
	want := func(at *string, lists ...[]string) {
		if *at == "" {
			*at = first(lists...)
		}
	}
	wantY := func(lists ...[]string) {
		if len(c.Y) == 0 {
			if name := first(lists...); name != "" {
				c.Y = []string{name}
			}
		}
	}
	switch c.Form {
	case Bar, Box:
		want(&c.X, words, times)
		wantY(numbers)
	case Histogram:
		wantY(numbers, times)
	case Line, Area:
		want(&c.X, times)
		wantY(numbers)
	case Scatter:
		want(&c.X, numbers, times)
		wantY(numbers)
	case Heatmap, Network:
		want(&c.X, words, numbers)
		want(&c.By, words, numbers)
	case Treemap, Sunburst:
		if len(c.Levels) == 0 {
			if name := first(words, times); name != "" {
				c.Levels = []string{name}
			}
		}
		wantY(numbers)
	case Parallel:
		if len(c.Y) == 0 {
			c.Y = numbers[:min(len(numbers), 8)]
		}
	}
	return c
}

// named returns the names of the columns of a kind.
func (t *Table) named(kind Kind) (names []string) {
	for _, c := range t.Columns {
		if c.Kind == kind {
			names = append(names, c.Name)
		}
	}
	return names
}
