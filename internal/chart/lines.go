package chart

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

func timeText(v float64) string {
	return strings.TrimSuffix(time.UnixMilli(int64(v)).UTC().Format("2006-01-02 15:04:05"), " 00:00:00")
}

// A series is one line: rows in the order of x.
type series struct {
	name string
	x, y []float64
}

// lines draws columns over another, or over the order of the rows.
func (p *plot) lines() error {
	t, c := p.t, p.c
	x := t.Column(c.X)
	if len(c.Y) == 0 {
		return p.lacks("a column of numbers")
	}
	order := x == nil || x.Kind == Text
	var all []series
	if len(c.Y) > 1 {
		for _, name := range c.Y[:min(len(c.Y), maxSeries)] {
			all = append(all, p.series(name, x, t.Column(name), nil, order))
		}
	} else {
		parts, left := t.groups(c.By, maxSeries)
		if left > 0 {
			p.note("%d more values of %s are not shown.", left, c.By)
		}
		for _, g := range parts {
			all = append(all, p.series(g.name, x, t.Column(c.Y[0]), g.rows, order))
		}
	}
	p.title = strings.Join(c.Y[:min(len(c.Y), 4)], ", ")
	if c.X != "" {
		p.title += " over " + c.X
	}
	if c.By != "" && len(c.Y) == 1 {
		p.title += " by " + c.By
	}
	return p.drawLines(all, x, order)
}

func (p *plot) drawLines(all []series, x *Column, order bool) error {
	if p.c.Form == Area {
		all = stack(all)
	}
	var names []string
	var xs, ys [][]float64
	for _, s := range all {
		names, xs, ys = append(names, s.name), append(xs, s.x), append(ys, s.y)
	}
	lo, hi, ok := extent(ys...)
	xlo, xhi, okx := extent(xs...)
	if !ok || !okx {
		return p.lacks("a column of numbers")
	}
	if lo > 0 && lo < hi*0.6 || p.c.Form == Area {
		lo = min(lo, 0)
	}
	p.legend(names)
	yName := ""
	if len(p.c.Y) == 1 {
		yName = p.c.Y[0]
	}
	s := p.yAxis(lo, hi, yName)
	p.grid(s)
	xs1 := linear(xlo, xhi, p.left, p.x1(), 8)
	if !order && x.Kind == Time {
		xs1 = timely(xlo, xhi, p.left, p.x1(), 8)
	} else {
		xs1.lo, xs1.hi = xlo, xhi
		if xlo == xhi {
			xs1.lo, xs1.hi = xlo-0.5, xhi+0.5
		}
		xs1.ticks = slices.DeleteFunc(xs1.ticks, func(v float64) bool { return v < xs1.lo || v > xs1.hi || order && v != math.Trunc(v) })
	}
	if order && x != nil {
		xs1.format = func(v float64) string {
			if i := int(v); i >= 0 && i < len(x.Text) {
				return fit(x.Text[i], 90)
			}
			return ""
		}
	}
	for i := range all {
		p.path(all, i, s, xs1, x, order)
	}
	name := p.c.X
	if name == "" {
		name = "row"
	}
	p.xAxis(xs1, name)
	return nil
}

// path draws one line, with its points where there are few.
func (p *plot) path(all []series, i int, y, x scale, col *Column, order bool) {
	s := all[i]
	var d strings.Builder
	pen := "M"
	for k := range s.x {
		if math.IsNaN(s.y[k]) || math.IsNaN(s.x[k]) {
			pen = "M" // a gap
			continue
		}
		d.WriteString(pen + num(x.at(s.x[k])) + " " + num(y.at(s.y[k])))
		pen = "L"
	}
	if p.c.Form == Area && len(s.x) > 1 {
		below := d.String()
		for k := len(s.x) - 1; k >= 0; k-- {
			v := 0.0
			if i > 0 {
				v = all[i-1].y[k]
			}
			below += "L" + num(x.at(s.x[k])) + " " + num(y.at(v))
		}
		p.shape("path", "q-area "+colour("f", i), `d="`+below+`Z"`, s.name)
	}
	p.shape("path", "q-line "+colour("s", i), `d="`+d.String()+`"`, s.name)
	if len(s.x) > 200 {
		return
	}
	for k := range s.x {
		if math.IsNaN(s.y[k]) || math.IsNaN(s.x[k]) {
			continue
		}
		at := exact(s.x[k])
		if col != nil && !order {
			at = exactOf(col, s.x[k])
		} else if order {
			at = x.format(s.x[k])
		}
		r := 2.5
		if len(s.x) > 60 {
			r = 1.5
		}
		p.circle(x.at(s.x[k]), y.at(s.y[k]), r, "q-dot "+colour("f", i), barTip(at, s.name, p.value(s.y[k])))
	}
}

// series takes the points of a line from the table: sorted by x, rows of one x
// put together where the choice says how, and thinned out where there are many.
func (p *plot) series(name string, x, y *Column, rows []int, order bool) series {
	s := series{name: name}
	if rows == nil {
		rows = make([]int, p.t.Rows)
		for i := range rows {
			rows[i] = i
		}
	}
	at := func(r int) float64 {
		if order {
			return float64(r)
		}
		return x.Num[r]
	}
	rows = slices.DeleteFunc(slices.Clone(rows), func(r int) bool { return math.IsNaN(at(r)) })
	slices.SortStableFunc(rows, func(a, b int) int { return compareNum(at(a), at(b)) })
	for i := 0; i < len(rows); {
		j := i + 1
		for p.c.Sum != "" && j < len(rows) && at(rows[j]) == at(rows[i]) {
			j++
		}
		v := y.Num[rows[i]]
		if p.c.Sum != "" {
			v = sum(p.c.Sum, take(y, rows[i:j]))
		}
		s.x, s.y = append(s.x, at(rows[i])), append(s.y, v)
		i = j
	}
	if len(s.x) > maxPoints {
		p.note("%s: of %s points the highest and lowest of each stretch are drawn.", y.Name, exact(float64(len(s.x))))
		s = s.thin(maxPoints)
	}
	return s
}

// thin keeps the least and the greatest value of each stretch, so that the line
// keeps its shape.
func (s series) thin(limit int) series {
	out := series{name: s.name}
	each := 2 * len(s.x) / limit
	for i := 0; i < len(s.x); i += each {
		lo, hi := -1, -1
		for k := i; k < min(i+each, len(s.x)); k++ {
			if math.IsNaN(s.y[k]) {
				continue
			}
			if lo < 0 || s.y[k] < s.y[lo] {
				lo = k
			}
			if hi < 0 || s.y[k] > s.y[hi] {
				hi = k
			}
		}
		if lo < 0 {
			continue
		}
		for _, k := range []int{min(lo, hi), max(lo, hi)} {
			out.x, out.y = append(out.x, s.x[k]), append(out.y, s.y[k])
		}
	}
	return out
}

// stack puts series on each other, over all the x that any of them has.
func stack(all []series) []series {
	var xs []float64
	for _, s := range all {
		xs = append(xs, s.x...)
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	base := make([]float64, len(xs))
	out := make([]series, len(all))
	for i, s := range all {
		here := map[float64]float64{}
		for k, x := range s.x {
			if v := s.y[k]; !math.IsNaN(v) {
				here[x] += v
			}
		}
		for k, x := range xs {
			base[k] += here[x]
		}
		out[i] = series{name: s.name, x: xs, y: slices.Clone(base)}
	}
	return out
}

// scatter draws a point for each row.
func (p *plot) scatter() error {
	t, c := p.t, p.c
	x := t.Column(c.X)
	if x == nil || x.Kind == Text || len(c.Y) == 0 {
		return p.lacks("two columns of numbers")
	}
	y := t.Column(c.Y[0])
	parts, left := t.groups(c.By, maxSeries)
	if left > 0 {
		p.note("%d more values of %s are not shown.", left, c.By)
	}
	lo, hi, ok := extent(y.Num)
	if !ok {
		return p.lacks("two columns of numbers")
	}
	p.title = y.Name + " against " + x.Name
	var names []string
	for _, g := range parts {
		names = append(names, g.name)
	}
	if c.By != "" {
		p.title += " by " + c.By
	}
	p.legend(names)
	sy := p.yAxis(lo, hi, y.Name)
	p.grid(sy)
	sx, ok := scaleOf(x, nil, p.left+4, p.x1()-4, 8)
	if !ok {
		return p.lacks("two columns of numbers")
	}
	var size *Column
	var most float64
	if size = t.Column(c.Size); size != nil {
		_, most, _ = extent(size.Num)
	}
	every := t.Rows/maxPoints + 1
	if every > 1 {
		p.note("Every %d. of %s points is drawn.", every, exact(float64(t.Rows)))
	}
	for i, g := range parts {
		for _, r := range g.rows {
			if r%every != 0 || math.IsNaN(x.Num[r]) || math.IsNaN(y.Num[r]) {
				continue
			}
			radius := 3.0
			if size != nil && most > 0 && size.Num[r] > 0 {
				radius = 2 + 10*math.Sqrt(size.Num[r]/most)
			}
			p.point(sx.at(x.Num[r]), sy.at(y.Num[r]), radius, i, r,
				fmt.Sprintf("%s %s, %s %s%s", x.Name, exactOf(x, x.Num[r]), y.Name, p.value(y.Num[r]), after(", ", g.name)))
		}
	}
	p.xAxis(sx, x.Name)
	return nil
}

func after(sep, s string) string {
	if s == "" {
		return ""
	}
	return sep + s
}

// point draws a row, which leads to its page where it has one.
func (p *plot) point(x, y, r float64, series, row int, tip string) {
	link := ""
	if p.o.Link != nil {
		link = p.o.Link(row)
	}
	if link != "" {
		p.b.WriteString(`<a href="` + esc(link) + `" aria-label="` + esc(tip) + `">`)
		defer p.b.WriteString("</a>")
	}
	p.circle(x, y, r, "q-point "+colour("f", series), tip)
}

// parallel draws each row as a line across the axes of several columns.
func (p *plot) parallel() error {
	var axes []*Column
	for _, name := range p.c.Y[:min(len(p.c.Y), 10)] {
		if c := p.t.Column(name); c != nil && c.Kind != Text {
			axes = append(axes, c)
		}
	}
	if len(axes) < 2 {
		return p.lacks("two or more columns of numbers")
	}
	parts, left := p.t.groups(p.c.By, maxSeries)
	if left > 0 {
		p.note("%d more values of %s are not shown.", left, p.c.By)
	}
	var names, titles []string
	for _, g := range parts {
		names = append(names, g.name)
	}
	p.legend(names)
	p.top += 22
	p.left, p.right, p.bottom = 40, 40, 26
	scales := make([]scale, len(axes))
	for i, c := range axes {
		x := p.left + float64(i)*(p.x1()-p.left)/float64(len(axes)-1)
		lo, hi, ok := extent(c.Num)
		if !ok {
			lo, hi = 0, 1
		}
		scales[i] = scale{lo: lo, hi: hi, a: p.y0(), b: p.top}
		p.line(x, p.top, x, p.y0(), "q-base")
		p.text(x, p.top-8, "middle", "q-tick", exactOf(c, hi))
		p.text(x, p.y0()+14, "middle", "q-tick", exactOf(c, lo))
		p.text(x, p.top-22, "middle", "q-axis", fit(c.Name, (p.x1()-p.left)/float64(len(axes)-1)))
		titles = append(titles, c.Name)
	}
	p.title = "Parallel coordinates of " + strings.Join(titles, ", ")
	every := p.t.Rows/maxPaths + 1
	if every > 1 {
		p.note("Every %d. of %s rows is drawn.", every, exact(float64(p.t.Rows)))
	}
	for i, g := range parts {
		for _, r := range g.rows {
			if r%every == 0 {
				p.across(axes, scales, r, i, g.name)
			}
		}
	}
	return nil
}

func (p *plot) across(axes []*Column, scales []scale, r, part int, name string) {
	var d strings.Builder
	var tip []string
	pen := "M"
	for k, c := range axes {
		if math.IsNaN(c.Num[r]) {
			pen = "M"
			continue
		}
		x := p.left + float64(k)*(p.x1()-p.left)/float64(len(axes)-1)
		d.WriteString(pen + num(x) + " " + num(scales[k].at(c.Num[r])))
		pen = "L"
		tip = append(tip, c.Name+" "+exactOf(c, c.Num[r]))
	}
	if d.Len() > 0 {
		p.shape("path", "q-thin "+colour("s", part), `d="`+d.String()+`"`, strings.Join(tip, ", ")+after(", ", name))
	}
}
