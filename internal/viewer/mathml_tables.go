package viewer

import "strings"

var texLetters = words(`
alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ
lambda λ mu μ nu ν xi ξ omicron ο pi π varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς tau τ upsilon υ phi ϕ
varphi φ chi χ psi ψ omega ω Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ
Omega Ω infty ∞ partial ∂ nabla ∇ ell ℓ hbar ℏ imath ı jmath ȷ Re ℜ Im ℑ aleph ℵ emptyset ∅ varnothing ∅
wp ℘ angle ∠ top ⊤ bot ⊥ prime ′ dagger † ddagger ‡ checkmark ✓ degree ° pounds £ S § complement ∁ digamma ϝ varkappa ϰ beth ℶ gimel ℷ hslash ℏ`)

var texOperators = words(`
+ + times × div ÷ pm ± mp ∓ cdot ⋅ ast ∗ star ⋆ circ ∘ bullet ∙ oplus ⊕ ominus ⊖ otimes ⊗ odot ⊙ oslash ⊘
wedge ∧ land ∧ vee ∨ lor ∨ neg ¬ lnot ¬ cap ∩ cup ∪ setminus ∖ uplus ⊎ sqcap ⊓ sqcup ⊔ amalg ⨿
leq ≤ le ≤ geq ≥ ge ≥ neq ≠ ne ≠ equiv ≡ approx ≈ sim ∼ simeq ≃ cong ≅ propto ∝ ll ≪ gg ≫ doteq ≐
prec ≺ succ ≻ preceq ⪯ succeq ⪰ leqslant ⩽ geqslant ⩾ lesssim ≲ gtrsim ≳ asymp ≍ triangleq ≜ coloneqq ≔
in ∈ notin ∉ ni ∋ subset ⊂ supset ⊃ subseteq ⊆ supseteq ⊇ subsetneq ⊊ sqsubseteq ⊑ forall ∀ exists ∃ nexists ∄
to → rightarrow → leftarrow ← gets ← leftrightarrow ↔ Rightarrow ⇒ Leftarrow ⇐ Leftrightarrow ⇔ implies ⟹ impliedby ⟸ iff ⟺
mapsto ↦ longmapsto ⟼ longrightarrow ⟶ longleftarrow ⟵ Longrightarrow ⟹ uparrow ↑ downarrow ↓ updownarrow ↕ hookrightarrow ↪
rightharpoonup ⇀ rightleftharpoons ⇌ nearrow ↗ searrow ↘ leadsto ⇝
ldots … cdots ⋯ vdots ⋮ ddots ⋱ dots … dotsc … dotsb ⋯ colon : mid ∣ nmid ∤ parallel ∥ perp ⊥ models ⊨ vdash ⊢ dashv ⊣
langle ⟨ rangle ⟩ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉ lvert | rvert | vert | lVert ‖ rVert ‖ Vert ‖ | ‖
{ { } } % % _ _ $ $ # # & &amp; backslash \ lbrace { rbrace } lbrack [ rbrack ] therefore ∴ because ∵ square □ Box □ blacksquare ■ triangle △
diamond ⋄ ltimes ⋉ rtimes ⋊ bowtie ⋈ sharp ♯ flat ♭ natural ♮ lt &lt; gt &gt; rightleftarrows ⇄ longleftrightarrow ⟷ Longleftarrow ⟸ Longleftrightarrow ⟺ Uparrow ⇑ Downarrow ⇓ twoheadrightarrow ↠ vDash ⊨ Vdash ⊩ gtreqless ⋛ lessgtr ≶ trianglelefteq ⊴ trianglerighteq ⊵ preccurlyeq ≼ succcurlyeq ≽ supsetneq ⊋ dotplus ∔ vartriangle △ lozenge ◊ bigcirc ◯ bigstar ★ eqsim ≂ gnsim ⋧ dag † ddag ‡`)

var texBig = words(`
sum ∑ prod ∏ coprod ∐ int ∫ iint ∬ iiint ∭ oint ∮ bigcup ⋃ bigcap ⋂ bigvee ⋁ bigwedge ⋀ bigoplus ⨁ bigotimes ⨂ bigsqcup ⨆ biguplus ⨄`)

// texSpaces maps spacing to its width; "" for commands that leave nothing.
var texSpaces = map[string]string{
	",": "0.17em", ":": "0.22em", ">": "0.22em", ";": "0.28em", "!": "-0.17em", " ": "0.33em", "thinspace": "0.17em",
	"quad": "1em", "qquad": "2em", "enspace": "0.5em", "displaystyle": "", "textstyle": "", "scriptstyle": "",
	"scriptscriptstyle": "", "nonumber": "", "notag": "", "displaylimits": "", "allowbreak": "", "hfill": "", "noindent": "", "limits": "", "nolimits": "", "centering": "", "hline": "", "\n": "0.33em",
}

// texFunctions are set upright; true for those whose subscript goes below.
var texFunctions = map[string]bool{
	"sin": false, "cos": false, "tan": false, "cot": false, "sec": false, "csc": false, "arcsin": false, "arccos": false,
	"arctan": false, "sinh": false, "cosh": false, "tanh": false, "coth": false, "log": false, "ln": false, "lg": false,
	"exp": false, "arg": false, "deg": false, "dim": false, "hom": false, "ker": false,
	"lim": true, "limsup": true, "liminf": true, "max": true, "min": true, "sup": true, "inf": true, "det": true, "gcd": true, "Pr": true, "argmax": true, "argmin": true, "bmod": false, "mod": false,
}

// texAccents maps an accent to the rest of its mo element.
var texAccents = map[string]string{
	"hat": ` stretchy="false">^`, "widehat": ` stretchy="true">^`, "bar": ` stretchy="false">‾`, "vec": ` stretchy="false">→`,
	"dot": ` stretchy="false">˙`, "ddot": ` stretchy="false">¨`, "tilde": ` stretchy="false">~`, "widetilde": ` stretchy="true">~`,
	"check": ` stretchy="false">ˇ`, "acute": ` stretchy="false">´`, "grave": " stretchy=\"false\">`", "breve": ` stretchy="false">˘`,
	"mathring": ` stretchy="false">˚`, "overrightarrow": ` stretchy="true">→`, "overleftarrow": ` stretchy="true">←`,
}

var texStyles = map[string]string{
	"mathrm": "rm", "mathbf": "b", "boldsymbol": "b", "bm": "b", "pmb": "b", "mathbfit": "b", "mathbbm": "bb", "bold": "b", "mathbb": "bb", "Bbb": "bb", "mathcal": "cal", "mathscr": "cal",
	"mathfrak": "frak", "mathsf": "sf", "mathtt": "tt", "mathit": "", "mathnormal": "",
}

var texDelimiters = words(`
{ { } } | ‖ lbrace { rbrace } langle ⟨ rangle ⟩ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉ vert | Vert ‖ lvert | rvert | lVert ‖ rVert ‖
lbrack [ rbrack ] uparrow ↑ downarrow ↓ backslash \`)

type texEnvironment struct {
	open, close string
	align       bool
}

var texEnvironments = map[string]texEnvironment{
	"matrix": {}, "pmatrix": {open: "(", close: ")"}, "bmatrix": {open: "[", close: "]"}, "Bmatrix": {open: "{", close: "}"},
	"vmatrix": {open: "|", close: "|"}, "Vmatrix": {open: "‖", close: "‖"}, "smallmatrix": {}, "array": {},
	"cases": {open: "{", close: ""}, "aligned": {align: true}, "align": {align: true}, "split": {align: true}, "alignat": {align: true},
	"gather": {}, "gathered": {}, "equation": {}, "eqnarray": {align: true}, "multline": {}, "displaymath": {}, "math": {},
}

// words reads pairs of a name and its sign.
func words(list string) map[string]string {
	f := strings.Fields(list)
	m := make(map[string]string, len(f)/2)
	for i := 0; i+1 < len(f); i += 2 {
		m[f[i]] = f[i+1]
	}
	return m
}

// alphabets are the places of A, a and 0 in the mathematical alphabets of
// Unicode; 0 where there is none.
var alphabets = map[string][3]rune{
	"b": {0x1D400, 0x1D41A, 0x1D7CE}, "bb": {0x1D538, 0x1D552, 0x1D7D8}, "cal": {0x1D49C, 0x1D4B6, 0},
	"frak": {0x1D504, 0x1D51E, 0}, "sf": {0x1D5A0, 0x1D5BA, 0x1D7E2}, "tt": {0x1D670, 0x1D68A, 0x1D7F6},
}

// letterlike are the letters that Unicode had before it had the alphabets.
var letterlike = map[string]map[rune]rune{
	"bb":   {'C': 'ℂ', 'H': 'ℍ', 'N': 'ℕ', 'P': 'ℙ', 'Q': 'ℚ', 'R': 'ℝ', 'Z': 'ℤ'},
	"cal":  {'B': 'ℬ', 'E': 'ℰ', 'F': 'ℱ', 'H': 'ℋ', 'I': 'ℐ', 'L': 'ℒ', 'M': 'ℳ', 'R': 'ℛ', 'e': 'ℯ', 'g': 'ℊ', 'o': 'ℴ'},
	"frak": {'C': 'ℭ', 'H': 'ℌ', 'I': 'ℑ', 'R': 'ℜ', 'Z': 'ℨ'},
}

// styled returns letters and digits in the alphabet that is in force.
func (p *texParser) styled(s string) string {
	a, ok := alphabets[p.style]
	if !ok {
		return esc(s)
	}
	return esc(strings.Map(func(r rune) rune {
		if l, ok := letterlike[p.style][r]; ok {
			return l
		}
		switch {
		case r >= 'A' && r <= 'Z':
			return a[0] + r - 'A'
		case r >= 'a' && r <= 'z':
			return a[1] + r - 'a'
		case r >= '0' && r <= '9' && a[2] != 0:
			return a[2] + r - '0'
		case p.style == "b" && r >= 'α' && r <= 'ω':
			return 0x1D6C2 + r - 'α'
		case p.style == "b" && r >= 'Α' && r <= 'Ω':
			return 0x1D6A8 + r - 'Α'
		}
		return r
	}, s))
}
