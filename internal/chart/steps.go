package chart

import (
	"cmp"
	"fmt"
	"slices"
)

// A Step is one box of a graph of steps.
type Step struct {
	Name  string
	After []string // steps whose boxes lead to it; unknown ones are left out
	// State is "ok", "bad", "warn", "busy" or "" for none; it gives the colour.
	State string
	Sign  string // before the name, so that the state is not told by colour alone
	Note  string // below the name, in a few words
	Label string // for who points at it, and who cannot see it
	Link  string // one of our own addresses; "" for none
	// Edge is written on the lines that lead to it, "failed"; such lines are dashed.
	Edge string
}

const (
	boxWide, boxHigh = 168.0, 44.0
	gapWide, gapHigh = 64.0, 18.0
)

// A place is where a step, or a line that passes, is drawn.
type place struct {
	step  int // index of the step; -1 for a line that passes
	rank  int
	order float64
	x, y  float64
}

// A link is a piece of a line between two places of neighbouring ranks.
type link struct {
	from, to int
	last     bool // it ends at a step
}

// Steps draws steps as boxes from left to right, each behind those that it comes
// after. Steps that come after each other in a circle are drawn side by side.
func Steps(title string, steps []Step) Picture {
	places, links := arrange(steps)
	wide, high := 0.0, 0.0
	for i := range places {
		wide, high = max(wide, places[i].x+boxWide), max(high, places[i].y+boxHigh)
	}
	p := &plot{}
	named := map[int]bool{} // steps whose lines say under which condition they are
	for _, l := range links {
		p.stepLink(steps, places, links, l, l.last && !named[l.to])
		named[l.to] = named[l.to] || l.last
	}
	for _, at := range places {
		if at.step >= 0 {
			p.stepBox(steps[at.step], at.x, at.y)
		}
	}
	// It stands in its own size: the page scrolls where it is wider.
	svg := fmt.Sprintf(`<svg class="q-steps" viewBox="-4 -4 %s %s" width="%s" height="%s" role="group" aria-label="%s">%s</svg>`,
		num(wide+8), num(high+8), num(wide+8), num(high+8), esc(title), p.b.String())
	return Picture{SVG: svg, Title: title}
}

// arrange finds the place of each step: its rank is one more than that of the
// last step before it, and within a rank lines cross little.
func arrange(steps []Step) ([]place, []link) {
	at := map[string]int{}
	for i, s := range steps {
		at[s.Name] = i
	}
	ranks := make([]int, len(steps))
	for range steps { // as many rounds as the longest way
		changed := false
		for i, s := range steps {
			for _, before := range s.After {
				if b, ok := at[before]; ok && b != i && ranks[i] < ranks[b]+1 && ranks[b]+1 < len(steps) {
					ranks[i], changed = ranks[b]+1, true
				}
			}
		}
		if !changed {
			break
		}
	}
	var places []place
	for i := range steps {
		places = append(places, place{step: i, rank: ranks[i]})
	}
	var links []link
	for i, s := range steps {
		for _, before := range s.After {
			b, ok := at[before]
			if !ok || ranks[b] >= ranks[i] {
				continue
			}
			from := b
			for rank := ranks[b] + 1; rank < ranks[i]; rank++ {
				places = append(places, place{step: -1, rank: rank})
				links = append(links, link{from: from, to: len(places) - 1})
				from = len(places) - 1
			}
			links = append(links, link{from: from, to: i, last: true})
		}
	}
	order(places, links)
	return places, links
}

// order puts the places of each rank where the middle of their neighbours is, and
// gives them their coordinates.
func order(places []place, links []link) {
	byRank := map[int][]int{}
	most := 0
	for i, p := range places {
		byRank[p.rank] = append(byRank[p.rank], i)
		most = max(most, p.rank)
	}
	number := func(rank int) {
		for n, i := range byRank[rank] {
			places[i].order = float64(n)
		}
	}
	for rank := range most + 1 {
		number(rank)
	}
	sort := func(rank int, forward bool) {
		middle := map[int]float64{}
		for _, i := range byRank[rank] {
			sum, n := 0.0, 0
			for _, l := range links {
				switch {
				case forward && l.to == i:
					sum, n = sum+places[l.from].order, n+1
				case !forward && l.from == i:
					sum, n = sum+places[l.to].order, n+1
				}
			}
			middle[i] = places[i].order
			if n > 0 {
				middle[i] = sum / float64(n)
			}
		}
		slices.SortStableFunc(byRank[rank], func(a, b int) int { return cmp.Compare(middle[a], middle[b]) })
		number(rank)
	}
	const sweeps = 4
	for range sweeps {
		for rank := 1; rank <= most; rank++ {
			sort(rank, true)
		}
		for rank := most - 1; rank >= 0; rank-- {
			sort(rank, false)
		}
	}
	tallest := 0
	for _, all := range byRank {
		tallest = max(tallest, len(all))
	}
	for rank, all := range byRank {
		top := float64(tallest-len(all)) * (boxHigh + gapHigh) / 2
		for n, i := range all {
			places[i].x = float64(rank) * (boxWide + gapWide)
			places[i].y = top + float64(n)*(boxHigh+gapHigh)
		}
	}
}

func (p *plot) stepLink(steps []Step, places []place, links []link, l link, name bool) {
	a, b := places[l.from], places[l.to]
	x1, y1 := a.x+boxWide, a.y+boxHigh/2
	x2, y2 := b.x, b.y+boxHigh/2
	class := "q-step-line"
	end := l.to // where the line ends, over all places that it passes
	for places[end].step < 0 {
		end = links[slices.IndexFunc(links, func(o link) bool { return o.from == end })].to
	}
	edge := steps[places[end].step].Edge
	if edge != "" {
		class += " q-dashed"
	}
	half := (x2 - x1) / 2
	d := fmt.Sprintf("M%s %sC%s %s %s %s %s %s", num(x1), num(y1), num(x1+half), num(y1), num(x2-half), num(y2), num(x2), num(y2))
	if a.step < 0 { // the line goes through the column that it passes
		d = fmt.Sprintf("M%s %sH%s", num(a.x), num(y1), num(x1)) + d
	}
	p.shape("path", class, `d="`+d+`"`, "")
	if l.last {
		p.shape("path", "q-step-head", fmt.Sprintf(`d="M%s %sl-8 -4v8z"`, num(x2), num(y2)), "")
	}
	if edge != "" && name {
		p.text(x2-4, y2-boxHigh/2-2, "end", "q-tick", "if "+edge)
	}
}

func (p *plot) stepBox(s Step, x, y float64) {
	if s.Link != "" {
		p.b.WriteString(`<a href="` + esc(s.Link) + `" aria-label="` + esc(s.Label) + `">`)
	} else {
		p.b.WriteString(`<g role="img" aria-label="` + esc(s.Label) + `">`)
	}
	class := "q-step"
	if s.State != "" {
		class += " q-step-" + s.State
	}
	p.shape("rect", class, fmt.Sprintf(`x="%s" y="%s" width="%s" height="%s" rx="6"`, num(x), num(y), num(boxWide), num(boxHigh)), s.Label)
	at := y + boxHigh/2 + 4.5
	if s.Note != "" {
		at = y + 18
	}
	name := x + 12
	if s.Sign != "" {
		p.b.WriteString(`<g aria-hidden="true">`)
		p.text(x+10, at, "start", "q-t-"+s.State, s.Sign)
		p.b.WriteString("</g>")
		name = x + 28
	}
	p.text(name, at, "start", "q-step-name", fit(s.Name, boxWide-(name-x)-8))
	if s.Note != "" {
		p.b.WriteByte(' ') // or both read as one word
		p.text(x+28, y+34, "start", "q-tick", fit(s.Note, boxWide-36))
	}
	if s.Link != "" {
		p.b.WriteString("</a>")
	} else {
		p.b.WriteString("</g>")
	}
}
