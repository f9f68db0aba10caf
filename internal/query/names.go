package query

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Tables returns the tables that a statement names, in lower case: those that
// it writes and those that it reads. It goes by the words before a name, which
// all engines here have in common, and knows the names of WITH; it is for
// people who ask where a table comes from, not for deciding what is allowed.
func (t Text) Tables() map[string][]string {
	words := wordsOf(t.source)
	found := map[string][]string{}
	own := map[string]bool{} // names of WITH
	add := func(side, name string) {
		name = strings.ToLower(name)
		if name != "" && !own[name] && !slices.Contains(found[side], name) {
			found[side] = append(found[side], name)
		}
	}
	for i := 0; i < len(words); i++ {
		word := strings.ToUpper(words[i])
		next := func(n int) string {
			if i+n < len(words) {
				return words[i+n]
			}
			return ""
		}
		switch {
		case (word == "WITH" || word == "," || word == "RECURSIVE") && strings.EqualFold(next(2), "AS") && next(3) == "(":
			own[strings.ToLower(next(1))] = true
		case word == "TABLE" && i > 0 || word == "VIEW" && i > 0:
			if begins(words[:i], "CREATE", "DROP", "ALTER", "TRUNCATE") {
				add(Wrote, nameAt(words, skipWords(words, i+1, "IF", "NOT", "EXISTS")))
			}
		case word == "INTO", word == "UPDATE" && next(1) != "" && !strings.EqualFold(next(1), "SET"):
			add(Wrote, nameAt(words, skipWords(words, i+1, "TABLE")))
		case word == "FROM" && i > 0 && strings.EqualFold(words[i-1], "DELETE"):
			add(Wrote, nameAt(words, i+1))
		case word == "FROM" || word == "JOIN":
			for at := i + 1; ; {
				name := nameAt(words, at)
				if name == "" {
					break
				}
				if at+partsLen(words, at) < len(words) && words[at+partsLen(words, at)] == "(" {
					break // a function
				}
				add(Read, name)
				comma := nextComma(words, at+partsLen(words, at))
				if word != "FROM" || comma < 0 {
					break
				}
				at = comma + 1
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found
}

// begins tells whether the last statement of the words begins with one of these.
func begins(words []string, verbs ...string) bool {
	start := 0
	for i, w := range words {
		if w == ";" {
			start = i + 1
		}
	}
	return start < len(words) && slices.Contains(verbs, strings.ToUpper(words[start]))
}

func skipWords(words []string, i int, skip ...string) int {
	for i < len(words) && slices.Contains(skip, strings.ToUpper(words[i])) {
		i++
	}
	return i
}

// nameAt is the dotted name that begins at i, "" when none does.
func nameAt(words []string, i int) string {
	n := partsLen(words, i)
	if n == 0 {
		return ""
	}
	return strings.Join(words[i:i+n], "")
}

// partsLen is how many words a dotted name has.
func partsLen(words []string, i int) int {
	n := 0
	for i+n < len(words) && isName(words[i+n]) {
		n++
		if i+n+1 >= len(words) || words[i+n] != "." {
			break
		}
		n++
	}
	return n
}

func isName(word string) bool {
	r, _ := utf8.DecodeRuneInString(word)
	return (unicode.IsLetter(r) || r == '_') && !slices.Contains([]string{"SELECT", "VALUES", "LATERAL", "UNNEST"}, strings.ToUpper(word))
}

// nextComma is the comma behind an alias, -1 when something else follows.
func nextComma(words []string, i int) int {
	for n := 0; n < 3 && i+n < len(words); n++ {
		if words[i+n] == "," {
			return i + n
		}
		if !isName(words[i+n]) || slices.Contains([]string{"WHERE", "JOIN", "ON", "GROUP", "ORDER", "LEFT", "INNER"}, strings.ToUpper(words[i+n])) {
			return -1
		}
	}
	return -1
}

// wordsOf cuts a statement into words, names without their quotes, and single
// characters; strings and comments are left out.
func wordsOf(s string) []string {
	var words []string
	for i := 0; i < len(s); {
		switch end := skipQuoted(s, i); {
		case end > i && (s[i] == '"' || s[i] == '`'):
			words = append(words, strings.Trim(s[i:end], "\"`"))
			i = end
		case end > i:
			if s[i] == '\'' || s[i] == '$' {
				words = append(words, "'")
			}
			i = end
		default:
			end = i
			for end < len(s) {
				r, n := utf8.DecodeRuneInString(s[end:])
				if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
					break
				}
				end += n
			}
			if end == i {
				_, n := utf8.DecodeRuneInString(s[i:])
				if !unicode.IsSpace(rune(s[i])) {
					words = append(words, s[i:i+n])
				}
				end = i + n
			}
			if end > i && (s[i] == '_' || isWord(s[i])) {
				words = append(words, s[i:end])
			}
			i = end
		}
	}
	return words
}
