package parameter

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Each definition is "name: type = default # help @line", parts left out when
// they say nothing.
func shortForm(defs []Definition) string {
	var parts []string
	for _, d := range defs {
		text := d.Name
		if d.Type != NoType {
			text += ": " + d.Type
		}
		if !d.Required {
			text += " = " + d.Default
		}
		if d.Help != "" {
			text += " # " + d.Help
		}
		parts = append(parts, fmt.Sprintf("%s @%d", text, d.Line))
	}
	return strings.Join(parts, "\n")
}

func TestInspectOtherLanguages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ language, src, want string }{
		{
			"R", "# top\na <- 5 # how many\nb = \"x # y; z <- 1\"; c <<- c(1,\n  2) # type: numeric both\n`my var` <- TRUE\n7 -> d\nx$y <- 1\nx[1] <- 2\nf <- function(p = 1) {\n  q <- 2\n}\nif (a == 5) { g <- 1 }\nprint(a <- 3)\na == 6\ne <- 1 +\n  2\nr <- r\"(a \"b)\" # raw\nlist(k = 1)\ntype <- 'it'",
			"a = 5 # how many @2\nb = \"x # y; z <- 1\" @3\nc: numeric = c(1, 2) # both @3\nmy var = TRUE @5\nd = 7 @6\nf = function(p = 1) { q <- 2 } @9\ne = 1 + 2 @15\nr = r\"(a \"b)\" # raw @17\ntype = 'it' @19",
		},
		{
			"julia", "a = 5 # n\nconst b::Vector{Int} = [1,\n 2] # list\ns = \"x $(f(\"q=1\")) = 1\"\nf(x) = x\nfor i = 1:3\n  c = 2\nend\nd = begin\n 1\nend\ne = x'\ng = 'c'; h = :end\nif a == 5\n  k = 1\nelse k = 2 end\n#= m = 1\n#= n =# =#\nu += 1\nv = (a = 1, b = 2)\nw = a ==\n  5\nz = \"\"\"a\n= \"b\" \"\"\"",
			"a = 5 # n @1\nb: Vector{Int} = [1, 2] # list @2\ns = \"x $(f(\"q=1\")) = 1\" @4\nd = begin 1 end @9\ne = x' @12\ng = 'c' @13\nh = :end @13\nv = (a = 1, b = 2) @20\nw = a == 5 @21\nz = \"\"\"a\n= \"b\" \"\"\" @23",
		},
		{
			"scala", "val a = 5 // n\nvar b: Seq[Int] = Seq(1, // one\n  2) // list\nlazy val c = s\"${f(\"x = 1\")}\"\nval d = \"\"\"a\n= b\"\"\"\ndef f(x: Int = 1) = x\nif (a == 5) {\n  val e = 1\n}\nval g = 'x'; val h = 1\n/* val i = 1 /* nested */ */\nval j =\n  7\nval k = List(1)\n  .map(x => x)\nprivate final val l: Int = 3\nval (m, n) = (1, 2)\nobject O { val p = 1 }\na == 5",
			"a = 5 # n @1\nb: Seq[Int] = Seq(1, 2) # list @2\nc = s\"${f(\"x = 1\")}\" @4\nd = \"\"\"a\n= b\"\"\" @5\ng = 'x' @11\nh = 1 @11\nj = 7 @13\nk = List(1) .map(x => x) @15\nl: Int = 3 @17",
		},
		{
			"javascript", "const a = 5 // n\nlet b = 'x = 1', c = [1,\n  2]; // last\nvar d = `t ${f(`u ${\"}\"}`)} = 1`\ne = 7\nlet n: number = 3;\nlet need: string[]\nfunction f(p = 1) { var q = 2 }\nif (a === 5) { var r = 1 }\nconst g = x => x + 1\nconst h = /a=\"b/.test(s) ? 1 : 2\nfoo(i = 1)\nlet j = 1 +\n  2\nlet k = x\n  .y\na == 5\nlabel: x = 1\n/* var z = 1 */\nlet {m} = o\nexport const w = true",
			"a = 5 # n @1\nb = 'x = 1' @2\nc = [1, 2] # last @2\nd = `t ${f(`u ${\"}\"}`)} = 1` @4\ne = 7 @5\nn: number = 3 @6\nneed: string[] @7\ng = x => x + 1 @10\nh = /a=\"b/.test(s) ? 1 : 2 @11\nj = 1 + 2 @13\nk = x .y @15\nw = true @21",
		},
		{
			"matlab", "a = 5; % n\nb = {1, ...\n  'it''s = 1'}; c = x';\nif a == 5\n  d = 1;\nend\ne = [1 2\n 3 4];\n%{\nf = 1\n%}\ng = \"a % b\" % last\nx(1) = 2;\nfor i = 1:3, h = 1; end\nk = x(end);",
			"a = 5 # n @1\nb = {1, 'it''s = 1'} @2\nc = x' @3\ne = [1 2 3 4] @7\ng = \"a % b\" # last @12\nk = x(end) @15",
		},
		{
			"bash", "A=1 # one\nB='x; C=2' D=\"$(echo \"q=1\")\"\nexport E=5 F\nG=1 cmd\ncmd H=1\nif true; then\n  I=1\nfi\nJ=(a b\n c)\nfor k in 1; do L=2; done\ncat <<EOF\nM=1\nEOF\nN=a\\ b#c\ndeclare -i O=3\nf() { P=1; }\nQ=",
			"A = 1 # one @1\nB = 'x; C=2' @2\nD = \"$(echo \"q=1\")\" @2\nE = 5 @3\nJ = (a b c) @9\nN = a\\ b#c @15\nO = 3 @16\nQ @18",
		},
		{
			".net-csharp", "#r \"nuget: X = 1\"\nvar a = 5; // n\nint b = 7, q = 8;\nconst string c = \"x = \\\" 1\"; string? d = null;\nList<int> e = new List<int> {\n  1, 2\n};\nvar f = $\"{(g = \"}\")} x\";\nif (a == 5) { var h = 1; }\nx = 3;\nstring[] i = new [] { \"a\" };\nreturn j = 1;\nvar k = @\"a\"\" = b\";",
			"a = 5 # n @2\nb: int = 7, q = 8 @3\nc: string = \"x = \\\" 1\" @4\nd: string? = null @4\ne: List<int> = new List<int> { 1, 2 } @5\nf = $\"{(g = \"}\")} x\" @8\ni: string[] = new [] { \"a\" } @11\nk = @\"a\"\" = b\" @13",
		},
		{
			".net-fsharp", "let a = 5 // n\nlet mutable b: int list =\n  [ 1\n    2 ]\nlet f x = x = 1\n(* let c = 1 (* let d = 2 *) *)\nlet s = \"x\n= 1\"\nlet g =\n    let h = 1\n    h\nif a = 5 then printfn \"\"\nlet i' = 'c'",
			"a = 5 # n @1\nb: int list = [ 1 2 ] @2\ns = \"x\n= 1\" @7\ng = let h = 1 h @9\ni' = 'c' @13",
		},
		{
			"powershell", "$a = 5 # n\n[int]$b = 7\n[ValidateSet('x','y')] [string] $c = \"a `\" $(f \"=\") # b\"\n$d = @{\n  k = 1 # one\n}\nif ($a -eq 5) { $e = 1 }\n<# $f = 1 #>\n$g = 1 +\n  2\n$h.x = 1\n$i = @\"\na = \"b\"\n\"@\n$j = 'it''s'",
			"a = 5 # n @1\nb: int = 7 @2\nc: string = \"a `\" $(f \"=\") # b\" @3\nd = @{ k = 1 } @4\ng = 1 + 2 @9\ni = @\"\na = \"b\"\n\"@ @12\nj = 'it''s' @15",
		},
	} {
		t.Run(tt.language, func(t *testing.T) {
			t.Parallel()
			defs, warnings := Inspect(tt.language, tt.src)
			if got := shortForm(defs); got != tt.want || len(warnings) > 0 {
				t.Errorf("got\n%s\n\nwant\n%s\n%v", got, tt.want, warnings)
			}
		})
	}
}

func TestLiteralsOfOtherLanguages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ language, src, want string }{
		{"R", "x <- 5L", "5"},
		{"R", "x <- FALSE", "false"},
		{"R", "x <- 'a'", `"a"`},
		{"R", "x <- c(1)", ""},
		{"R", "x <- 1e5", "100000.0"},
		{"julia", "x = \"a$b\"", ""},
		{"julia", "x = nothing", "null"},
		{"julia", "x = [1, 2]", "[1,2]"},
		{"scala", "val x = 5L", "5"},
		{"scala", "val x = 1.5f", "1.5"},
		{"javascript", "x = -1.5", "-1.5"},
		{"javascript", "x = `a`", ""},
		{"bash", "x=abc", `"abc"`},
		{"bash", "x='a b'", `"a b"`},
		{"bash", "x=$y", ""},
		{"bash", "x=12", "12"},
		{"powershell", "$x = $true", "true"},
		{"C#", "var x = \"a\\n\";", ""},
	} {
		defs, _ := Inspect(tt.language, tt.src)
		if len(defs) != 1 {
			t.Errorf("%s: %d definitions", tt.src, len(defs))
			continue
		}
		v, ok := defs[0].Value()
		got := ""
		if ok {
			got = asJSON(t, v)
		}
		if got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.language, tt.src, got, tt.want)
		}
	}
	if _, warnings := Inspect("cobol", "x"); len(warnings) != 1 || !strings.Contains(warnings[0].Text, "does not support parameter introspection") {
		t.Errorf("cobol: %v", warnings)
	}
}

// R's own parser finds the same names in random cells, where R is installed.
func TestInspectIsRs(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(15, 16))
	var program strings.Builder
	program.WriteString(`names <- function(src) {
  cell <- tryCatch(parse(text = src, keep.source = FALSE), error = function(e) NULL)
  if (is.null(cell)) return("ERR")
  found <- c()
  for (e in cell)
    if (is.call(e) && is.name(e[[1]]) && as.character(e[[1]]) %in% c("<-", "<<-", "=") && is.name(e[[2]])) found <- c(found, as.character(e[[2]]))
  paste(found, collapse = "|")
}
`)
	var cells []string
	for range 1500 {
		cell := randomRCell(rng)
		cells = append(cells, cell)
		fmt.Fprintf(&program, "cat(names(%s), \"\\n\", sep = \"\")\n", cQuote(cell, "", longEscape))
	}
	out, ok := interpreter(t, program.String(), "Rscript", "--vanilla", "-")
	if !ok {
		return
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != len(cells) {
		t.Fatalf("%d answers for %d cells", len(lines), len(cells))
	}
	legal := 0
	for i, want := range lines {
		if want == "ERR" {
			continue
		}
		legal++
		defs, _ := inspectOther("R", cells[i])
		var names []string
		for _, d := range defs {
			names = append(names, d.Name)
		}
		if got := strings.Join(names, "|"); got != want {
			t.Errorf("got %s, R has %s\n%s", got, want, cells[i])
		}
	}
	if legal < 1000 {
		t.Errorf("only %d cells are R", legal)
	}
}

func randomRCell(rng *rand.Rand) string {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	var b strings.Builder
	for range rng.IntN(4) + 1 {
		name := pick("a", "b.c", ".x", "`my v`", "x$y", "x[1]", "f(a)", "type")
		value := pick("1", "-2.5", "'a # b'", `"x\"; q <- 1"`, "c(1,\n 2)", "list(k = 1, l = '}')", "function(x = 1) {\n z <- 2\n z }", "1 +\n 2", "x == 3",
			`r"(a ' " b)"`, "r'--[a]--'", "if (x) 1 else 2", "a %in% b", "x |>\n f()", "~ y", "TRUE", "NULL", "{\n 1 }", "x[['k']]", "!x", "2 %%\n 3",
			"\"multi\nline\"", "a::b", "x@y", "5L", `\(x) x`)
		switch rng.IntN(8) {
		case 0:
			b.WriteString(pick("print(a)", "if (a) { b <- 1 }", "for (i in 1:3) c <- 2", "f(x = 1)", "a == 1", "library(x)", "# c <- 1", "repeat { break }", "function(x) x", "-a", "(g <- 3)"))
		case 1:
			b.WriteString(value + pick(" -> ", " ->> ") + name)
		default:
			b.WriteString(name + pick(" <- ", " = ", "<-", " <<- ", " <-\n ") + value)
		}
		b.WriteString(pick("\n", "\n", "; ", " # h\n", "\n\n", " # it's = x\n"))
	}
	return b.String()
}
