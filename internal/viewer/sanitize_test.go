package viewer

import (
	"strings"
	"testing"

	nethtml "golang.org/x/net/html"
)

func TestSanitize(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"plain text", "a b", "a b"},
		{"text is escaped", `a < b & "c"`, `a &lt; b &amp; &#34;c&#34;`},
		{"unclosed", "<b>x<i>y", "<b>x<i>y</i></b>"},
		{"not ours to close", "x</div></section>y", "xy"},
		{"crossed", "<b><i>x</b>y</i>", "<b><i>x</i></b>y"},
		{"content of script goes", "a<script>b</script>c", "ac"},
		{"content of a form stays", "<form><input><b>c</b></form>", "<b>c</b>"},
		{"nested svg goes", "a<svg><g><svg></svg><b>x</b></g></svg>c", "ac"},
		{"class by list", `<div class="alert q-head alert-info evil">x</div>`, `<div class="alert alert-info">x</div>`},
		{"id is prefixed once", `<p id="a">x</p><p id="n-a">y</p>`, `<p id="n-a">x</p><p id="n-a">y</p>`},
		{"link inside the page", `<a href="#Some-part">x</a>`, `<a href="#n-Some-part" rel="nofollow noreferrer">x</a>`},
		{"link out", `<a href="https://e.org/?a=1&b=2">x</a>`, `<a href="https://e.org/?a=1&amp;b=2" rel="nofollow noreferrer noopener" target="_blank">x</a>`},
		{"image that would load", `<img src="https://e.org/b.svg" alt="badge">`, `<a href="https://e.org/b.svg" rel="nofollow noreferrer noopener" target="_blank">badge</a>`},
		{"image in the text", `<img src="data:image/png;base64,AA AA" width="10px" onload=x>`, `<img src="data:image/png;base64,AAAA" width="10">`},
		{"table spans", `<table><tr><td colspan=2 rowspan="x" style="a">1`, `<table><tr><td colspan="2">1</td></tr></table>`},
		{"deep", strings.Repeat("<div>", 300) + "x", strings.Repeat("<div>", maxElementDepth) + "x" + strings.Repeat("</div>", maxElementDepth)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := sanitize(tt.in, reference{}); got != tt.want {
				t.Errorf("sanitize(%q)\n got %q\nwant %q", tt.in, got, tt.want)
			}
		})
	}
}

// sanitizeHolds checks the properties that every input must have.
func sanitizeHolds(t *testing.T, in string) {
	t.Helper()
	once := sanitize(in, reference{})
	if twice := sanitize(once, reference{}); twice != once {
		t.Errorf("%q: not its own fixed point:\nonce  %q\ntwice %q", in, once, twice)
	}
	if again := policy().Sanitize(once); again != once {
		t.Errorf("%q: the policy still finds something:\n%q\n%q", in, once, again)
	}
	page := `<!doctype html><html><head></head><body><div id="q-a"><div>` + once + `</div><p id="q-end"></p></div></body></html>`
	for _, f := range faults(page) {
		t.Errorf("%q: %s", in, f)
	}
	doc, err := nethtml.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if attr(n, "id") == "q-end" && attr(n.Parent, "id") != "q-a" {
			t.Errorf("%q: leaves the element that holds it: %q", in, once)
		}
	}
}

func TestSanitizeHolds(t *testing.T) {
	t.Parallel()
	all := payloads(t)
	for i, p := range all {
		sanitizeHolds(t, p)
		sanitizeHolds(t, p+all[(i*7+3)%len(all)])
		sanitizeHolds(t, "<table><tr><td>"+p+"<p>"+all[(i*11+5)%len(all)])
	}
}

func FuzzSanitize(f *testing.F) {
	for _, p := range payloads(f) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) < 4096 {
			sanitizeHolds(t, in)
		}
	})
}

func FuzzMarkdown(f *testing.F) {
	for _, p := range payloads(f) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 4096 {
			return
		}
		out := newScribe(Options{}).markdown(in, nil)
		page := `<!doctype html><html><head></head><body><div id="q-a"><div>` + out + `</div><p id="q-end"></p></div></body></html>`
		for _, fault := range faults(page) {
			t.Errorf("%q: %s", in, fault)
		}
	})
}

func FuzzFormula(f *testing.F) {
	for _, s := range []string{`\frac{a}{b}`, `x_1^2`, `\begin{pmatrix}a&b\\c&d\end{pmatrix}`, `\left( x \right]`, `\text{a b}`, `\sqrt[3]{x}`, `\mathbb{R}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		ml, ok := mathML(in, true)
		if !ok {
			return
		}
		page := `<!doctype html><html><head></head><body><p>` + ml + `</p></body></html>`
		for _, fault := range faults(page) {
			t.Errorf("%q: %s", in, fault)
		}
		if strings.Contains(ml, cellMark) || strings.Contains(ml, rowMark) {
			t.Errorf("%q: a mark is left: %s", in, ml)
		}
	})
}
