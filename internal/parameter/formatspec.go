package parameter

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// formatSpec is Python's format specification:
// [[fill]align][sign][z][#][0][width][grouping][.precision][type].
type formatSpec struct {
	fill      rune
	align     byte // one of "<>=^", 0 for the type's own
	sign      byte // one of "+- ", 0
	alternate bool
	// noMinusZero is the flag z: what is rounded to zero has no minus.
	noMinusZero bool
	zero        bool
	width       int
	grouping    string // "", "," or "_"
	precision   int    // -1: none
	typ         byte   // 0: none
}

var specForm = regexp.MustCompile(`^([-+ ])?(z)?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([bcdeEfFgGnosxX%])?$`)

func parseSpec(text string) (formatSpec, error) {
	s := formatSpec{fill: ' ', precision: -1}
	rest, filled := text, false
	if r, n := utf8.DecodeRuneInString(text); len(text) > n && strings.IndexByte("<>=^", text[n]) >= 0 {
		s.fill, s.align, rest, filled = r, text[n], text[n+1:], true
	} else if strings.IndexByte("<>=^", text[0]) >= 0 {
		s.align, rest = text[0], text[1:]
	}
	m := specForm.FindStringSubmatch(rest)
	if m == nil {
		return s, fmt.Errorf("the format %s is not one of Python's", strconv.Quote(shorten(text)))
	}
	if m[1] != "" {
		s.sign = m[1][0]
	}
	s.noMinusZero, s.alternate, s.zero, s.grouping = m[2] != "", m[3] != "", m[4] != "" && !filled, m[6]
	if s.zero {
		s.fill = '0'
	}
	if m[8] != "" {
		s.typ = m[8][0]
	}
	var err error
	if s.width, err = bounded(m[5], 0); err == nil {
		s.precision, err = bounded(m[7], -1)
	}
	return s, err
}

func bounded(digits string, none int) (int, error) {
	if digits == "" {
		return none, nil
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n > maxWidth {
		return 0, fmt.Errorf("a width or precision of %s is over the limit of %d", shorten(digits), maxWidth)
	}
	return n, nil
}

func (s formatSpec) text(v string) (string, error) {
	switch {
	case s.sign != 0:
		return "", errors.New("a string takes no sign")
	case s.alternate:
		return "", errors.New("a string takes no #")
	case s.noMinusZero:
		return "", errors.New("a string takes no z")
	case s.grouping != "":
		return "", errors.New("a string takes no " + s.grouping)
	case s.align == '=':
		return "", errors.New("a string takes no =")
	case s.typ != 0 && s.typ != 's':
		return "", fmt.Errorf("a string takes no format of type %q", s.typ)
	}
	if s.precision >= 0 {
		if r := []rune(v); len(r) > s.precision {
			v = string(r[:s.precision])
		}
	}
	return s.pad("", v, '<'), nil
}

// pad fills up to the width; the sign stays in front with '='.
func (s formatSpec) pad(sign, body string, own byte) string {
	align := s.align
	if align == 0 {
		align = own
	}
	missing := s.width - utf8.RuneCountInString(sign+body)
	if missing <= 0 {
		return sign + body
	}
	fill := func(n int) string { return strings.Repeat(string(s.fill), n) }
	switch align {
	case '<':
		return sign + body + fill(missing)
	case '>':
		return fill(missing) + sign + body
	case '^':
		return fill(missing/2) + sign + body + fill(missing-missing/2)
	default:
		return sign + fill(missing) + body
	}
}

func (s formatSpec) integer(v Value) (string, error) {
	if s.typ != 0 && strings.IndexByte("eEfFgG%", s.typ) >= 0 {
		f, _ := v.AsFloat()
		if math.IsInf(f, 0) {
			return "", errors.New("the integer is too large for a float")
		}
		return s.float(f)
	}
	n, _ := v.AsBigInt()
	switch {
	case s.noMinusZero:
		return "", errors.New("an integer takes no z")
	case s.precision >= 0:
		return "", errors.New("an integer takes no precision")
	case s.typ == 's':
		return "", errors.New("an integer takes no format of type 's'")
	case s.typ == 'c':
		return s.character(n)
	case s.grouping == "," && s.typ != 0 && s.typ != 'd', s.grouping != "" && s.typ == 'n':
		return "", fmt.Errorf("the type %q takes no %q", s.typ, s.grouping)
	}
	base, prefix, every := 10, "", 3
	switch s.typ {
	case 'b':
		base, prefix, every = 2, "0b", 4
	case 'o':
		base, prefix, every = 8, "0o", 4
	case 'x':
		base, prefix, every = 16, "0x", 4
	case 'X':
		base, prefix, every = 16, "0X", 4
	}
	digits := new(big.Int).Abs(n).Text(base)
	if s.typ == 'X' {
		digits = strings.ToUpper(digits)
	}
	sign := s.signOf(n.Sign() < 0)
	if s.alternate {
		sign += prefix
	}
	return s.number(sign, digits, "", every), nil
}

func (s formatSpec) signOf(negative bool) string {
	switch {
	case negative:
		return "-"
	case s.sign == '+' || s.sign == ' ':
		return string(s.sign)
	}
	return ""
}

func (s formatSpec) character(n *big.Int) (string, error) {
	switch {
	case s.sign != 0 || s.grouping != "" || s.alternate:
		return "", errors.New("the type 'c' takes no sign, # or grouping")
	case !n.IsInt64() || n.Int64() < 0 || !utf8.ValidRune(rune(min(n.Int64(), math.MaxInt32))):
		return "", errors.New("the integer is no character")
	}
	own := byte('>')
	if s.zero {
		own = '='
	}
	return s.pad("", string(rune(n.Int64())), own), nil
}

// number puts sign, grouped digits and what follows them together.
func (s formatSpec) number(sign, digits, rest string, every int) string {
	own := byte('>')
	if s.zero && s.align == 0 {
		own = '='
	}
	if s.grouping == "" || digits == "" {
		return s.pad(sign, digits+rest, own)
	}
	least := 0
	if s.fill == '0' && (s.align == '=' || own == '=') {
		least = s.width - len(sign) - len(rest)
	}
	grouped := group(digits, s.grouping, every)
	for len(grouped) < least {
		digits = "0" + digits
		grouped = group(digits, s.grouping, every)
	}
	return s.pad(sign, grouped+rest, own)
}

func group(digits, sep string, every int) string {
	var b strings.Builder
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%every == 0 {
			b.WriteString(sep)
		}
		b.WriteByte(digits[i])
	}
	return b.String()
}

func (s formatSpec) float(f float64) (string, error) {
	switch {
	case s.alternate:
		return "", errors.New("# is not supported for floats")
	case s.typ != 0 && strings.IndexByte("bcdosxX", s.typ) >= 0:
		return "", fmt.Errorf("a float takes no format of type %q", s.typ)
	case s.grouping != "" && s.typ == 'n':
		return "", fmt.Errorf("the type 'n' takes no %q", s.grouping)
	}
	body := s.floatText(math.Abs(f))
	if s.typ == 'E' || s.typ == 'F' || s.typ == 'G' {
		body = strings.ToUpper(body)
	}
	negative := math.Signbit(f) && !math.IsNaN(f)
	if s.noMinusZero && !strings.ContainsAny(body, "123456789iI") {
		negative = false
	}
	sign := s.signOf(negative)
	end := strings.IndexFunc(body, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(body)
	}
	return s.number(sign, body[:end], body[end:], 3), nil
}

// floatText writes a number that is not negative.
func (s formatSpec) floatText(f float64) string {
	suffix := ""
	if s.typ == '%' {
		f, suffix = f*100, "%"
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strings.TrimPrefix(formatFloat(f), "-") + suffix
	}
	precision := s.precision
	if precision < 0 {
		precision = 6
	}
	switch s.typ {
	case 'e', 'E':
		return strconv.FormatFloat(f, 'e', precision, 64)
	case 'f', 'F', '%':
		return strconv.FormatFloat(f, 'f', precision, 64) + suffix
	case 'g', 'G', 'n':
		return general(f, max(precision, 1), 0)
	}
	if s.precision < 0 {
		return formatFloat(f)
	}
	return general(f, max(precision, 1), 1)
}

// general writes f with so many digits as C's %g does. point is 1 for Python's
// format without a type: one digit earlier to the exponent, and never without a
// fraction.
func general(f float64, digits, point int) string {
	text := strconv.FormatFloat(f, 'e', digits-1, 64)
	mantissa, exponent, _ := strings.Cut(text, "e")
	exp, _ := strconv.Atoi(exponent)
	if exp < -4 || exp >= digits-point {
		return trimZeros(mantissa) + "e" + exponent
	}
	out := trimZeros(strconv.FormatFloat(f, 'f', digits-1-exp, 64))
	if point == 1 && !strings.Contains(out, ".") {
		out += ".0"
	}
	return out
}

func trimZeros(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// strftime formats t as C's strftime does in the C locale; a time without zone
// has empty %z and %Z. What it does not know stays as it is.
func strftime(t time.Time, spec string, zoned bool) string {
	var b strings.Builder
	for i := 0; i < len(spec); i++ {
		if spec[i] != '%' || i+1 == len(spec) {
			b.WriteByte(spec[i])
			continue
		}
		i++
		if spec[i] == '-' && i+1 < len(spec) && strings.IndexByte("dmHIMSjUWVyYe", spec[i+1]) >= 0 {
			i++
			text := strings.TrimLeft(directive(t, spec[i], zoned), "0 ")
			if text == "" {
				text = "0"
			}
			b.WriteString(text)
			continue
		}
		b.WriteString(directive(t, spec[i], zoned))
	}
	return b.String()
}

var strftimeLayouts = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'y': "06", 'I': "03", 'p': "PM", 'a': "Mon", 'A': "Monday",
	'b': "Jan", 'h': "Jan", 'B': "January", 'F': "2006-01-02", 'T': "15:04:05", 'X': "15:04:05", 'R': "15:04", 'D': "01/02/06",
	'x': "01/02/06", 'c': "Mon Jan _2 15:04:05 2006", 'r': "03:04:05 PM", 'e': "_2",
}

func directive(t time.Time, c byte, zoned bool) string {
	if layout, ok := strftimeLayouts[c]; ok {
		return t.Format(layout)
	}
	year, week := t.ISOWeek()
	weekday, day := int(t.Weekday()), t.YearDay()-1
	switch c {
	case '%':
		return "%"
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000)
	case 'j':
		return fmt.Sprintf("%03d", t.YearDay())
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100)
	case 'w':
		return strconv.Itoa(weekday)
	case 'u':
		return strconv.Itoa((weekday+6)%7 + 1)
	case 'U':
		return fmt.Sprintf("%02d", (day+7-weekday)/7)
	case 'W':
		return fmt.Sprintf("%02d", (day+7-(weekday+6)%7)/7)
	case 'V':
		return fmt.Sprintf("%02d", week)
	case 'G':
		return fmt.Sprintf("%04d", year)
	case 'g':
		return fmt.Sprintf("%02d", year%100)
	case 'k':
		return fmt.Sprintf("%2d", t.Hour())
	case 'l':
		return fmt.Sprintf("%2d", (t.Hour()+11)%12+1)
	case 'z', 'Z':
		if !zoned {
			return ""
		}
		return t.Format(map[byte]string{'z': "-0700", 'Z': "MST"}[c])
	default:
		return "%" + string(c)
	}
}
