package viewer

import (
	"regexp"
	"strings"
	"testing"
)

// chemFormulas are of mhchem's manual and of notebooks, and a part of what each
// must become, without its tags.
var chemFormulas = [][2]string{
	{`CO2 + C -> 2 CO`, "CO2+C→"},
	{`Hg^2+ ->[I-] HgI2 ->[I-] [Hg^{II}I4]^2-`, "[HgIII4]2−"},
	{`H2O`, "H2O"},
	{`Sb2O3`, "Sb2O3"},
	{`[AgCl2]-`, "[AgCl2]−"},
	{`Y^99+`, "Y99+"},
	{`Y^{99+}`, "Y99+"},
	{`H+`, "H+"},
	{`CrO4^2-`, "CrO42−"},
	{`2 H2O`, "2H2O"},
	{`0.5 H2O`, "0.5H2O"},
	{`1/2 H2O`, "12H2O"},
	{`n H2O`, "nH2O"},
	{`nH2O`, "nH2O"},
	{`^{227}_{90}Th+`, "90227Th+"},
	{`^227_90Th+`, "Th+"},
	{`^0_{-1}n^{-}`, "n−"},
	{`_{6}^{14}C`, "C"},
	{`H{}^3HO`, "HO"},
	{`A ->[H2O] B`, "A→H2OB"},
	{`A ->[{text above}][{text below}] B`, "text\u00a0below"},
	{`A ->[\Delta][\text{Pd on C}] B`, "Pd\u00a0on\u00a0C"},
	{`A ->[$x$][$x_i$] B`, "x"},
	{`A <=>> B`, "⥂"},
	{`A <<=> B`, "⥄"},
	{`A <--> B`, "⇄"},
	{`A<->B`, "↔"},
	{`A<=>[k_1][k_{-1}]B`, "⇌"},
	{`(NH4)2S`, "(NH4)2S"},
	{`[\{(X2)3\}2]^3+`, "[{(X2)3}2]3+"},
	{`CH4 + 2 $( O2 + 79/21 N2 )$`, "O"},
	{`H2(aq)`, "(aq)"},
	{`CO3^2-(aq)`, "2−(aq)"},
	{`NaOH(s) -> Na+(aq) + OH-(aq)`, "OH−(aq)"},
	{`OCO^{.-}`, "OCO∙−"},
	{`NO^{(2.)-}`, "NO"},
	{`\mu-Cl`, "μ−Cl"},
	{`[Pt(\eta^2-C2H4)Cl3]-`, "[Pt(η2−C2H4)Cl3]−"},
	{`Fe^{II}Fe^{III}2O4`, "FeIIFe"},
	{`C6H5-CHO`, "C6H5−CHO"},
	{`A-B=C#D`, "A−B=C≡D"},
	{`(CH3-CH2-)2`, "(CH3−CH2−)2"},
	{`-(CH2-CH2)_n-`, "−(CH2−CH2)n−"},
	{`A\bond{~}B\bond{...}C`, "A∼B⋯C"},
	{`KCr(SO4)2*12H2O`, "⋅12H2O"},
	{`CuSO4.5H2O`, "⋅5H2O"},
	{`CuSO4 · 5 H2O`, "⋅5H2O"},
	{`SO4^2- + Ba^2+ -> BaSO4 v`, "BaSO4↓"},
	{`A v B (v) -> B ^ B (^)`, "↑"},
	{`Zn^2+ <=>[+ 2OH-][+ 2H+] $\underset{\text{amphoteric}}{\ce{Zn(OH)2 v}}$ <=>[+ 2OH-][+ 2H+] [Zn(OH)4]^2-`, "amphoteric"},
	{`Zn | Zn^2+ || Cu^2+ | Cu`, "Zn∣Zn2+∥Cu2+∣Cu"},
	{`2e- + 2H+ -> H2`, "2e−+2H+→H2"},
	{`pH`, "pH"},
	{`C2H5OH ->[H2SO4, 170 °C] C2H4 + H2O`, "H2SO4,170°C"},
	{`6CO2 + 6H2O ->[light] C6H12O6 + 6O2`, "light"},
	{`\alpha-D-glucose`, "α−D−glucose"},
	{`^{235}_{92}U + ^1_0n -> ^{141}_{56}Ba + ^{92}_{36}Kr + 3^1_0n`, "U+"},
}

var tagOf = regexp.MustCompile(`<[^>]*>`)

func TestMathOfChemistry(t *testing.T) {
	t.Parallel()
	for _, f := range chemFormulas {
		got, ok := mathML(`\ce{`+f[0]+`}`, false)
		if text := tagOf.ReplaceAllString(got, ""); !ok || !strings.Contains(text, f[1]) {
			t.Errorf("%s: %v %q: want %q", f[0], ok, text, f[1])
		}
	}
	for _, tex := range []string{
		`A ->[\href{x}{y}] B`, `A ->[`, `_`, `A^{`, `$x`, `\bond{<b>}`, `\bond`, `A & B`, `A ->[<img src=x onerror=alert(1)>] B`,
		`\ce{A}`, `A ->[{` + strings.Repeat(`{`, 8) + `x` + strings.Repeat(`}`, 8) + `}] B`, `\input{x}`, `A~B`, `{a ->[b}] c`, `A^\href`,
		strings.Repeat("^1", 600), strings.Repeat("->[", 300),
	} {
		got, ok := mathML(`\ce{`+tex+`}`, false)
		if ok {
			t.Errorf("%.60s became %s: want it to stay TeX", tex, got)
		}
	}
	// What may be hostile is escaped, and nests no deeper than other formulas.
	deep := `\ce{$` + strings.Repeat(`\ce{$`, 60) + `x` + strings.Repeat(`$}`, 60) + `$}`
	if _, ok := mathML(deep, false); ok {
		t.Error("sixty formulas in one another became math")
	}
}

func FuzzChemistry(f *testing.F) {
	for _, one := range chemFormulas {
		f.Add(one[0])
	}
	f.Fuzz(func(t *testing.T, src string) {
		got, ok := mathML(`\ce{`+src+`}`, false)
		if !ok {
			return
		}
		for _, tag := range tagOf.FindAllString(got, -1) {
			if strings.Contains(tag, "on") && strings.Contains(tag, "=") && !strings.Contains(tag, "linethickness") && !strings.Contains(tag, "columnalign") {
				t.Errorf("%q gave %q", src, tag)
			}
		}
		if len(got) > 4000*200 {
			t.Errorf("%d bytes became %d", len(src), len(got))
		}
	})
}

func TestMathOfChemistryAndFractions(t *testing.T) {
	t.Parallel()
	for tex, want := range map[string]string{
		`\ce{H2O}`:                        "H",
		`\ce{2H2 + O2 -> 2H2O}`:           "→",
		`\ce{SO4^2-}`:                     "<msubsup>",
		`\ce{Na+}`:                        "<msup>",
		`\ce{Ca(OH)2 <=> Ca^{2+} + 2OH-}`: "⇌",
		`\cancel{x+1}`:                    `<mrow class="q-cancel">`,
		`\frac{\xcancel{ab}}{c}`:          `<mrow class="q-xcancel">`,
		`\genfrac{(}{)}{0pt}{}{n}{k}`:     `<mfrac linethickness="0">`,
		`\genfrac{[}{.}{1pt}{0}{a}{b}`:    "[",
		`\genfrac{}{}{}{}{a}{b}`:          "<mfrac>",
	} {
		got, ok := mathML(tex, false)
		if !ok || !strings.Contains(got, want) {
			t.Errorf("%s: %v %s: want %s", tex, ok, got, want)
		}
	}
	for _, tex := range []string{
		`\ce{<script>}`, `\ce{A \href{x}{y}}`, `\ce{}{`, `\ce`, `\cancel`, `\ce{` + strings.Repeat("H2", 600) + `}`,
		`\genfrac{(}{)}{1pt;x}{}{n}{k}`, `\genfrac{(((}{)}{}{}{n}{k}`, `\genfrac{(}{)}{}{9}{n}{k}`, `\genfrac{}{}{}`,
	} {
		if got, ok := mathML(tex, false); ok {
			t.Errorf("%.80s became %.200s: want it to stay TeX", tex, got)
		}
	}
}

func TestDollarsInsideOfChemistry(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		`a $\ce{A ->[$x$] B}$ b`:  `\ce{A ->[$x$] B}`,
		`a $\text{if $y$} z$ b`:   `\text{if $y$} z`,
		`a $\ce{A ->[$x] B$ b`:    `\ce{A ->[`,
		`costs $5 or $x_1$ {$y$}`: `x_1`,
	} {
		for i := strings.IndexByte(src, '$'); ; i++ {
			if i >= len(src) {
				t.Errorf("%s holds no formula", src)
				break
			}
			if end, tex, _ := formulaAt(src, i); end > 0 {
				if tex != want {
					t.Errorf("%s: %q, want %q", src, tex, want)
				}
				break
			}
		}
	}
}
