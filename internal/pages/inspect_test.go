package pages

import (
	"strings"
	"testing"
)

func TestSetDefault(t *testing.T) {
	t.Parallel()
	const cell = "country: str = \"US\"  # ISO code\ndays = 28\nfrom_day: date = \"2018-05-08\"\nbig = days * 2\nwanted: Literal[\"a\", \"b\"] = \"a\"\non = True\n"
	for _, tt := range []struct{ name, language, source, set, to, want string }{
		{"text", "python", cell, "country", "FR", strings.Replace(cell, `"US"`, `"FR"`, 1)},
		{"quotes", "python", cell, "country", `a"b\`, strings.Replace(cell, `"US"`, `"a\"b\\"`, 1)},
		{"number", "python", cell, "days", "7", strings.Replace(cell, "28", "7", 1)},
		{"choice", "python", cell, "wanted", "b", strings.Replace(cell, `= "a"`, `= "b"`, 1)},
		{"switch", "python", cell, "on", "false", strings.Replace(cell, "True", "False", 1)},
		{"R", "R", "days <- 28\n", "days", "7", "days <- 7\n"},
		{"wrong type", "python", cell, "days", "many", "error: want"},
		{"computed", "python", cell, "big", "7", "error: computed"},
		{"unknown", "python", cell, "nobody", "7", "error: declares no parameter"},
		{"code stays text", "python", cell, "country", `"; import os #`, strings.Replace(cell, `"US"`, `"\"; import os #"`, 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := setDefault(tt.language, tt.source, tt.set, tt.to)
			if want, fails := strings.CutPrefix(tt.want, "error: "); fails {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("got %q and the error %v, want one with %q", got, err, want)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %q and %v, want %q", got, err, tt.want)
			}
		})
	}
}
