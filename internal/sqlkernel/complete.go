package sqlkernel

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"quire/internal/kernel/wire"
	"quire/internal/parameter"
	"quire/internal/query"
)

// Times of the catalog that completion uses.
const (
	catalogTime = 5 * time.Second  // longest that it is waited for
	catalogAge  = 60 * time.Second // oldest that is used
	maxMatches  = 500
)

var keywords = strings.Fields(`SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET JOIN LEFT RIGHT FULL INNER CROSS ON USING AS AND OR NOT
	IN IS NULL LIKE BETWEEN EXISTS CASE WHEN THEN ELSE END DISTINCT UNION ALL INTERSECT EXCEPT WITH INSERT INTO VALUES UPDATE SET
	DELETE CREATE TABLE VIEW TEMPORARY DROP ALTER EXPLAIN DESCRIBE SHOW OVER PARTITION CAST ASC DESC TRUE FALSE`)

// asked is a cell and the place of its cursor, in bytes.
type asked struct {
	code   string
	cursor int
}

func askedOf(m *wire.Message) asked {
	var req struct {
		Code   string `json:"code"`
		Cursor int    `json:"cursor_pos"` // in characters
	}
	_ = m.Decode(&req) // nothing then
	a := asked{code: req.Code}
	for range req.Cursor {
		_, n := utf8.DecodeRuneInString(a.code[a.cursor:])
		a.cursor += n
	}
	return a
}

// characters is an offset in bytes as the protocol counts.
func (a asked) characters(offset int) int { return utf8.RuneCountInString(a.code[:offset]) }

// word is the name that ends at the cursor, and where it begins; before is the
// name of a table that stands before it with a dot.
func (a asked) word() (before string, start int) {
	start = wordStart(a.code, a.cursor)
	if start > 0 && a.code[start-1] == '.' {
		from := start - 1
		for from > 0 && (a.code[from-1] == '.' || a.code[from-1] == '"' || wordStart(a.code, from) < from) {
			from = min(from-1, wordStart(a.code, from))
		}
		before = strings.Trim(a.code[from:start-1], ".")
	}
	return before, start
}

func wordStart(code string, end int) int {
	for end > 0 {
		r, n := utf8.DecodeLastRuneInString(code[:end])
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			break
		}
		end -= n
	}
	return end
}

// catalog is the tables of the connection that a cell uses; nil when they
// cannot be had in time.
func (k *kernel) catalog(ctx context.Context, code string) []query.Table {
	name, _ := connectionLine(code)
	if name == "" {
		name = k.connection
	}
	if known, ok := k.tables[name]; ok && time.Since(known.at) < catalogAge {
		return known.tables
	}
	g, err := k.cfg.Gateway()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, catalogTime)
	defer cancel()
	tables, err := g.Catalog(ctx, name)
	if err != nil {
		return nil
	}
	k.tables[name] = listing{tables, time.Now()}
	return tables
}

// complete offers parameters, columns, tables and words of SQL.
func (k *kernel) complete(ctx context.Context, m *wire.Message) any {
	a := askedOf(m)
	before, start := a.word()
	prefix := a.code[start:a.cursor]
	var found []string
	offer := func(names ...string) {
		for _, name := range names {
			if len(found) < maxMatches && hasPrefixFold(name, prefix) {
				found = append(found, name)
			}
		}
	}
	switch {
	case start > 0 && a.code[start-1] == ':':
		for name := range k.parameters {
			offer(name)
		}
		slices.Sort(found)
	case before != "":
		offer(members(k.catalog(ctx, a.code), a.code, before)...)
	default:
		tables := k.catalog(ctx, a.code)
		for _, t := range tables {
			if mentions(a.code, t.Name) {
				offer(columnNames(t)...)
			}
		}
		for _, t := range tables {
			offer(written(t.Name))
		}
		if prefix != "" {
			for _, word := range keywords {
				if prefix == strings.ToLower(prefix) {
					word = strings.ToLower(word)
				}
				offer(word)
			}
		}
	}
	return map[string]any{
		"status": "ok", "matches": unique(found), "cursor_start": a.characters(start), "cursor_end": a.characters(a.cursor), "metadata": map[string]any{},
	}
}

func unique(all []string) []string {
	seen, once := map[string]bool{}, []string{}
	for _, s := range all {
		if !seen[s] {
			once = append(once, s)
		}
		seen[s] = true
	}
	return once
}

func hasPrefixFold(name, prefix string) bool {
	name = strings.TrimPrefix(name, `"`)
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// members is what may stand behind "name.": columns of a table or of what the
// cell calls so, tables of a schema.
func members(tables []query.Table, code, name string) []string {
	for _, target := range []string{name, aliased(code, name)} {
		if target == "" {
			continue
		}
		if found := query.ChooseTables(tables, query.TableFilter{Name: target, Columns: true, Limit: 1}); len(found) > 0 {
			return columnNames(found[0])
		}
	}
	var names []string
	for _, t := range tables {
		if strings.EqualFold(t.Schema, name) {
			names = append(names, written(t.Name))
		}
	}
	return names
}

// aliased is the table that a cell gives the name: FROM table [AS] name.
func aliased(code, name string) string {
	form, err := regexp.Compile(`(?i)\b(?:from|join)\s+([\pL\pN_."]+)\s+(?:as\s+)?` + regexp.QuoteMeta(name) + `(?:[^\pL\pN_]|$)`)
	if err != nil {
		return ""
	}
	if m := form.FindStringSubmatch(code); m != nil {
		return m[1]
	}
	return ""
}

func mentions(code, name string) bool {
	return name != "" && strings.Contains(strings.ToLower(code), strings.ToLower(name))
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// written is a name as it is written in a statement.
func written(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return query.QuoteName(name)
}

func columnNames(t query.Table) []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = written(c.Name)
	}
	return names
}

// inspect tells of the table under the cursor.
func (k *kernel) inspect(ctx context.Context, m *wire.Message) any {
	a := askedOf(m)
	end := a.cursor
	for end < len(a.code) {
		r, n := utf8.DecodeRuneInString(a.code[end:])
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			break
		}
		end += n
	}
	nothing := map[string]any{"status": "ok", "found": false, "data": map[string]any{}, "metadata": map[string]any{}}
	word := a.code[wordStart(a.code, end):end]
	if word == "" {
		return nothing
	}
	found := query.ChooseTables(k.catalog(ctx, a.code), query.TableFilter{Name: word, Columns: true, Limit: 1})
	if len(found) == 0 {
		return nothing
	}
	t := found[0]
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s.%s\n", t.Kind, t.Schema, t.Name)
	if t.Comment != "" {
		b.WriteString(t.Comment + "\n")
	}
	if t.Rows != nil {
		b.WriteString(plural(*t.Rows, "row") + "\n")
	}
	for _, c := range t.Columns {
		fmt.Fprintf(&b, "  %s %s", written(c.Name), c.Type)
		if c.Comment != "" {
			b.WriteString("  -- " + oneLine(c.Comment))
		}
		b.WriteByte('\n')
	}
	return map[string]any{"status": "ok", "found": true, "data": map[string]any{"text/plain": clip(b.String(), 20_000)}, "metadata": map[string]any{}}
}

// isComplete tells a console whether Enter executes: nothing is open.
func isComplete(m *wire.Message) any {
	var req struct {
		Code string `json:"code"`
	}
	_ = m.Decode(&req)
	if parameter.OpenSQL(req.Code) {
		return map[string]any{"status": "incomplete", "indent": ""}
	}
	return map[string]any{"status": "complete"}
}
