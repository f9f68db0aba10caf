package query

import (
	"strings"
)

// ChooseTables returns the tables that a filter wants. Names are compared as
// SQL does, without regard to case.
func ChooseTables(all []Table, want TableFilter) []Table {
	chosen := []Table{}
	for _, t := range all {
		if want.Name != "" && !t.is(want.Name) || !t.holds(want.Search) {
			continue
		}
		if !want.Columns && want.Name == "" {
			t.Columns = nil
		}
		if chosen = append(chosen, t); want.Limit > 0 && len(chosen) == want.Limit {
			break
		}
	}
	return chosen
}

// is tells whether a name, of up to three parts, is the table's.
func (t Table) is(name string) bool {
	parts := SplitName(name)
	own := []string{t.Catalog, t.Schema, t.Name}
	if len(parts) == 0 || len(parts) > len(own) {
		return false
	}
	for i, part := range parts {
		if !strings.EqualFold(part, own[len(own)-len(parts)+i]) {
			return false
		}
	}
	return true
}

// holds tells whether every word is in a name or a comment of the table.
func (t Table) holds(search string) bool {
	for word := range strings.FieldsSeq(strings.ToLower(search)) {
		found := strings.Contains(strings.ToLower(t.Schema+"."+t.Name+" "+t.Comment), word)
		for _, c := range t.Columns {
			found = found || strings.Contains(strings.ToLower(c.Name+" "+c.Comment), word)
		}
		if !found {
			return false
		}
	}
	return true
}

// SplitName cuts a name at its dots; parts in double quotes may hold them.
func SplitName(name string) []string {
	var parts []string
	var part strings.Builder
	inside := false
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case (c == '"' || c == '`') && inside && i+1 < len(name) && name[i+1] == c:
			part.WriteByte(c)
			i++
		case c == '"' || c == '`':
			inside = !inside
		case c == '.' && !inside:
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	return append(parts, part.String())
}

// QuoteName writes a part of a name so that every engine here but Spark takes it.
func QuoteName(part string) string { return `"` + strings.ReplaceAll(part, `"`, `""`) + `"` }
