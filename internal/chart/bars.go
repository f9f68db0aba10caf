package chart

import (
	"fmt"
	"math"
	"slices"
)

// bars draws one value for each category, side by side or, with a colour,
// stacked where all are of one sign.
func (p *plot) bars() error {
	t, c := p.t, p.c
	x := t.Column(c.X)
	if x == nil {
		return p.lacks("a column of categories")
	}
	how := c.Sum
	if how == "" {
		how = "sum"
	}
	var y *Column
	if len(c.Y) > 0 {
		y = t.Column(c.Y[0])
	}
	if y == nil {
		how = "count"
	}
	what := "rows"
	if y != nil {
		what = y.Name
		if how != "sum" || len(distinct(x)) < t.Rows {
			what = how + " of " + y.Name
		}
	}
	cats, more := t.groups(c.X, maxBands)
	if more > 0 {
		p.note("%d more values of %s are not shown.", more, c.X)
	}
	names := []string{""}
	if c.By != "" && c.By != c.X {
		parts, left := t.groups(c.By, maxSeries)
		if left > 0 {
			p.note("%d more values of %s are not shown.", left, c.By)
		}
		names = nil
		for _, g := range parts {
			names = append(names, g.name)
		}
	}
	vals := barValues(t, cats, names, c.By, y, how)
	p.title = what + " by " + c.X
	if len(names) > 1 {
		p.title += " and " + c.By
	}
	p.legend(names)
	longest := 0.0
	for _, g := range cats {
		longest = max(longest, wide(g.name))
	}
	if room := (width - 70.0) / float64(len(cats)); longest+6 > room {
		p.barsAcross(cats, names, vals, min(longest, 190), what)
	} else {
		p.barsUp(cats, names, vals, what)
	}
	return nil
}

func distinct(c *Column) map[string]bool {
	m := map[string]bool{}
	for _, s := range c.Text {
		m[s] = true
	}
	return m
}

// barValues returns the value of each category and part.
func barValues(t *Table, cats []group, names []string, by string, y *Column, how string) [][]float64 {
	part := t.Column(by)
	vals := make([][]float64, len(cats))
	for i, g := range cats {
		rows := map[string][]int{"": g.rows}
		if part != nil && len(names) > 0 && names[0] != "" {
			rows = map[string][]int{}
			for _, r := range g.rows {
				name := part.Text[r]
				if name == "" {
					name = "(none)"
				}
				rows[name] = append(rows[name], r)
			}
		}
		for _, name := range names {
			v := math.NaN()
			if of := rows[name]; len(of) > 0 {
				if y == nil {
					v = float64(len(of))
				} else {
					v = sum(how, take(y, of))
				}
			}
			vals[i] = append(vals[i], v)
		}
	}
	return vals
}

// stacks reports whether the parts of bars may be put on each other.
func (p *plot) stacks(vals [][]float64) bool {
	if p.c.Sum != "" && p.c.Sum != "sum" && p.c.Sum != "count" {
		return false
	}
	for _, row := range vals {
		for _, v := range row {
			if v < 0 {
				return false
			}
		}
	}
	return true
}

// reach returns the least and the greatest value that bars come to.
func reach(vals [][]float64, stacked bool) (lo, hi float64) {
	for _, row := range vals {
		total := 0.0
		for _, v := range row {
			if math.IsNaN(v) {
				continue
			}
			total += v
			if !stacked {
				total = v
			}
			lo, hi = min(lo, total), max(hi, total)
		}
	}
	return lo, hi
}

func barTip(cat, part, value string) string {
	if part != "" {
		cat += ", " + part
	}
	return cat + ": " + value
}

func (p *plot) barsUp(cats []group, names []string, vals [][]float64, what string) {
	stacked := p.stacks(vals)
	lo, hi := reach(vals, stacked)
	s := p.yAxis(lo, hi, what)
	p.grid(s)
	band := (p.x1() - p.left) / float64(len(cats))
	for i, g := range cats {
		x := p.left + band*float64(i)
		p.text(x+band/2, p.y0()+17, "middle", "q-tick", fit(g.name, band+6))
		base := 0.0
		thick := min(band*0.8, 80)
		at := x + (band-thick)/2
		if !stacked {
			thick /= float64(len(names))
		}
		for j, v := range vals[i] {
			if math.IsNaN(v) {
				continue
			}
			y0, y1 := s.at(base), s.at(base+v)
			p.rect(at, min(y0, y1), thick, math.Abs(y1-y0), colour("f", j), barTip(g.name, names[j], p.value(v)))
			if stacked {
				base += v
			} else {
				at += thick
			}
		}
	}
	p.line(p.left, s.at(0), p.x1(), s.at(0), "q-base")
	p.text((p.left+p.x1())/2, p.y0()+36, "middle", "q-axis", fit(p.c.X, p.x1()-p.left))
}

func (p *plot) barsAcross(cats []group, names []string, vals [][]float64, room float64, what string) {
	stacked := p.stacks(vals)
	each := 22.0
	if !stacked {
		each = max(each, 10*float64(len(names))+6)
	}
	p.height = int(p.top + each*float64(len(cats)) + p.bottom)
	lo, hi := reach(vals, stacked)
	p.left = room + 12
	s := linear(lo, hi, p.left, p.x1()-10, 6)
	if p.o.Value != nil {
		s.format = p.o.Value
	}
	for _, v := range s.ticks {
		p.line(s.at(v), p.top, s.at(v), p.y0(), "q-grid")
	}
	for i, g := range cats {
		y := p.top + each*float64(i)
		p.text(p.left-6, y+each/2+4, "end", "q-tick", fit(g.name, room+6))
		base, at, thick := 0.0, y+3, each-6
		if !stacked {
			thick /= float64(len(names))
		}
		for j, v := range vals[i] {
			if math.IsNaN(v) {
				continue
			}
			x0, x1 := s.at(base), s.at(base+v)
			p.rect(min(x0, x1), at, math.Abs(x1-x0), thick, colour("f", j), barTip(g.name, names[j], p.value(v)))
			if stacked {
				base += v
			} else {
				at += thick
			}
		}
	}
	p.line(s.at(0), p.top, s.at(0), p.y0(), "q-base")
	p.xAxis(s, what)
}

// histogram draws how many rows fall in each step of a column's values.
func (p *plot) histogram() error {
	if len(p.c.Y) == 0 {
		return p.lacks("a column of numbers or times")
	}
	y := p.t.Column(p.c.Y[0])
	parts, left := p.t.groups(p.c.By, maxSeries)
	if left > 0 {
		p.note("%d more values of %s are not shown.", left, p.c.By)
	}
	lo, hi, ok := extent(y.Num)
	if !ok {
		return p.lacks("a column of numbers")
	}
	edges := bins(y, lo, hi)
	counts := make([][]float64, len(edges)-1)
	for i := range counts {
		counts[i] = make([]float64, len(parts))
	}
	none := 0
	var names []string
	for j, g := range parts {
		names = append(names, g.name)
		for _, v := range take(y, g.rows) {
			if math.IsNaN(v) {
				none++
				continue
			}
			i, found := slices.BinarySearch(edges, v)
			if !found {
				i--
			}
			counts[min(max(i, 0), len(counts)-1)][j]++
		}
	}
	if none > 0 {
		p.note("%s rows without a value are not shown.", exact(float64(none)))
	}
	p.title = "Distribution of " + y.Name
	if len(parts) > 1 {
		p.title += " by " + p.c.By
	}
	p.legend(names)
	_, most := reach(counts, true)
	s := p.yAxis(0, most, "rows")
	p.grid(s)
	x, _ := scaleOf(&Column{Num: []float64{edges[0], edges[len(edges)-1]}, Kind: y.Kind}, nil, p.left, p.x1(), 8)
	x.lo, x.hi = edges[0], edges[len(edges)-1]
	x.ticks = slices.DeleteFunc(x.ticks, func(v float64) bool { return v < x.lo || v > x.hi })
	for i, row := range counts {
		base := 0.0
		for j, n := range row {
			if n == 0 {
				continue
			}
			a, b := x.at(edges[i]), x.at(edges[i+1])
			name := exactOf(y, edges[i]) + " to " + exactOf(y, edges[i+1])
			p.rect(a+0.5, s.at(base+n), b-a-1, s.at(base)-s.at(base+n), colour("f", j), barTip(name, names[j], exact(n)+" rows"))
			base += n
		}
	}
	p.xAxis(x, y.Name)
	return nil
}

// exactOf writes a value of a column.
func exactOf(c *Column, v float64) string {
	if c.Kind == Time {
		return timeText(v)
	}
	return exact(v)
}

// bins returns the edges of the steps of a histogram.
func bins(c *Column, lo, hi float64) []float64 {
	if lo == hi {
		return []float64{lo - 0.5, lo + 0.5}
	}
	want := min(max(int(math.Sqrt(float64(len(c.Num)))), 8), 40)
	step := (hi - lo) / float64(want)
	from := lo
	if c.Kind != Time {
		step = niceStep(step)
		from = math.Floor(lo/step) * step
	}
	edges := []float64{from}
	for i := 1; edges[len(edges)-1] < hi && i <= 100; i++ {
		edges = append(edges, from+float64(i)*step)
	}
	return edges
}

// boxes draws the quartiles of a column for each category.
func (p *plot) boxes() error {
	if len(p.c.Y) == 0 {
		return p.lacks("a column of numbers")
	}
	y := p.t.Column(p.c.Y[0])
	cats, more := p.t.groups(p.c.X, maxBands)
	if more > 0 {
		p.note("%d more values of %s are not shown.", more, p.c.X)
	}
	lo, hi, ok := extent(y.Num)
	if !ok {
		return p.lacks("a column of numbers")
	}
	p.title = "Spread of " + y.Name
	if p.c.X != "" {
		p.title += " by " + p.c.X
	}
	s := p.yAxis(lo, hi, y.Name)
	p.grid(s)
	band := (p.x1() - p.left) / float64(len(cats))
	for i, g := range cats {
		x := p.left + band*float64(i)
		p.text(x+band/2, p.y0()+17, "middle", "q-tick", fit(g.name, band+4))
		p.box(s, g.name, slices.DeleteFunc(take(y, g.rows), math.IsNaN), x+band/2, min(band*0.6, 70))
	}
	p.line(p.left, p.y0(), p.x1(), p.y0(), "q-base")
	p.text((p.left+p.x1())/2, p.y0()+36, "middle", "q-axis", fit(p.c.X, p.x1()-p.left))
	return nil
}

func (p *plot) box(s scale, name string, vals []float64, x, thick float64) {
	if len(vals) == 0 {
		return
	}
	slices.Sort(vals)
	q1, mid, q3 := quantile(vals, 0.25), quantile(vals, 0.5), quantile(vals, 0.75)
	lo, hi := q1, q3 // the whiskers: the furthest within one and a half boxes
	far := 0
	for _, v := range vals {
		if reach := 1.5 * (q3 - q1); v >= q1-reach && v <= q3+reach {
			lo, hi = min(lo, v), max(hi, v)
		} else if far++; far <= 200 {
			p.circle(x, s.at(v), 2.5, "q-point "+colour("f", 0), barTip(name, "", p.value(v)))
		}
	}
	if far > 200 {
		p.note("%d far values of %s are not shown.", far-200, name)
	}
	p.line(x, s.at(lo), x, s.at(hi), "q-whisker")
	p.line(x-thick/4, s.at(lo), x+thick/4, s.at(lo), "q-whisker")
	p.line(x-thick/4, s.at(hi), x+thick/4, s.at(hi), "q-whisker")
	p.rect(x-thick/2, s.at(q3), thick, s.at(q1)-s.at(q3), "q-box "+colour("f", 0),
		fmt.Sprintf("%s: median %s, half between %s and %s, %s rows", name, p.value(mid), p.value(q1), p.value(q3), exact(float64(len(vals)))))
	p.line(x-thick/2, s.at(mid), x+thick/2, s.at(mid), "q-median")
}
