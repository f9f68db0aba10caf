package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A secondsValue is a time span: a number of seconds, as papermill's options
// take it, or a number with a unit ("90s", "1m30s", "2h").
type secondsValue struct {
	d    *time.Duration
	text string
}

func (v *secondsValue) Type() string   { return "SECONDS" }
func (v *secondsValue) String() string { return v.text }

// Set parses the value.
func (v *secondsValue) Set(text string) error {
	d, err := parseSeconds(text)
	if err != nil {
		return err
	}
	*v.d, v.text = d, text
	return nil
}

func parseSeconds(text string) (time.Duration, error) {
	trimmed := strings.TrimSpace(text)
	if n, err := strconv.ParseFloat(trimmed, 64); err == nil {
		const most = float64(math.MaxInt64 / int64(time.Second))
		if math.IsNaN(n) || n > most || n < -most {
			return 0, fmt.Errorf("%q is out of range", text)
		}
		return time.Duration(n * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(trimmed)
	if err != nil {
		return 0, fmt.Errorf(`want a number of seconds, or a time such as "90s" or "1h30m"`)
	}
	return d, nil
}

// A sizeValue is a number of bytes, with an optional unit: B, KB, KiB, MB, MiB,
// GB, GiB (K, M and G alone are KiB, MiB and GiB).
type sizeValue struct {
	bytes *int64
	text  string
}

func (v *sizeValue) Type() string   { return "SIZE" }
func (v *sizeValue) String() string { return v.text }

// Set parses the value.
func (v *sizeValue) Set(text string) error {
	n, err := parseSize(text)
	if err != nil {
		return err
	}
	*v.bytes, v.text = n, text
	return nil
}

var sizeUnits = map[string]float64{
	"": 1, "b": 1,
	"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
	"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
	"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
}

func parseSize(text string) (int64, error) {
	trimmed := strings.TrimSpace(text)
	digits := strings.TrimRightFunc(trimmed, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	unit, known := sizeUnits[strings.ToLower(strings.TrimSpace(trimmed[len(digits):]))]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !known || n < 0 {
		return 0, fmt.Errorf(`want a size such as 500000, "64MiB" or "1GB"`)
	}
	if n*unit >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is out of range", text)
	}
	return int64(n * unit), nil
}

// sizeText writes a number of bytes for a person.
func sizeText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// A switchValue is one side of a pair of flags such as --progress-bar and
// --no-progress-bar. The one given last wins.
type switchValue struct {
	target **bool
	to     bool
}

func (v switchValue) Type() string     { return "bool" }
func (v switchValue) String() string   { return "" }
func (v switchValue) IsBoolFlag() bool { return true }

// Set sets the target to this side, or to the other when text says false.
func (v switchValue) Set(text string) error {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return fmt.Errorf("it takes no value")
	}
	on = on == v.to
	*v.target = &on
	return nil
}

// switchPair defines the flags yes and no. The target stays nil while neither
// is given. The help text lists yes only, and names no in its text.
func switchPair(flags *pflag.FlagSet, target **bool, yes, no, text string) {
	f := flags.VarPF(switchValue{target, true}, yes, "", text+" (the opposite: --"+no+")")
	f.NoOptDefVal = "true"
	f = flags.VarPF(switchValue{target, false}, no, "", "the opposite of --"+yes)
	f.NoOptDefVal = "true"
	f.Hidden = true
}

// on returns the value of a switch, or otherwise while it was not given.
func on(v *bool, otherwise bool) bool {
	if v == nil {
		return otherwise
	}
	return *v
}

// A choiceValue is one of a few words, in papermill's spelling.
type choiceValue struct {
	text *string
	want []string
}

func (v *choiceValue) Type() string { return strings.Join(v.want, "|") }
func (v *choiceValue) String() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// Set takes one of the words, exactly.
func (v *choiceValue) Set(text string) error {
	for _, w := range v.want {
		if w == text {
			*v.text = text
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(v.want, ", "))
}
