package chart

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"quire/internal/problem"
)

// Bounds of a map.
const (
	maxFeatures = 5000
	maxVertices = 100_000
	maxGeoBytes = 8 << 20
)

type geoObject struct {
	Type        string                     `json:"type"`
	Features    []geoObject                `json:"features"`
	Geometry    *geoObject                 `json:"geometry"`
	Geometries  []geoObject                `json:"geometries"`
	Coordinates json.RawMessage            `json:"coordinates"`
	Properties  map[string]json.RawMessage `json:"properties"`
}

// A geoShape is one ring, line or point.
type geoShape struct {
	points [][2]float64
	closed bool
	holes  [][][2]float64
	tip    string
}

// Map draws the shapes of GeoJSON as they lie, with degrees for coordinates;
// there is no map below them, which would have to be loaded from elsewhere.
func Map(data []byte) (Picture, error) {
	if len(data) > maxGeoBytes {
		return Picture{}, problem.New(problem.TooLarge, "the GeoJSON is %d MB: at most %d MB are drawn", len(data)>>20, maxGeoBytes>>20)
	}
	var root geoObject
	if err := json.Unmarshal(data, &root); err != nil {
		return Picture{}, problem.WrapAs(problem.Invalid, err, "reading GeoJSON")
	}
	g := &geo{}
	g.collect(root, "", 0)
	if len(g.shapes) == 0 {
		return Picture{}, problem.New(problem.Invalid, "the GeoJSON has no shapes")
	}
	p := &plot{height: 420, title: fmt.Sprintf("Map of %d shapes", len(g.shapes))}
	if len(g.shapes) == 1 {
		p.title = "Map of one shape"
	}
	if g.cut {
		p.note("The map has more shapes than are drawn.")
	}
	g.draw(p)
	return p.picture(), nil
}

type geo struct {
	shapes   []geoShape
	vertices int
	features int
	cut      bool
}

func (g *geo) collect(o geoObject, tip string, depth int) {
	if depth > 8 || g.cut {
		return
	}
	switch o.Type {
	case "FeatureCollection":
		for _, f := range o.Features {
			if g.features++; g.features > maxFeatures {
				g.cut = true
				return
			}
			g.collect(f, "", depth+1)
		}
	case "Feature":
		if o.Geometry != nil {
			g.collect(*o.Geometry, featureName(o.Properties), depth+1)
		}
	case "GeometryCollection":
		for _, f := range o.Geometries {
			g.collect(f, tip, depth+1)
		}
	case "Point":
		g.point(o.Coordinates, tip)
	case "MultiPoint", "LineString":
		var pts [][]float64
		if json.Unmarshal(o.Coordinates, &pts) == nil {
			if o.Type == "LineString" {
				g.add(geoShape{points: g.places(pts), tip: tip})
				return
			}
			for _, pt := range pts {
				g.add(geoShape{points: g.places([][]float64{pt}), tip: tip})
			}
		}
	case "MultiLineString", "Polygon":
		var rings [][][]float64
		if json.Unmarshal(o.Coordinates, &rings) == nil {
			g.rings(rings, o.Type == "Polygon", tip)
		}
	case "MultiPolygon":
		var polygons [][][][]float64
		if json.Unmarshal(o.Coordinates, &polygons) == nil {
			for _, rings := range polygons {
				g.rings(rings, true, tip)
			}
		}
	}
}

func (g *geo) point(raw json.RawMessage, tip string) {
	var pt []float64
	if json.Unmarshal(raw, &pt) == nil {
		g.add(geoShape{points: g.places([][]float64{pt}), tip: tip})
	}
}

func (g *geo) rings(rings [][][]float64, polygon bool, tip string) {
	if !polygon {
		for _, line := range rings {
			g.add(geoShape{points: g.places(line), tip: tip})
		}
		return
	}
	if len(rings) == 0 {
		return
	}
	s := geoShape{points: g.places(rings[0]), closed: true, tip: tip}
	for _, hole := range rings[1:] {
		s.holes = append(s.holes, g.places(hole))
	}
	g.add(s)
}

func (g *geo) add(s geoShape) {
	if len(s.points) > 0 {
		g.shapes = append(g.shapes, s)
	}
}

func (g *geo) places(pts [][]float64) [][2]float64 {
	var out [][2]float64
	for _, pt := range pts {
		if len(pt) < 2 || math.Abs(pt[0]) > 1e9 || math.Abs(pt[1]) > 1e9 {
			continue
		}
		if g.vertices++; g.vertices > maxVertices {
			g.cut = true
			return out
		}
		out = append(out, [2]float64{pt[0], pt[1]})
	}
	return out
}

// featureName returns what a feature is called.
func featureName(properties map[string]json.RawMessage) string {
	for _, key := range []string{"name", "NAME", "title", "label", "id"} {
		var v any
		if raw, ok := properties[key]; ok && json.Unmarshal(raw, &v) == nil && v != nil {
			_, s, _, _ := read(v)
			return s
		}
	}
	return ""
}

func (g *geo) draw(p *plot) {
	var xs, ys []float64
	for _, s := range g.shapes {
		for _, pt := range s.points {
			xs, ys = append(xs, pt[0]), append(ys, pt[1])
		}
	}
	x0, x1, _ := extent(xs)
	y0, y1, _ := extent(ys)
	// A degree of longitude is shorter away from the equator.
	squeeze := math.Cos((y0 + y1) / 2 * math.Pi / 180)
	if math.Abs(y0) > 90 || math.Abs(y1) > 90 || squeeze < 0.1 {
		squeeze = 1
	}
	w, h := max((x1-x0)*squeeze, 1e-9), max(y1-y0, 1e-9)
	if x1 == x0 && y1 == y0 {
		w, h = 1, 1
	}
	p.height = int(min(max(float64(width)*h/w, 200), 520))
	fitIn := min((width-40)/w, (float64(p.height)-40)/h)
	ox, oy := (width-w*fitIn)/2, (float64(p.height)-h*fitIn)/2
	at := func(pt [2]float64) string {
		return num(ox+(pt[0]-x0)*squeeze*fitIn) + " " + num(float64(p.height)-oy-(pt[1]-y0)*fitIn)
	}
	for i, s := range g.shapes {
		if len(s.points) == 1 {
			c := strings.SplitN(at(s.points[0]), " ", 2)
			p.shape("circle", "q-point "+colour("f", 1), `cx="`+c[0]+`" cy="`+c[1]+`" r="4"`, s.tip)
			continue
		}
		var d strings.Builder
		for _, ring := range append([][][2]float64{s.points}, s.holes...) {
			pen := "M"
			for _, pt := range ring {
				d.WriteString(pen + at(pt))
				pen = "L"
			}
			if s.closed {
				d.WriteString("Z")
			}
		}
		class := "q-line " + colour("s", 0)
		if s.closed {
			class = "q-tile " + colour("f", i)
		}
		p.shape("path", class, `fill-rule="evenodd" d="`+d.String()+`"`, s.tip)
	}
}
