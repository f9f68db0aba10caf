package chart

import (
	"fmt"
	"math"
	"slices"
)

// A node is a value that edges lead from or to.
type node struct {
	name    string
	weight  float64
	x, y    float64
	dx, dy  float64
	in, out int
}

// network draws the rows as edges between the values of two columns. Where the
// nodes stand comes of springs and is the same each time.
func (p *plot) network() error {
	from, to := p.t.Column(p.c.X), p.t.Column(p.c.By)
	if from == nil || to == nil {
		return p.lacks("two columns: where edges come from and lead to")
	}
	var y *Column
	if len(p.c.Y) > 0 {
		y = p.t.Column(p.c.Y[0])
	}
	weights := map[[2]string]float64{}
	totals := map[string]float64{}
	var pairs [][2]string
	for r := range p.t.Rows {
		a, b, w := from.Text[r], to.Text[r], 1.0
		if y != nil {
			w = y.Num[r]
		}
		if a == "" || b == "" || math.IsNaN(w) || w <= 0 {
			continue
		}
		pair := [2]string{a, b}
		if _, ok := weights[pair]; !ok {
			pairs = append(pairs, pair)
		}
		weights[pair] += w
		totals[a] += w
		totals[b] += w
	}
	if len(pairs) == 0 {
		return p.lacks("two columns of words")
	}
	p.title = p.c.X + " to " + p.c.By
	nodes, edges := p.nodes(pairs, weights, totals)
	p.height = max(p.height, 460)
	settle(nodes, edges, float64(p.height))
	p.drawNetwork(nodes, edges)
	return nil
}

type edge struct {
	a, b   int
	weight float64
}

func (p *plot) nodes(pairs [][2]string, weights map[[2]string]float64, totals map[string]float64) ([]node, []edge) {
	names := make([]string, 0, len(totals))
	for name := range totals {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if c := compareNum(totals[b], totals[a]); c != 0 {
			return c
		}
		return map[bool]int{true: -1, false: 1}[a < b]
	})
	if len(names) > maxNodes {
		p.note("%d smaller nodes are not shown.", len(names)-maxNodes)
		names = names[:maxNodes]
	}
	at := map[string]int{}
	nodes := make([]node, len(names))
	for i, name := range names {
		at[name] = i
		// A sunflower: no two nodes begin at one place.
		r, a := math.Sqrt(float64(i)+0.5), float64(i)*2.399963
		nodes[i] = node{name: name, weight: totals[name], x: r * math.Cos(a), y: r * math.Sin(a)}
	}
	slices.SortStableFunc(pairs, func(a, b [2]string) int { return compareNum(weights[b], weights[a]) })
	var edges []edge
	for _, pair := range pairs {
		i, ok1 := at[pair[0]]
		j, ok2 := at[pair[1]]
		if ok1 && ok2 && len(edges) < maxEdges {
			edges = append(edges, edge{i, j, weights[pair]})
			nodes[i].out++
			nodes[j].in++
		}
	}
	if len(edges) == maxEdges {
		p.note("Only the %d heaviest edges are shown.", maxEdges)
	}
	return nodes, edges
}

// settle moves the nodes by springs along the edges and pushes between all, and
// fits them into the picture.
func settle(nodes []node, edges []edge, height float64) {
	const rounds = 200
	k := 1.6
	for round := range rounds {
		heat := 2 * (1 - float64(round)/rounds)
		for i := range nodes {
			nodes[i].dx, nodes[i].dy = -nodes[i].x*0.02, -nodes[i].y*0.02
			for j := range nodes {
				if i == j {
					continue
				}
				dx, dy := nodes[i].x-nodes[j].x, nodes[i].y-nodes[j].y
				d := max(dx*dx+dy*dy, 0.01)
				nodes[i].dx += dx / d * k * k
				nodes[i].dy += dy / d * k * k
			}
		}
		for _, e := range edges {
			a, b := &nodes[e.a], &nodes[e.b]
			dx, dy := b.x-a.x, b.y-a.y
			f := math.Hypot(dx, dy) / k * 0.5
			a.dx, a.dy = a.dx+dx*f*0.5, a.dy+dy*f*0.5
			b.dx, b.dy = b.dx-dx*f*0.5, b.dy-dy*f*0.5
		}
		for i := range nodes {
			n := &nodes[i]
			d := max(math.Hypot(n.dx, n.dy), 0.001)
			step := min(d, heat)
			n.x, n.y = n.x+n.dx/d*step, n.y+n.dy/d*step
		}
	}
	var xs, ys []float64
	for _, n := range nodes {
		xs, ys = append(xs, n.x), append(ys, n.y)
	}
	xlo, xhi, _ := extent(xs)
	ylo, yhi, _ := extent(ys)
	sx := scale{lo: xlo, hi: xhi, a: 60, b: width - 60}
	sy := scale{lo: ylo, hi: yhi, a: 30, b: height - 30}
	for i := range nodes {
		nodes[i].x, nodes[i].y = sx.at(nodes[i].x), sy.at(nodes[i].y)
	}
}

func (p *plot) drawNetwork(nodes []node, edges []edge) {
	most, heaviest := 0.0, 0.0
	for _, n := range nodes {
		most = max(most, n.weight)
	}
	for _, e := range edges {
		heaviest = max(heaviest, e.weight)
	}
	for _, e := range edges {
		a, b := nodes[e.a], nodes[e.b]
		class := "q-edge"
		if heaviest > 0 && e.weight > heaviest/3 {
			class += " q-heavy"
		}
		mx, my := (a.x+b.x)/2+(b.y-a.y)*0.12, (a.y+b.y)/2-(b.x-a.x)*0.12
		p.shape("path", class, fmt.Sprintf(`d="M%s %sQ%s %s %s %s"`, num(a.x), num(a.y), num(mx), num(my), num(b.x), num(b.y)),
			fmt.Sprintf("%s to %s: %s", a.name, b.name, p.value(e.weight)))
	}
	for _, n := range nodes {
		series := 0
		if n.in > 0 && n.out == 0 {
			series = 1
		}
		p.circle(n.x, n.y, 4+9*math.Sqrt(n.weight/most), "q-node "+colour("f", series), fmt.Sprintf("%s: %s", n.name, p.value(n.weight)))
	}
	for i, n := range nodes {
		if i < 40 {
			p.text(n.x, n.y-7-9*math.Sqrt(n.weight/most), "middle", "q-tick", fit(n.name, 110))
		}
	}
}
