package viewer

import (
	"strings"
	"testing"
)

// TestLanguages: code of the languages of notebooks is coloured, and every
// description of a language can be read and used.
func TestLanguages(t *testing.T) {
	t.Parallel()
	for lang, code := range map[string]string{
		"r": "x <- function(n) n + 1", "ir": "if (TRUE) 1", "sql": "select a from b where c = 'd'", "presto": "select 1", "bash": "for i in a; do echo $i; done",
		"scala": "val x: Int = 1", "julia": "function f(x) end", "javascript": "const x = 'a'", "typescript": "let x: number = 1", "go": "package main\nfunc main() { println(\"a\") }",
		"c++17": "int main() { return 0; }", "csharp": "public class A { }", "f#": "let x = 1", "java": "class A { int x = 1; }", "rust": "fn main() { let x = 1; }",
		"html": "<a href='x'>y</a>", "css": "a { color: red }", "json": `{"a": 1}`, "yaml": "a: 1", "ruby": "def x; end", "haskell": "main = return ()", "kotlin": "val x = 1",
		"octave": "x = [1 2];", "perl": "my $x = 1;", "powershell": "$x = 1", "lua": "local x = 1", "tex": "\\section{a}", "xml": "<a b='c'/>", "sas": "data a; run;",
	} {
		if got := chromaHTML(code, lang); !strings.Contains(got, "<span class=") {
			t.Errorf("%s is not coloured: %s", lang, got)
		}
	}
	for name, lexer := range lexers() {
		if _, err := lexer.Tokenise(nil, "a \"b\" 1 <c> {d}\n"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
