package notebook

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
)

// TestNumbersWithPowers compares numbers that are taken as they are with what
// becomes of them as floats.
func TestNumbersWithPowers(t *testing.T) {
	t.Parallel()
	g := rand.New(rand.NewPCG(3, 3))
	texts := []string{
		"1e-05", "1e-04", "1e5", "1e+15", "1e+16", "1e16", "1E-07", "1e-7", "1e-007", "0e-07", "-0e-07", "-3e-07", "10e-07",
		"1.50e-07", "1.0e-07", "12.5e-07", "1.5e-99", "1.5e+99", "1e-100", "1e+100", "0.5e-07", "1.5e+07", "1.2345678901234567e-07",
		"9.99999999999999e+99", "9.9999999999999999e+22", "1e400", "1e-400",
	}
	for range 200_000 {
		digits := strconv.FormatUint(g.Uint64(), 10)
		digits = digits[:1+g.IntN(len(digits))]
		if len(digits) > 1 && g.IntN(8) > 0 {
			digits = digits[:1] + "." + digits[1:]
		}
		texts = append(texts, fmt.Sprintf("%s%s%02d", digits, []string{"e-", "e+", "e", "E-"}[g.IntN(4)], g.IntN(101)))
	}
	kept := 0
	for _, text := range texts {
		f, _ := strconv.ParseFloat(text, 64)
		want := string(appendFloat(nil, f))
		if got := string(appendNumber(nil, []byte(text))); got != want {
			t.Errorf("%s is written as %s: want %s", text, got, want)
		}
		if isShortPower([]byte(text)) {
			kept++
		}
	}
	if kept < len(texts)/10 {
		t.Errorf("only %d of %d numbers are taken as they are", kept, len(texts))
	}
}
