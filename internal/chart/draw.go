package chart

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"

	"quire/internal/problem"
)

// Options say how a chart is drawn. The zero value is right for an output.
type Options struct {
	// Title stands over the chart and names it for who cannot see it. Empty makes
	// one of the columns' names.
	Title string
	// Height is that of the picture in its own units; 0 is what fits the form.
	// The width is 720, and the page makes both fit.
	Height int
	// Value writes the values of the y axis, "1.5 GiB"; nil writes numbers.
	Value func(float64) string
	// Unit is what the steps of the y axis are round in: 1 << 30 for bytes that are
	// written in GiB; 0 is 1.
	Unit float64
	// Limits are lines across the chart.
	Limits []Limit
	// Link returns the address of the page of a row, "" for none; it must be one
	// of ours. Points carry it.
	Link func(row int) string
}

// A Limit is a value that a line marks.
type Limit struct {
	Value float64
	Label string
}

// A Picture is a chart that was drawn.
type Picture struct {
	SVG   string // an svg element that stands for itself
	Title string
	Notes []string // what is not in it, in words
}

// Figure returns the picture as a figure element, its title and notes below it.
func (p Picture) Figure() string {
	var b strings.Builder
	b.WriteString(`<figure class="q-chart"><figcaption>` + esc(p.Title) + `</figcaption><div class="q-chart-at" tabindex="0" role="group" aria-label="` + esc(p.Title) + `">` + p.SVG + `</div>`)
	for _, n := range p.Notes {
		b.WriteString(`<p class="q-more">` + esc(n) + `</p>`)
	}
	b.WriteString("</figure>")
	return b.String()
}

// Bounds of what one picture shows; more is left out, and the picture says so.
const (
	maxBands  = 40   // categories
	maxSeries = 8    // colours
	maxPoints = 3000 // of a scatter plot, and of each line
	maxLeaves = 150  // parts of a hierarchy
	maxNodes  = 80   // of a network
	maxEdges  = 400
	maxPaths  = 600 // rows of parallel coordinates
	maxLegend = 28  // letters of a name
)

const width = 720

// Draw draws a table as a choice says. Its error says what the table lacks.
func Draw(t *Table, c Choice, o Options) (Picture, error) {
	c = c.complete(t)
	p := &plot{t: t, c: c, o: o, height: 380, left: 48, right: 16, top: 12, bottom: 44}
	if o.Height > 0 {
		p.height = o.Height
	}
	draw := map[Form]func(*plot) error{
		Bar: (*plot).bars, Line: (*plot).lines, Area: (*plot).lines, Scatter: (*plot).scatter, Histogram: (*plot).histogram, Box: (*plot).boxes,
		Heatmap: (*plot).heatmap, Treemap: (*plot).treemap, Sunburst: (*plot).sunburst, Network: (*plot).network, Parallel: (*plot).parallel,
	}[c.Form]
	if draw == nil {
		return Picture{}, problem.New(problem.Invalid, "%.40q is no form of chart", string(c.Form))
	}
	if t.Rows == 0 {
		return Picture{}, problem.New(problem.Invalid, "the table has no rows: there is nothing to draw")
	}
	if err := draw(p); err != nil {
		return Picture{}, err
	}
	if p.title == "" {
		p.title = "Chart"
	}
	if o.Title != "" {
		p.title = o.Title
	}
	return p.picture(), nil
}

// A plot is a picture under way.
type plot struct {
	t                        *Table
	c                        Choice
	o                        Options
	b                        strings.Builder
	height                   int
	left, right, top, bottom float64
	title                    string
	notes                    []string
}

func (p *plot) picture() Picture {
	role := "img"
	if p.o.Link != nil { // what leads somewhere is part of no image
		role = "group"
	}
	svg := fmt.Sprintf(`<svg class="q-svg" viewBox="0 0 %d %d" role="%s" aria-label="%s">%s</svg>`, width, p.height, role, esc(p.title), p.b.String())
	return Picture{SVG: svg, Title: p.title, Notes: p.notes}
}

func (p *plot) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// lacks is the error of a table that a form cannot be drawn of.
func (p *plot) lacks(what string) error {
	return problem.New(problem.Invalid, "a %s chart needs %s; this table has none that is not empty", p.c.Form, what)
}

// y0 is where the plot ends at its bottom, x1 at its right.
func (p *plot) y0() float64 { return float64(p.height) - p.bottom }
func (p *plot) x1() float64 { return width - p.right }

// esc returns foreign text as text and as the value of an attribute.
func esc(s string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, s))
}

// num writes a place in the picture.
func num(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// shape writes an element with what a reader sees when they point at it.
func (p *plot) shape(element, class, attrs, tip string) {
	p.b.WriteString("<" + element + ` class="` + class + `" ` + attrs)
	if tip == "" {
		p.b.WriteString("/>")
		return
	}
	p.b.WriteString("><title>" + esc(tip) + "</title></" + element + ">")
}

func (p *plot) rect(x, y, w, h float64, class, tip string) {
	p.shape("rect", class, fmt.Sprintf(`x="%s" y="%s" width="%s" height="%s"`, num(x), num(y), num(max(w, 0.5)), num(max(h, 0.5))), tip)
}

func (p *plot) line(x1, y1, x2, y2 float64, class string) {
	p.shape("line", class, fmt.Sprintf(`x1="%s" y1="%s" x2="%s" y2="%s"`, num(x1), num(y1), num(x2), num(y2)), "")
}

func (p *plot) circle(x, y, r float64, class, tip string) {
	p.shape("circle", class, fmt.Sprintf(`cx="%s" cy="%s" r="%s"`, num(x), num(y), num(r)), tip)
}

// text writes a label; anchor is "start", "middle" or "end".
func (p *plot) text(x, y float64, anchor, class, s string) {
	p.b.WriteString(`<text class="` + class + `" x="` + num(x) + `" y="` + num(y) + `" text-anchor="` + anchor + `">` + esc(s) + "</text>")
}

// wide is about how wide a text stands.
func wide(s string) float64 { return 6.6 * float64(len([]rune(s))) }

// fit shortens a text to a width.
func fit(s string, room float64) string {
	r := []rune(s)
	if n := int(room / 6.6); len(r) > n {
		if n < 2 {
			return ""
		}
		return string(r[:n-1]) + "…"
	}
	return s
}

// value writes a value of the y axis.
func (p *plot) value(v float64) string {
	if p.o.Value != nil {
		return p.o.Value(v)
	}
	return exact(v)
}

// yAxis makes the scale of values, and room for what is written beside it.
func (p *plot) yAxis(lo, hi float64, name string) scale {
	for _, l := range p.o.Limits {
		lo, hi = min(lo, l.Value), max(hi, l.Value)
	}
	unit := p.o.Unit
	if unit <= 0 {
		unit = 1
	}
	s := linear(lo/unit, hi/unit, p.y0(), p.top, max(3, p.height/60))
	s.lo, s.hi = s.lo*unit, s.hi*unit
	for i := range s.ticks {
		s.ticks[i] *= unit
	}
	if p.o.Value != nil {
		s.format = p.o.Value
	}
	room := 0.0
	for _, v := range s.ticks {
		room = max(room, wide(s.format(v)))
	}
	p.left = room + 14
	if name != "" {
		p.top += 16
		s.b = p.top
		p.text(2, p.top-10, "start", "q-axis", fit(name, width/2))
	}
	return s
}

// grid draws the lines of the y axis.
func (p *plot) grid(s scale) {
	for _, v := range s.ticks {
		y := s.at(v)
		p.line(p.left, y, p.x1(), y, "q-grid")
		p.text(p.left-6, y+4, "end", "q-tick", s.format(v))
	}
	for _, l := range p.o.Limits {
		y := s.at(l.Value)
		p.line(p.left, y, p.x1(), y, "q-limit")
		p.text(p.x1(), y-4, "end", "q-limit-name", l.Label)
	}
}

// xAxis draws the ticks of a scale along the bottom.
func (p *plot) xAxis(s scale, name string) {
	p.line(p.left, p.y0(), p.x1(), p.y0(), "q-base")
	last := math.Inf(-1)
	for _, v := range s.ticks {
		x, label := s.at(v), s.format(v)
		if half := wide(label) / 2; x-half > last+4 {
			p.line(x, p.y0(), x, p.y0()+4, "q-base")
			p.text(min(x, width-half), p.y0()+17, "middle", "q-tick", label)
			last = x + half
		}
	}
	p.text((p.left+p.x1())/2, p.y0()+36, "middle", "q-axis", fit(name, p.x1()-p.left))
}

// legend writes what the colours are.
func (p *plot) legend(names []string) {
	if len(names) < 2 {
		return
	}
	x, y := 2.0, p.top+4
	for i, name := range names {
		name = fit(name, maxLegend*6.6)
		room := wide(name) + 30
		if x+room > width && x > 2 {
			x, y = 2, y+18
		}
		p.rect(x, y-9, 10, 10, colour("f", i), "")
		p.text(x+15, y, "start", "q-tick", name)
		x += room
	}
	p.top = y + 14
}

// colour returns the class of the i-th colour: "f" fills, "s" strokes.
func colour(kind string, i int) string { return "q-" + kind + strconv.Itoa(i%maxSeries) }

// A group is the rows that have one value in a column.
type group struct {
	name string
	num  float64
	rows []int
}

// groups cuts the rows by a column, in the order of their first rows or, where
// the column is of numbers or times, of its values. Without a column it is one
// group. The groups over limit are put together at the end.
func (t *Table) groups(name string, limit int) (list []group, more int) {
	col := t.Column(name)
	if col == nil {
		all := make([]int, t.Rows)
		for i := range all {
			all[i] = i
		}
		return []group{{rows: all}}, 0
	}
	at := map[string]int{}
	for r := range t.Rows {
		key := col.Text[r]
		i, ok := at[key]
		if !ok {
			i = len(list)
			at[key] = i
			shown := key
			if shown == "" {
				shown = "(none)"
			}
			list = append(list, group{name: shown, num: col.Num[r]})
		}
		list[i].rows = append(list[i].rows, r)
	}
	if col.Kind != Text {
		slices.SortStableFunc(list, func(a, b group) int { return compareNum(a.num, b.num) })
	}
	if len(list) > limit {
		if col.Kind == Text { // the largest stay
			order := slices.Clone(list)
			slices.SortStableFunc(order, func(a, b group) int { return len(b.rows) - len(a.rows) })
			keep := map[string]bool{}
			for _, g := range order[:limit] {
				keep[g.name] = true
			}
			more = len(list) - limit
			list = slices.DeleteFunc(list, func(g group) bool { return !keep[g.name] })
		} else {
			more, list = len(list)-limit, list[:limit]
		}
	}
	return list, more
}

func compareNum(a, b float64) int {
	switch {
	case math.IsNaN(a) && math.IsNaN(b):
		return 0
	case math.IsNaN(a):
		return 1
	case math.IsNaN(b), a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// take returns the numbers of a column in rows.
func take(c *Column, rows []int) []float64 {
	vals := make([]float64, 0, len(rows))
	for _, r := range rows {
		vals = append(vals, c.Num[r])
	}
	return vals
}
