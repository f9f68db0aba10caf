package query

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"quire/internal/problem"
)

// Limits of the plan of a statement.
const (
	planAfter   = 200 * time.Millisecond // a statement that took less needs none
	planTimeout = 10 * time.Second
	maxPlan     = 32 << 10 // bytes that are kept
	maxPlanRead = 1 << 20
)

// explainable are the words that begin what an engine explains without doing it.
var explainable = []string{"SELECT", "WITH", "FROM", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE"}

// An Explainer is a source that is asked for a plan in words of its own, which
// stand before the statement.
type Explainer interface{ Explain() string }

// plan asks the engine how it executes a statement that took long, and returns
// what it says, without secrets; "" where it says nothing. It is asked to read
// only: whatever the text is, nothing is done twice.
func (g *Gateway) plan(ctx context.Context, s *statement) string {
	if !slices.Contains(explainable, s.text.Verb()) {
		return ""
	}
	explain := "EXPLAIN "
	if own, ok := s.conn.Source.(Explainer); ok {
		explain = own.Explain()
	}
	text, err := ParseText(explain + s.text.String())
	if err != nil {
		return ""
	}
	ctx, stop := context.WithTimeout(ctx, planTimeout)
	defer stop()
	q := s.snapshot()
	var told planText
	_, err = s.conn.Source.Run(ctx, Statement{User: q.User, Session: sessionOf(q), Text: text, Values: s.values, ReadOnly: true, MaxRows: 5000, Tag: q.ID}, &told)
	var lines []string
	if err == nil && told.Len() > 0 {
		err = ReadRows(&told, func([]string) error { return nil }, func(values []string, _ []bool) error {
			lines = append(lines, values[len(values)-1])
			return nil
		})
	}
	if err != nil {
		// Not every engine explains every statement.
		g.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "a query has no plan", slog.String("query_id", q.ID), slog.String("error", Redact(err.Error())))
		return ""
	}
	return shownPlan(strings.Join(lines, "\n"), s.values)
}

// shownPlan is a plan as the history has it.
func shownPlan(plan string, values map[string]Value) string {
	for name, v := range values {
		if !secretName.MatchString(name) {
			continue
		}
		for _, one := range append([]Value{v}, v.List...) {
			if one.Text != "" {
				plan = strings.ReplaceAll(plan, one.Text, hidden)
			}
		}
	}
	plan = strings.ToValidUTF8(Redact(strings.TrimRight(plan, " \n")), "")
	if len(plan) > maxPlan {
		plan = strings.ToValidUTF8(plan[:maxPlan], "") + "\n..."
	}
	return plan
}

// planText is an Output of which only the bytes are wanted.
type planText struct{ bytes.Buffer }

func (p *planText) Write(b []byte) (int, error) {
	if p.Len()+len(b) > maxPlanRead {
		return 0, problem.New(problem.TooLarge, "the plan is larger than %d KiB", maxPlanRead>>10)
	}
	return p.Buffer.Write(b)
}

// Columns implements Output.
func (*planText) Columns([]Column) {}

// Progress implements Output.
func (*planText) Progress(Progress) {}
