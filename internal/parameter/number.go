package parameter

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// maxIntDigits is the most digits an integer may have in text; Python's int has
// the same limit.
const maxIntDigits = 4300

var (
	pyIntForm   = regexp.MustCompile(`^[-+]?[0-9]+(?:_[0-9]+)*$`)
	pyFloatForm = regexp.MustCompile(`^[-+]?(?:(?:[0-9]+(?:_[0-9]+)*\.?(?:[0-9]+(?:_[0-9]+)*)?|\.[0-9]+(?:_[0-9]+)*)(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?|(?i:inf|infinity|nan))$`)
)

// parsePyInt reads text as Python's int(text) does.
func parsePyInt(text string) (Value, bool) {
	t := asciiDigits(strings.TrimFunc(text, isPySpace))
	if !pyIntForm.MatchString(t) {
		return Value{}, false
	}
	t = strings.ReplaceAll(t, "_", "")
	if i, err := strconv.ParseInt(t, 10, 64); err == nil {
		return Int(i), true
	}
	if len(strings.TrimLeft(t, "+-")) > maxIntDigits {
		return Value{}, false
	}
	n, ok := new(big.Int).SetString(t, 10)
	return BigInt(n), ok
}

// parsePyFloat reads text as Python's float(text) does; digits beyond
// maxIntDigits make it no number rather than an infinity.
func parsePyFloat(text string) (float64, bool) {
	t := asciiDigits(strings.TrimFunc(text, isPySpace))
	if len(t) > maxIntDigits || !pyFloatForm.MatchString(t) {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(t, "_", ""), 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// isPySpace reports whether Python's number constructors skip r around a number.
func isPySpace(r rune) bool { return unicode.IsSpace(r) }

// asciiDigits replaces every decimal digit of another script by the ASCII one,
// as Python's number constructors read them.
func asciiDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 || !unicode.Is(unicode.Nd, r) {
			return r
		}
		for _, t := range unicode.Nd.R16 {
			if uint32(r) >= uint32(t.Lo) && uint32(r) <= uint32(t.Hi) {
				return '0' + (r-rune(t.Lo))%10
			}
		}
		for _, t := range unicode.Nd.R32 {
			if uint32(r) >= t.Lo && uint32(r) <= t.Hi {
				return '0' + (r-rune(t.Lo))%10
			}
		}
		return r
	}, s)
}

// formatFloat returns f as Python's repr(float) does: the shortest digits that
// read back the same, an exponent below 1e-4 and from 1e16 on.
func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
