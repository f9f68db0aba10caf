package parameter

import (
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// stringRule is one form of string of a language.
type stringRule struct {
	open, end string
	escape    byte   // takes the next character for itself, 0: none
	doubled   bool   // the end twice is a character
	lines     bool   // may hold line ends
	field     string // begins an interpolated expression; twice, it is itself
	when      func(m *masker, i int) bool
}

// otherRules are what is needed to find a language's assignments.
type otherRules struct {
	line    []string  // begin a comment to the line's end
	block   [2]string // begin and end a comment
	nested  bool      // block comments nest
	strings []stringRule
	special func(m *masker, i int) int // other literals

	wordComments bool   // a comment begins a word
	joint        string // at a line's end, joins it with the next
	looseJoint   bool   // what follows the joint on its line is a comment

	semicolons bool   // only ';' ends a statement
	layout     bool   // a statement goes on on lines that are indented deeper
	trailing   string // a line that ends in one of these goes on
	leading    string // a line that begins with one of these goes on from the last
	openers    []string
	closers    []string // words that end what an opener begins
	skip       []string // first words of statements that look like assignments and are none
	assign     *regexp.Regexp
	reverse    *regexp.Regexp // value -> name
}

const (
	nameForm  = `([\pL_$][\pL\pN_$]*)`
	rNameForm = "(?:`([^`\\n]+)`|([\\pL.][\\pL\\pN._]*))"
)

var (
	plainString  = stringRule{open: `"`, end: `"`, escape: '\\'}
	plainChars   = stringRule{open: `'`, end: `'`, escape: '\\'}
	longString   = stringRule{open: `"`, end: `"`, escape: '\\', lines: true}
	longChars    = stringRule{open: `'`, end: `'`, escape: '\\', lines: true}
	tripleString = stringRule{open: `"""`, end: `"""`, lines: true}
)

// afterWord reports whether a name or a closing bracket ends right before i: a
// quote there transposes.
func afterWord(m *masker, i int) bool {
	r := m.before(i)
	return isWord(r) || strings.ContainsRune(")]}'.\"", r) && r != 0
}

func notAfterWord(m *masker, i int) bool { return !afterWord(m, i) }

// isChar reports whether 'x' or '\x' stands at i: a character, not a type
// variable or a symbol.
func isChar(m *masker, i int) bool {
	rest := m.src[i+1:]
	if strings.HasPrefix(rest, `\`) {
		return true
	}
	_, n := utf8.DecodeRuneInString(rest)
	return strings.HasPrefix(rest[n:], "'") && notWordBefore(m, i)
}

func notWordBefore(m *masker, i int) bool { return !isWord(m.before(i)) }

// wordBefore reports whether an interpolator's name stands before the quote.
func wordBefore(m *masker, i int) bool { return isWord(m.before(i)) }

// others are compiled when the first cell of such a language is read.
var others = sync.OnceValue(func() map[string]*otherRules {
	return map[string]*otherRules{
		"R": {
			line: []string{"#"}, strings: []stringRule{longString, longChars}, special: rawR,
			trailing: "+-*/^,<>=&|~!:?%$@", skip: words("if for while repeat function"),
			assign:  regexp.MustCompile(`^` + rNameForm + `\s*(?:<<-|<-|:=|=)`),
			reverse: regexp.MustCompile(`->>?\s*` + rNameForm + `\s*$`),
		},
		"julia": {
			line: []string{"#"}, block: [2]string{"#=", "=#"}, nested: true,
			strings: []stringRule{
				{open: `"""`, end: `"""`, escape: '\\', lines: true, field: "$("},
				{open: `"`, end: `"`, escape: '\\', lines: true, field: "$("},
				{open: "`", end: "`", escape: '\\', lines: true},
				{open: `'`, end: `'`, escape: '\\', when: notAfterWord},
			},
			trailing: "+-*/^,<>=&|~:?\\%",
			openers:  words("if for while function struct begin let try module baremodule quote macro do abstract primitive"), closers: words("end"),
			assign: regexp.MustCompile(`^(?:(?:const|global|local)\s+)*` + `([\pL_][\pL\pN_!]*)` + `\s*(?:::\s*([^=]+?)\s*)?=`),
		},
		"scala": {
			line: []string{"//"}, block: [2]string{"/*", "*/"}, nested: true,
			strings: []stringRule{
				{open: `"""`, end: `"""`, lines: true, field: "${", when: wordBefore},
				tripleString,
				{open: `"`, end: `"`, escape: '\\', field: "${", when: wordBefore},
				plainString,
				{open: `'`, end: `'`, escape: '\\', when: isChar},
			},
			trailing: "+-*/,=<>&|.:", leading: ".",
			assign: regexp.MustCompile(`^(?:@\S+\s+)*(?:(?:private|protected|final|implicit|lazy|override)\s+)*(?:val|var)\s+` + nameForm + `\s*(?::\s*([^=]+?)\s*)?=`),
		},
		"javascript": {
			line: []string{"//"}, block: [2]string{"/*", "*/"},
			strings: []stringRule{
				{open: "`", end: "`", escape: '\\', lines: true, field: "${"}, plainString, plainChars,
			},
			special: regexLiteral, trailing: "+-*/%,=<>&|^?:.!~", leading: "+-*/%,=<>&|^?:.",
			assign: regexp.MustCompile(`^(?:(?:export\s+)?(?:const|let|var)\s+)?` + nameForm + `\s*!?(?::\s*([^=]+?)\s*)?=`),
		},
		"matlab": {
			line: []string{"%"}, block: [2]string{"%{\n", "%}"},
			strings: []stringRule{
				{open: `"`, end: `"`, doubled: true}, {open: `'`, end: `'`, doubled: true, when: notAfterWord},
			},
			joint: "...", looseJoint: true,
			openers: words("if for while switch try function parfor spmd classdef"), closers: words("end"),
			assign: regexp.MustCompile(`^([A-Za-z]\w*)\s*=`),
		},
		"C#": {
			line: []string{"//"}, block: [2]string{"/*", "*/"},
			strings: []stringRule{
				tripleString,
				{open: `$@"`, end: `"`, doubled: true, lines: true, field: "{"},
				{open: `@$"`, end: `"`, doubled: true, lines: true, field: "{"},
				{open: `@"`, end: `"`, doubled: true, lines: true},
				{open: `$"`, end: `"`, escape: '\\', field: "{"},
				plainString, plainChars,
			},
			semicolons: true, skip: words("return else using case new throw goto await yield delete"),
			assign: regexp.MustCompile(`^(?:(?:const|readonly|static|public|private|internal)\s+)*([\pL_][\pL\pN_.]*(?:<[^=()]*>)?\??(?:\[[,\s]*\])*\??)\s+([\pL_][\pL\pN_]*)\s*=`),
		},
		"F#": {
			line: []string{"//"}, block: [2]string{"(*", "*)"}, nested: true,
			strings: []stringRule{
				tripleString, {open: `@"`, end: `"`, doubled: true, lines: true}, longString, {open: `'`, end: `'`, escape: '\\', when: isChar},
			},
			layout: true,
			assign: regexp.MustCompile(`^let\s+(?:(?:mutable|inline|private|internal)\s+)*` + `([\pL_][\pL\pN_']*)` + `\s*(?::\s*([^=]+?)\s*)?=`),
		},
		"powershell": {
			line: []string{"#"}, block: [2]string{"<#", "#>"}, wordComments: true,
			strings: []stringRule{
				{open: "@\"\n", end: "\n\"@", lines: true},
				{open: "@'\n", end: "\n'@", lines: true},
				{open: `"`, end: `"`, escape: '`', doubled: true, lines: true, field: "$("},
				{open: `'`, end: `'`, doubled: true, lines: true},
			},
			joint: "`", trailing: "+-*/,=|",
			assign: regexp.MustCompile(`^(?:\[([\w.]+(?:\[[\w.]*\])?)\]\s*|\[[^\]]*\]\s*)*\$(?:(?:global|script|local):)?(\w+)\s*=`),
		},
		"bash": {
			line: []string{"#"}, wordComments: true,
			strings: []stringRule{
				{open: `$'`, end: `'`, escape: '\\', lines: true},
				{open: `'`, end: `'`, lines: true},
				{open: `"`, end: `"`, escape: '\\', lines: true, field: "$("},
				{open: "`", end: "`", escape: '\\', lines: true},
			},
			special: shellSpecial, joint: "\\", trailing: "|&",
			openers: words("if for while until case select"), closers: words("fi done esac"),
		},
	}
})

var rawOpen = regexp.MustCompile(`^[rR]["'](-*)([(\[{])`)

// rawR takes R's raw strings: r"---(text)---".
func rawR(m *masker, i int) int {
	c := m.src[i]
	if c != 'r' && c != 'R' || isWord(m.before(i)) {
		return i
	}
	open := rawOpen.FindStringSubmatch(m.src[i:min(len(m.src), i+100)])
	if open == nil {
		return i
	}
	end := map[string]string{"(": ")", "[": "]", "{": "}"}[open[2]] + open[1] + m.src[i+1:i+2]
	if n := strings.Index(m.src[i+len(open[0]):], end); n >= 0 {
		return i + len(open[0]) + n + len(end)
	}
	return len(m.src)
}

// regexLiteral takes JavaScript's /regular expressions/.
func regexLiteral(m *masker, i int) int {
	if m.src[i] != '/' || !regexMayBegin(m, i) {
		return i
	}
	class := false
	for j := i + 1; j < len(m.src) && m.src[j] != '\n'; j++ {
		switch c := m.src[j]; {
		case c == '\\':
			j++
		case c == '[':
			class = true
		case c == ']':
			class = false
		case c == '/' && !class:
			return j + 1
		}
	}
	return i
}

func regexMayBegin(m *masker, i int) bool {
	for j := i - 1; j >= 0; j-- {
		if c := m.code[j]; c != ' ' && c != '\t' {
			return strings.IndexByte("(,=:[!&|?{};+-*%~^<>\n", c) >= 0
		}
	}
	return true
}

var hereOpen = regexp.MustCompile(`^<<-?\s*['"\\]?(\w+)`)

// shellSpecial takes escaped characters, and remembers here-documents.
func shellSpecial(m *masker, i int) int {
	switch {
	case m.src[i] == '\\' && i+1 < len(m.src) && m.src[i+1] != '\n':
		return i + 2
	case strings.HasPrefix(m.src[i:], "<<") && !strings.HasPrefix(m.src[i:], "<<<") && m.before(i) != '<' && len(m.heres) < 20:
		if open := hereOpen.FindStringSubmatch(m.src[i:min(len(m.src), i+100)]); open != nil {
			m.heres = append(m.heres, open[1])
		}
	}
	return i
}
