package chart

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// maxHeat is how many rows and columns a heatmap has.
const maxHeat = 30

// A cut is a column cut into bands: its values, or steps of them.
type cut struct {
	names []string
	of    func(row int) int // -1 for none
}

// cutOf cuts a column of words by its values and one of numbers by their size.
func (t *Table) cutOf(c *Column) (k cut, more int) {
	if c.Kind == Text || len(distinct(c)) <= 12 {
		list, more := t.groups(c.Name, maxHeat)
		at := map[int]int{}
		for i, g := range list {
			k.names = append(k.names, g.name)
			for _, r := range g.rows {
				at[r] = i
			}
		}
		k.of = func(r int) int {
			if i, ok := at[r]; ok {
				return i
			}
			return -1
		}
		return k, more
	}
	lo, hi, _ := extent(c.Num)
	edges := bins(c, lo, hi)
	for i := range len(edges) - 1 {
		k.names = append(k.names, exactOf(c, edges[i]))
	}
	k.of = func(r int) int {
		if math.IsNaN(c.Num[r]) {
			return -1
		}
		i, found := slices.BinarySearch(edges, c.Num[r])
		if !found {
			i--
		}
		return min(max(i, 0), len(k.names)-1)
	}
	return k, 0
}

// heatmap draws the value of each pair of two columns as a shade.
func (p *plot) heatmap() error {
	t, c := p.t, p.c
	x, by := t.Column(c.X), t.Column(c.By)
	if x == nil || by == nil {
		return p.lacks("two columns to cross")
	}
	cols, more1 := t.cutOf(x)
	rows, more2 := t.cutOf(by)
	if more1+more2 > 0 {
		p.note("%d more values of %s and %d of %s are not shown.", more1, c.X, more2, c.By)
	}
	var y *Column
	how, what := c.Sum, "rows"
	if len(c.Y) > 0 {
		y = t.Column(c.Y[0])
		if how == "" {
			how = "mean"
		}
		what = how + " of " + y.Name
	} else {
		how = "count"
	}
	in := make([][]int, len(cols.names)*len(rows.names))
	for r := range t.Rows {
		if i, j := cols.of(r), rows.of(r); i >= 0 && j >= 0 {
			in[j*len(cols.names)+i] = append(in[j*len(cols.names)+i], r)
		}
	}
	vals := make([]float64, len(in))
	for i, of := range in {
		vals[i] = math.NaN()
		if len(of) > 0 {
			vals[i] = float64(len(of))
			if y != nil {
				vals[i] = sum(how, take(y, of))
			}
		}
	}
	lo, hi, ok := extent(vals)
	if !ok {
		return p.lacks("values")
	}
	p.title = what + " by " + c.X + " and " + c.By
	p.heatCells(cols, rows, vals, lo, hi)
	p.shades(lo, hi, what)
	return nil
}

const shadeSteps = 9

// shade returns the class of a value between lo and hi.
func shade(v, lo, hi float64) string {
	i := shadeSteps / 2
	if hi > lo {
		i = min(int((v-lo)/(hi-lo)*shadeSteps), shadeSteps-1)
	}
	return "q-h" + strconv.Itoa(i)
}

func (p *plot) heatCells(cols, rows cut, vals []float64, lo, hi float64) {
	longest := 0.0
	for _, n := range rows.names {
		longest = max(longest, wide(n))
	}
	p.left = min(longest, 170) + 10
	p.top += 24
	each := min(max((float64(p.height)-p.top-p.bottom)/float64(len(rows.names)), 18), 48)
	p.height = int(p.top + each*float64(len(rows.names)) + p.bottom)
	band := (p.x1() - p.left) / float64(len(cols.names))
	for j, row := range rows.names {
		y := p.top + each*float64(j)
		p.text(p.left-6, y+each/2+4, "end", "q-tick", fit(row, 176))
		for i, col := range cols.names {
			v := vals[j*len(cols.names)+i]
			if math.IsNaN(v) {
				continue
			}
			p.rect(p.left+band*float64(i)+0.5, y+0.5, band-1, each-1, shade(v, lo, hi),
				fmt.Sprintf("%s %s, %s %s: %s", p.c.X, col, p.c.By, row, p.value(v)))
		}
	}
	every := 1
	for _, n := range cols.names {
		every = max(every, int(math.Ceil((min(wide(n), 70)+6)/band)))
	}
	for i := 0; i < len(cols.names); i += every {
		p.text(p.left+band*(float64(i)+0.5), p.y0()+15, "middle", "q-tick", fit(cols.names[i], max(band*float64(every), 40)))
	}
	p.text((p.left+p.x1())/2, p.y0()+34, "middle", "q-axis", fit(p.c.X, p.x1()-p.left))
}

// shades writes what the shades mean.
func (p *plot) shades(lo, hi float64, what string) {
	y := p.top - 30
	x := p.left
	p.text(x, y+9, "start", "q-tick", fit(what+":  "+p.value(lo), 300))
	x += min(wide(what+":  "+p.value(lo)), 300) + 6
	for i := range shadeSteps {
		p.rect(x+float64(i)*14, y, 14, 11, "q-h"+strconv.Itoa(i), "")
	}
	p.text(x+shadeSteps*14+6, y+9, "start", "q-tick", p.value(hi))
}
