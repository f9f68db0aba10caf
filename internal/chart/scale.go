package chart

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A scale maps values to places.
type scale struct {
	lo, hi float64 // values
	a, b   float64 // places of them
	ticks  []float64
	format func(float64) string
}

func (s scale) at(v float64) float64 {
	if s.hi == s.lo {
		return (s.a + s.b) / 2
	}
	return s.a + (v-s.lo)/(s.hi-s.lo)*(s.b-s.a)
}

// extent returns the least and the greatest of the numbers; ok is false when
// there are none.
func extent(lists ...[]float64) (lo, hi float64, ok bool) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, l := range lists {
		for _, v := range l {
			if !math.IsNaN(v) {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
	}
	return lo, hi, lo <= hi
}

// linear returns a scale with round ticks that holds lo and hi.
func linear(lo, hi, a, b float64, want int) scale {
	if lo == hi {
		pad := max(math.Abs(lo)*0.1, 0.5)
		lo, hi = lo-pad, hi+pad
	}
	step := niceStep((hi - lo) / float64(want))
	lo, hi = math.Floor(lo/step+1e-9)*step, math.Ceil(hi/step-1e-9)*step
	s := scale{lo: lo, hi: hi, a: a, b: b, format: numberForm(step, max(math.Abs(lo), math.Abs(hi)))}
	for i := 0; i <= 50; i++ {
		v := lo + float64(i)*step
		if v > hi+step/2 {
			break
		}
		s.ticks = append(s.ticks, v)
	}
	return s
}

// niceStep returns 1, 2 or 5 times a power of ten that is not below step.
func niceStep(step float64) float64 {
	if step <= 0 || math.IsInf(step, 0) || math.IsNaN(step) {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(step)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= step*0.999 {
			return m * p
		}
	}
	return 10 * p
}

// numberForm returns how the numbers of an axis with such steps, up to top, are
// written.
func numberForm(step, top float64) func(float64) string {
	unit, sign := 1.0, ""
	for _, u := range []struct {
		of   float64
		sign string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if step >= u.of/10 && top >= u.of*10 || step >= u.of {
			unit, sign = u.of, u.sign
			break
		}
	}
	digits := 0
	for s := step / unit; digits < 12 && math.Abs(s-math.Round(s)) > 1e-6; digits++ {
		s *= 10
	}
	return func(v float64) string {
		if v == 0 {
			return "0"
		}
		if math.Abs(v) >= 1e15 || math.Abs(v) < 1e-9 {
			return strconv.FormatFloat(v, 'g', 3, 64)
		}
		if digits == 0 {
			return grouped(strconv.FormatFloat(v/unit, 'f', 0, 64)) + sign
		}
		return strconv.FormatFloat(v/unit, 'f', digits, 64) + sign
	}
}

// exact writes a number as a person reads it.
func exact(v float64) string {
	if math.IsNaN(v) {
		return "none"
	}
	if a := math.Abs(v); a != 0 && (a >= 1e15 || a < 1e-4) {
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
	if v == math.Trunc(v) {
		return grouped(strconv.FormatFloat(v, 'f', 0, 64))
	}
	text := strconv.FormatFloat(v, 'g', 6, 64)
	if !strings.ContainsAny(text, "e") {
		whole, part, _ := strings.Cut(text, ".")
		if part != "" {
			part = "." + part
		}
		return grouped(whole) + part
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// grouped puts commas between thousands.
func grouped(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// timeSteps are the distances of ticks on an axis of times; months and years
// follow.
var timeSteps = []time.Duration{
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute,
	15 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour,
}

// timely returns a scale of times in milliseconds.
func timely(lo, hi, a, b float64, want int) scale {
	if lo == hi {
		lo, hi = lo-1800e3, hi+1800e3
	}
	s := scale{lo: lo, hi: hi, a: a, b: b}
	for _, step := range timeSteps {
		ms := float64(step.Milliseconds())
		if (hi-lo)/ms > float64(want) {
			continue
		}
		for v := math.Ceil(lo/ms) * ms; v <= hi; v += ms {
			s.ticks = append(s.ticks, v)
		}
		s.format = timeForm(step)
		return s
	}
	months := niceMonths((hi - lo) / (30.44 * 864e5) / float64(want))
	for t := time.UnixMilli(int64(lo)).UTC(); len(s.ticks) < 50; {
		month := (t.Year()*12 + int(t.Month()) - 1) / months * months
		at := time.Date(month/12, time.Month(month%12+1), 1, 0, 0, 0, 0, time.UTC)
		if v := float64(at.UnixMilli()); v > hi {
			break
		} else if v >= lo {
			s.ticks = append(s.ticks, v)
		}
		t = at.AddDate(0, months, 0)
	}
	s.format = func(v float64) string {
		if months >= 12 {
			return time.UnixMilli(int64(v)).UTC().Format("2006")
		}
		return time.UnixMilli(int64(v)).UTC().Format("Jan 2006")
	}
	return s
}

func niceMonths(want float64) int {
	for _, m := range []int{1, 3, 6, 12, 24, 60, 120, 240, 600, 1200} {
		if float64(m) >= want {
			return m
		}
	}
	return 12000
}

func timeForm(step time.Duration) func(float64) string {
	form := "Jan 2"
	switch {
	case step < time.Second:
		form = "15:04:05.000"
	case step < time.Minute:
		form = "15:04:05"
	case step < 12*time.Hour:
		form = "15:04"
	case step == 12*time.Hour:
		form = "Jan 2 15:04"
	}
	return func(v float64) string {
		if int64(v)%(24*3600*1000) == 0 {
			return time.UnixMilli(int64(v)).UTC().Format("Jan 2") // midnight is a new day
		}
		return time.UnixMilli(int64(v)).UTC().Format(form)
	}
}

// scaleOf returns the scale of a column's values: of times or of numbers.
func scaleOf(c *Column, rows []int, a, b float64, want int) (scale, bool) {
	vals := c.Num
	if rows != nil {
		vals = make([]float64, len(rows))
		for i, r := range rows {
			vals[i] = c.Num[r]
		}
	}
	lo, hi, ok := extent(vals)
	if !ok {
		return scale{}, false
	}
	if c.Kind == Time {
		return timely(lo, hi, a, b, want), true
	}
	return linear(lo, hi, a, b, want), true
}

// quantile returns the q-th part of sorted numbers, between two where it falls
// between two.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// sum makes one value of several; NaN of none.
func sum(how string, vals []float64) float64 {
	if how == "count" {
		return float64(len(vals))
	}
	vals = slices.DeleteFunc(slices.Clone(vals), math.IsNaN)
	if len(vals) == 0 {
		return math.NaN()
	}
	total := 0.0
	for _, v := range vals {
		total += v
	}
	switch how {
	case "mean":
		return total / float64(len(vals))
	case "median":
		slices.Sort(vals)
		return quantile(vals, 0.5)
	case "min":
		return slices.Min(vals)
	case "max":
		return slices.Max(vals)
	}
	return finite(total)
}
