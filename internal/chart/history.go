package chart

import (
	"fmt"
	"math"
)

// A Mark is one thing that happened: how long it took, how it ended.
type Mark struct {
	Value float64 // NaN or below zero is none yet
	// State is "ok", "bad", "warn" or "busy"; it gives the colour.
	State string
	// Sign stands over the bar, so that the state is not told by colour alone.
	Sign  string
	Label string // for who points at it, and who cannot see it
	Link  string // one of our own addresses; "" for none
	When  string // below the first and the last bar
}

// History draws what happened, oldest first, as bars of their value that lead to
// their pages. value writes a value.
func History(title string, marks []Mark, value func(float64) string) Picture {
	p := &plot{height: 150, right: 8, top: 18, bottom: 22, title: title, o: Options{Value: value}}
	most := 0.0
	for _, m := range marks {
		if !math.IsNaN(m.Value) {
			most = max(most, m.Value)
		}
	}
	if most == 0 {
		most = 1
	}
	s := linear(0, most, p.y0(), p.top, 3)
	s.hi = most * 1.02
	p.left = 12
	for _, v := range []float64{most / 2, most} {
		p.left = max(p.left, wide(value(v))+14)
	}
	for _, v := range []float64{0, most / 2, most} {
		p.line(p.left, s.at(v), p.x1(), s.at(v), "q-grid")
		if v > 0 {
			p.text(p.left-6, s.at(v)+4, "end", "q-tick", value(v))
		}
	}
	band := min((p.x1()-p.left)/float64(max(len(marks), 1)), 26)
	for i, m := range marks {
		x := p.left + band*float64(i)
		v := m.Value
		if math.IsNaN(v) || v < 0 {
			v = 0
		}
		if m.Link != "" {
			p.b.WriteString(`<a href="` + esc(m.Link) + `" aria-label="` + esc(m.Label) + `">`)
		}
		p.rect(x+1, s.at(v)-2, max(band-2, 2), p.y0()-s.at(v)+2, "q-m-"+m.State, m.Label)
		if m.Sign != "" && band >= 7 {
			p.text(x+band/2, s.at(v)-5, "middle", "q-t-"+m.State, m.Sign)
		}
		if m.Link != "" {
			p.b.WriteString("</a>")
		}
	}
	p.line(p.left, p.y0(), p.x1(), p.y0(), "q-base")
	if n := len(marks); n > 0 {
		p.text(p.left, p.y0()+16, "start", "q-tick", marks[0].When)
		if end := p.left + band*float64(n); n > 1 && marks[n-1].When != marks[0].When && end > p.left+150 {
			p.text(end, p.y0()+16, "end", "q-tick", marks[n-1].When)
		}
	}
	// The bars are links of their own: the picture is no single image.
	svg := fmt.Sprintf(`<svg class="q-svg" viewBox="0 0 %d %d" role="group" aria-label="%s">%s</svg>`, width, p.height, esc(title), p.b.String())
	return Picture{SVG: svg, Title: title}
}
