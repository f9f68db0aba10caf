package chart

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A part is a piece of a hierarchy with the pieces that it is cut into.
type part struct {
	name  string
	path  string
	value float64
	first int // the colour: which piece of the whole it is in
	parts []*part
}

// tree cuts the rows by each level in turn.
func (p *plot) tree() (*part, error) {
	c := p.c
	if len(c.Levels) == 0 {
		return nil, p.lacks("a column of words")
	}
	var y *Column
	what := "rows"
	if len(c.Y) > 0 {
		y = p.t.Column(c.Y[0])
		what = y.Name
	}
	p.title = what + " by " + strings.Join(c.Levels, ", ")
	root := &part{}
	negative := 0
	for r := range p.t.Rows {
		v := 1.0
		if y != nil {
			v = y.Num[r]
		}
		if math.IsNaN(v) || v < 0 {
			negative++
			continue
		}
		at := root
		root.value += v
		for _, level := range c.Levels[:min(len(c.Levels), 4)] {
			name := p.t.Column(level).Text[r]
			if name == "" {
				name = "(none)"
			}
			i := slices.IndexFunc(at.parts, func(q *part) bool { return q.name == name })
			if i < 0 && len(at.parts) >= 2000 {
				break
			}
			if i < 0 {
				i = len(at.parts)
				at.parts = append(at.parts, &part{name: name, path: strings.TrimPrefix(at.path+" / "+name, " / ")})
			}
			at = at.parts[i]
			at.value += v
		}
	}
	if root.value <= 0 {
		return nil, p.lacks("a column of numbers over zero")
	}
	if negative > 0 {
		p.note("%s rows without a value over zero are not shown.", exact(float64(negative)))
	}
	left := maxLeaves
	p.prune(root, &left)
	for i, q := range root.parts {
		q.paint(i)
	}
	return root, nil
}

// prune sorts the parts by size and puts the smallest together where there are
// too many.
func (p *plot) prune(at *part, left *int) {
	slices.SortStableFunc(at.parts, func(a, b *part) int { return compareNum(b.value, a.value) })
	if keep := max(min(len(at.parts), *left), 1); keep < len(at.parts) {
		rest := &part{name: fmt.Sprintf("%d more", len(at.parts)-keep)}
		for _, q := range at.parts[keep:] {
			rest.value += q.value
		}
		rest.path = strings.TrimPrefix(at.path+" / "+rest.name, " / ")
		at.parts = append(at.parts[:keep], rest)
	}
	*left -= len(at.parts)
	for _, q := range at.parts {
		p.prune(q, left)
	}
}

func (q *part) paint(i int) {
	q.first = i
	for _, r := range q.parts {
		r.paint(i)
	}
}

// treemap draws the parts as rectangles of their size.
func (p *plot) treemap() error {
	root, err := p.tree()
	if err != nil {
		return err
	}
	p.tiles(root, root.value, 0, 0, width, float64(p.height), 0)
	return nil
}

func (p *plot) tiles(at *part, whole, x, y, w, h float64, depth int) {
	if len(at.parts) == 0 || w < 2 || h < 2 {
		return
	}
	// Squarified: parts are put in rows along the shorter side while that makes
	// them more square.
	rest := at.parts
	total := at.value
	for len(rest) > 0 && w > 1 && h > 1 {
		n := rowOf(rest, total, w, h)
		sum := 0.0
		for _, q := range rest[:n] {
			sum += q.value
		}
		thick := sum / total * max(w, h)
		along := 0.0
		for _, q := range rest[:n] {
			part := q.value / sum * min(w, h)
			if w >= h {
				p.tile(q, whole, x, y+along, thick, part, depth)
			} else {
				p.tile(q, whole, x+along, y, part, thick, depth)
			}
			along += part
		}
		if w >= h {
			x, w = x+thick, w-thick
		} else {
			y, h = y+thick, h-thick
		}
		total -= sum
		rest = rest[n:]
	}
}

// rowOf returns how many of the parts stand in the next row.
func rowOf(rest []*part, total, w, h float64) int {
	if total <= 0 {
		return len(rest)
	}
	short := min(w, h)
	best := math.Inf(1)
	sum := 0.0
	for n, q := range rest {
		sum += q.value
		thick := sum / total * max(w, h)
		worst := 1.0
		for _, r := range rest[:n+1] {
			side := r.value / sum * short
			if side > 0 && thick > 0 {
				worst = max(worst, max(side/thick, thick/side))
			}
		}
		if worst > best {
			return n
		}
		best = worst
	}
	return len(rest)
}

func (p *plot) tile(q *part, whole, x, y, w, h float64, depth int) {
	tip := fmt.Sprintf("%s: %s, %s", q.path, p.value(q.value), percent(q.value/whole))
	p.rect(x+0.5, y+0.5, w-1, h-1, "q-tile "+colour("f", q.first), tip)
	label := h > 18 && w > 24
	if label {
		p.text(x+5, y+14, "start", "q-tile-name", fit(q.name, w-8))
	}
	if len(q.parts) > 0 && depth < 3 && w > 12 && h > 26 {
		p.tiles(q, whole, x+3, y+19, w-6, h-22, depth+1)
	} else if label && h > 34 {
		p.text(x+5, y+29, "start", "q-tile-name", fit(p.value(q.value), w-8))
	}
}

func percent(v float64) string { return fmt.Sprintf("%.3g %%", v*100) }

// sunburst draws the parts as rings.
func (p *plot) sunburst() error {
	root, err := p.tree()
	if err != nil {
		return err
	}
	p.height = max(p.height, 420)
	depth := deep(root)
	ring := (float64(p.height)/2 - 10) / (float64(depth) + 0.6)
	p.ring(root, root.value, -math.Pi/2, 2*math.Pi, ring*0.6, ring)
	p.text(width/2, float64(p.height)/2+4, "middle", "q-axis", fit(p.value(root.value), ring*1.1))
	return nil
}

func deep(q *part) int {
	d := 0
	for _, r := range q.parts {
		d = max(d, 1+deep(r))
	}
	return d
}

func (p *plot) ring(at *part, whole, from, sweep, inner, ring float64) {
	cx, cy := float64(width)/2, float64(p.height)/2
	for _, q := range at.parts {
		turn := sweep * q.value / at.value
		if turn < 0.004 {
			from += turn
			continue
		}
		outer := inner + ring
		to := from + min(turn, 2*math.Pi-0.0001)
		large := 0
		if turn > math.Pi {
			large = 1
		}
		d := fmt.Sprintf("M%s %sA%s %s 0 %d 1 %s %sL%s %sA%s %s 0 %d 0 %s %sZ",
			num(cx+outer*math.Cos(from)), num(cy+outer*math.Sin(from)), num(outer), num(outer), large, num(cx+outer*math.Cos(to)), num(cy+outer*math.Sin(to)),
			num(cx+inner*math.Cos(to)), num(cy+inner*math.Sin(to)), num(inner), num(inner), large, num(cx+inner*math.Cos(from)), num(cy+inner*math.Sin(from)))
		p.shape("path", "q-tile "+colour("f", q.first), `d="`+d+`"`, fmt.Sprintf("%s: %s, %s", q.path, p.value(q.value), percent(q.value/whole)))
		mid := (inner + outer) / 2
		if room := mid * turn; room > 16 {
			a := from + turn/2
			if name := fit(q.name, min(max(room, 0), ring-4)); name != "" {
				p.text(cx+mid*math.Cos(a), cy+mid*math.Sin(a)+4, "middle", "q-tile-name", name)
			}
		}
		p.ring(q, whole, from, turn, outer, ring)
		from += turn
	}
}
