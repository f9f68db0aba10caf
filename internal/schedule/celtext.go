package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
)

// A rewriter turns an expression as people write it into CEL.
type rewriter struct {
	out     []byte
	from    []int // where each byte of out comes from
	shifted []expression
	form    string
	err     error
}

func (w *rewriter) put(text string, at int) {
	for range len(text) {
		w.from = append(w.from, at)
	}
	w.out = append(w.out, text...)
}

// plainWords are what CEL's parser and checker say, as a person would.
var plainWords = strings.NewReplacer(
	"mismatched input '<EOF>'", "it ends too early",
	"'<EOF>'", "its end",
	"no viable alternative at input", "not understood:",
	"'_+_'", "+", "'_-_'", "-", "'_*_'", "*", "'_/_'", "/", "'_==_'", "==", "'_!=_'", "!=", "'_<_'", "<", "'_>_'", ">", "'_<=_'", "<=", "'_>=_'", ">=", "'_&&_'", "&&", "'_||_'", "||", "'_?_:_'", "? :",
)

// explain is a fault that CEL found, with its place in what was written.
func (w *rewriter) explain(e *cel.Error) string {
	at, message := 0, e.Message
	if n := len(w.from); n > 0 {
		at = w.from[n-1] + 1 // behind the last, where it ends too early
	}
	for i, c := 0, 0; i < len(w.from); c++ { // columns are characters
		if c == e.Location.Column() {
			at = w.from[i]
			break
		}
		_, size := utf8.DecodeRune(w.out[i:])
		i += size
	}
	message, _, _ = strings.Cut(message, " (in container")
	message = strings.TrimPrefix(message, "Syntax error: ")
	if name, ok := strings.CutPrefix(message, "undeclared reference to "); ok {
		name, _, _ = strings.Cut(name, " (did you mean '_") // a name of ours
		message = name + " is not known"
	}
	message = plainWords.Replace(message)
	if before, _, ok := strings.Cut(message, " expecting {"); ok {
		message = before
	}
	return fmt.Sprintf("character %d: %.200s", at+1, message)
}

// members are names whose members may hold a "-", as names of steps do.
var members = []string{"steps", "item", "event", "inputs", "last"}

// rewrite reads an expression as it is written.
func rewrite(text string) *rewriter {
	w := &rewriter{}
	for i := 0; i < len(text) && w.err == nil; {
		switch c := text[i]; {
		case c == '"' || c == '\'':
			end := i + stringEnd(text[i:])
			w.put(text[i:end], i)
			i = end
		case c == '`':
			end := i + 1
			for end < len(text) && text[end] != '`' {
				end++
			}
			end = min(end+1, len(text))
			w.put(text[i:end], i)
			i = end
		case c == '|' && !strings.HasPrefix(text[i:], "||"):
			w.form = strings.TrimSpace(text[i+1:])
			_, w.err = format(time.Time{}, w.form)
			return w
		case c == '|':
			w.put("||", i)
			i += 2
		case isLetter(c):
			i = w.path(text, i)
		case c >= '0' && c <= '9': // with what follows, so that 1e5 is no name
			end := i
			for end < len(text) && (isLetter(text[end]) || text[end] >= '0' && text[end] <= '9' || text[end] == '.' && end+1 < len(text) && text[end+1] >= '0' && text[end+1] <= '9') {
				end++
			}
			w.put(text[i:end], i)
			i = end
		default:
			w.put(text[i:i+1], i)
			i++
		}
	}
	return w
}

// path reads a name, its members and the steps in time after them, from i on. It
// returns where it ends.
func (w *rewriter) path(text string, i int) int {
	start := len(w.out)
	before := strings.TrimRight(string(w.out), " \t\n")
	member := strings.HasSuffix(before, ".") || strings.HasSuffix(before, ".?")
	head := word(text[i:], member)
	at := i
	i += len(head)
	if rest := text[i:]; (head == "r" || head == "b" || head == "R" || head == "B" || strings.EqualFold(head, "rb") || strings.EqualFold(head, "br")) && rest != "" && (rest[0] == '"' || rest[0] == '\'') {
		end := i + stringEnd(rest)
		w.put(text[at:end], at)
		return end
	}
	if member {
		w.member(head, at)
	} else {
		w.put(head, at)
	}
	dashes := member || slices.Contains(members, head)
	for i+1 < len(text) && text[i] == '.' && isLetter(text[i+1]) {
		name := word(text[i+1:], dashes)
		if end := i + 1 + len(name); strings.HasPrefix(text[end:], "(") { // a function of what is before
			w.put("."+name, i)
			return end
		}
		w.put(".", i)
		w.member(name, i+1)
		i += 1 + len(name)
	}
	if strings.HasPrefix(text[i:], "(") {
		return i
	}
	var moves []shift
	from := i
	for {
		m := shiftPattern.FindStringSubmatch(text[i:])
		if m == nil || len(text) > i+len(m[0]) && (isLetter(text[i+len(m[0])]) || text[i+len(m[0])] >= '0' && text[i+len(m[0])] <= '9') {
			break
		}
		moves, i = append(moves, shiftOf(m)), i+len(m[0])
	}
	switch {
	case len(moves) == 0:
	case member:
		w.err = fmt.Errorf("%s: write shift(..., %q) here", text[at:i], strings.TrimSpace(text[from:i]))
	case timeNames[head] != "" && from == at+len(head):
		w.out, w.from = w.out[:start], w.from[:start]
		w.put(fmt.Sprintf("%s[%d]", celTimes, len(w.shifted)), at)
		w.shifted = append(w.shifted, expression{name: head, shift: moves})
	default:
		path := string(w.out[start:])
		w.out, w.from = w.out[:start], w.from[:start]
		w.put("shift("+path+", "+strconv.Quote(strings.TrimSpace(text[from:i]))+")", at)
	}
	return i
}

// member puts the name of a member: one that CEL would not take stands in ` `.
func (w *rewriter) member(name string, at int) {
	if variableName.MatchString(name) && !slices.Contains(celWords, name) {
		w.put(name, at)
		return
	}
	w.put("`"+name+"`", at)
}

// celWords are no names in CEL.
var celWords = strings.Fields("as break const continue else false for function if import in let loop package namespace null return true var void while")

// word is the name at the beginning of a text. With dashes it may hold "-" between
// other characters of it: a minus has a space before it there.
func word(text string, dashes bool) string {
	end := 0
	for end < len(text) {
		c := text[end]
		digit := c >= '0' && c <= '9'
		dash := dashes && c == '-' && end > 0 && end+1 < len(text) && (isLetter(text[end+1]) || text[end+1] >= '0' && text[end+1] <= '9')
		if !isLetter(c) && !digit && !dash {
			break
		}
		end++
	}
	return text[:end]
}

func isLetter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// stringEnd is how long the text in quotes is that s begins with.
func stringEnd(s string) int {
	quote := s[:1]
	if strings.HasPrefix(s, strings.Repeat(quote, 3)) {
		quote = s[:3]
	}
	for i := len(quote); i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case strings.HasPrefix(s[i:], quote):
			return i + len(quote)
		}
	}
	return len(s)
}
