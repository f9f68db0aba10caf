package schedule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"quire/internal/problem"
)

// What is more than a name stands in CEL, the Common Expression Language: it is
// typed, cannot loop without end and reaches nothing but what it is given. Three
// things are ours: steps in time (ds - 1d), names with a "-" (steps.load-all.rows)
// and the form at the end (| %Y). rewrite turns them into CEL.

// Limits of one expression.
const (
	maxExpression = 4 << 10 // bytes
	maxNested     = 40
	maxCost       = 200_000 // in CEL's units: some milliseconds
	maxDates      = MaxItems
)

// A celExpression is an expression that is more than a name.
type celExpression struct {
	program cel.Program
	shifted []expression // the values of "_t": times that are moved
	form    string       // of the result, a time; "" is as it is
	idents  map[string]bool
	paths   []celPath
	bool    bool // it is certain to give true or false
}

// A celPath is what is read of steps or of the states of steps: the names after
// it that are known before it is evaluated.
type celPath struct {
	root string
	path []string
}

// Names that people do not write.
const (
	celTimes     = "_t"
	celStates    = "_state"     // of each step
	celSucceeded = "_succeeded" // what succeeded() is
	celSome      = "_some"
	celFailed    = "_failed"
)

// celEnv is made when the first expression needs it.
var celEnv = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.StdLib(), cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true), cel.EnableIdentifierEscapeSyntax(), cel.DefaultUTCTimeZone(true),
		cel.ParserRecursionLimit(maxNested), cel.ParserExpressionSizeLimit(2 * maxExpression),
		cel.Variable(celTimes, cel.ListType(cel.StringType)),
		cel.Variable(celStates, cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable(celSucceeded, cel.BoolType), cel.Variable(celSome, cel.BoolType), cel.Variable(celFailed, cel.BoolType),
		cel.Variable("schedule", cel.StringType), cel.Variable("timezone", cel.StringType),
		cel.Variable("item", cel.DynType), cel.Variable("round", cel.IntType),
		cel.Variable("steps", cel.MapType(cel.StringType, cel.MapType(cel.StringType, cel.DynType))),
		cel.Function("shift", cel.Overload("shift_text", []*cel.Type{cel.StringType, cel.StringType}, cel.StringType, cel.BinaryBinding(celShift))),
		cel.Function("dates", cel.Overload("dates_text", []*cel.Type{cel.StringType, cel.StringType}, cel.ListType(cel.StringType), cel.BinaryBinding(celDates))),
		cel.Function("join", cel.MemberOverload("join_texts", []*cel.Type{cel.ListType(cel.DynType), cel.StringType}, cel.StringType, cel.BinaryBinding(celJoin))),
		cel.Function("split", cel.MemberOverload("split_text", []*cel.Type{cel.StringType, cel.StringType}, cel.ListType(cel.StringType), cel.BinaryBinding(celSplit))),
		cel.Macros(stateMacros()...),
	}
	for name := range timeNames {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	for _, name := range []string{"event", "inputs", "last"} {
		options = append(options, cel.Variable(name, cel.MapType(cel.StringType, cel.DynType)))
	}
	return cel.NewCustomEnv(options...)
})

// stateMacros are succeeded(), failed() and their like: of all steps before, or of
// one that is named.
func stateMacros() []cel.Macro {
	all := map[string]string{"succeeded": celSucceeded, "someSucceeded": celSome, "failed": celFailed}
	var macros []cel.Macro
	for name, ident := range all {
		macros = append(macros, cel.GlobalMacro(name, 0, func(eh cel.MacroExprFactory, _ ast.Expr, _ []ast.Expr) (ast.Expr, *common.Error) {
			return eh.NewIdent(ident), nil
		}))
	}
	macros = append(macros, cel.GlobalMacro("ended", 0, func(eh cel.MacroExprFactory, _ ast.Expr, _ []ast.Expr) (ast.Expr, *common.Error) {
		return eh.NewCall(operators.LogicalOr, eh.NewIdent(celFailed), eh.NewLiteral(types.True)), nil
	}))
	for name, state := range map[string]string{"succeeded": "succeeded", "failed": "failed", "skipped": "skipped"} {
		macros = append(macros, cel.GlobalMacro(name, 1, func(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *common.Error) {
			if args[0].Kind() != ast.LiteralKind || args[0].AsLiteral().Type() != types.StringType {
				return nil, eh.NewError(args[0].ID(), name+"(): want the name of a step in quotes")
			}
			return eh.NewCall(operators.Equals, eh.NewCall(operators.Index, eh.NewIdent(celStates), args[0]), eh.NewLiteral(types.String(state))), nil
		}))
	}
	return macros
}

// compiled keeps expressions that were compiled, by text; it is emptied when it is
// full.
var compiled struct {
	sync.Mutex
	all map[string]*celExpression
}

const maxCompiled = 1000

// compileCEL compiles what stands between the braces.
func compileCEL(text string) (*celExpression, error) {
	compiled.Lock()
	x := compiled.all[text]
	compiled.Unlock()
	if x != nil {
		return x, nil
	}
	x, err := compileFresh(text)
	if err != nil {
		return nil, err
	}
	compiled.Lock()
	defer compiled.Unlock()
	if compiled.all == nil || len(compiled.all) >= maxCompiled {
		compiled.all = map[string]*celExpression{}
	}
	compiled.all[text] = x
	return x, nil
}

func compileFresh(text string) (*celExpression, error) {
	if len(text) > maxExpression {
		return nil, problem.New(problem.Invalid, "{{%.40s...}}: an expression has at most %d KiB", text, maxExpression>>10)
	}
	if !utf8.ValidString(text) {
		return nil, problem.New(problem.Invalid, "{{%.40q...}}: it is not UTF-8", text)
	}
	env, err := celEnv()
	if err != nil {
		return nil, err
	}
	w := rewrite(text)
	if w.err != nil {
		return nil, problem.New(problem.Invalid, "{{%s}}: %v", text, w.err)
	}
	tree, issues := env.Compile(string(w.out))
	if issues.Err() != nil {
		return nil, problem.New(problem.Invalid, "{{%s}}: %s", text, w.explain(worst(issues.Errors())))
	}
	program, err := env.Program(tree, cel.CostLimit(maxCost), cel.CostTracking(ownCosts{}), cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(mixedNumbers))
	if err != nil {
		return nil, problem.New(problem.Invalid, "{{%s}}: %v", text, err)
	}
	x := &celExpression{program: program, shifted: w.shifted, form: w.form, idents: map[string]bool{}, bool: tree.OutputType() == cel.BoolType}
	ast.PreOrderVisit(tree.NativeRep().Expr(), ast.NewExprVisitor(x.look))
	return x, nil
}

// ownCosts are what our functions cost: as much as CEL's own that make as much.
type ownCosts struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (ownCosts) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	if function != "join" && function != "split" && function != "dates" {
		return nil
	}
	size := func(v ref.Val) uint64 {
		if v, ok := v.(traits.Sizer); ok {
			if n, ok := v.Size().(types.Int); ok {
				return uint64(n)
			}
		}
		return 0
	}
	cost := 1 + size(args[0])
	if text, ok := result.(types.String); ok {
		cost += uint64(len(text)) / 10 // characters are cheaper than elements
	} else {
		cost += size(result)
	}
	return &cost
}

// worst is the fault to tell of: a name that is not known is why others are there.
func worst(all []*cel.Error) *cel.Error {
	for _, one := range all {
		if strings.Contains(one.Message, "undeclared reference") {
			return one
		}
	}
	return all[0]
}

// look notes what an expression reads.
func (x *celExpression) look(e ast.Expr) {
	if e.Kind() == ast.IdentKind {
		x.idents[e.AsIdent()] = true
		if name := e.AsIdent(); name == "steps" || name == celStates {
			x.paths = append(x.paths, celPath{root: name})
		}
		return
	}
	if root, path := pathOf(e); root == "steps" || root == celStates {
		x.paths = append(x.paths, celPath{root, path})
	}
}

// pathOf is the names that e reads one within the other, from which root; "" when
// it is no such thing.
func pathOf(e ast.Expr) (root string, path []string) {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent(), nil
	case ast.SelectKind:
		root, path = pathOf(e.AsSelect().Operand())
		return root, append(path, e.AsSelect().FieldName())
	case ast.CallKind:
		call := e.AsCall()
		if name := call.FunctionName(); name != operators.Index && name != operators.OptIndex && name != operators.OptSelect || len(call.Args()) != 2 {
			return "", nil
		}
		field := call.Args()[1]
		if field.Kind() != ast.LiteralKind {
			return "", nil
		}
		name, ok := field.AsLiteral().Value().(string)
		if !ok {
			return "", nil
		}
		root, path = pathOf(call.Args()[0])
		return root, append(path, name)
	}
	return "", nil
}

// known says what an expression reads that is not there.
func (x *celExpression) known(text string, in scope) error {
	for name, there := range map[string]bool{"item": in.item, "event": in.event, "inputs": in.inputs != nil, "last": in.round, "round": in.round, celStates: in.when, celSucceeded: in.when, celSome: in.when, celFailed: in.when} {
		if x.idents[name] && !there {
			return problem.New(problem.Invalid, "{{%s}}: %s", text, absent(name))
		}
	}
	whole := map[string]int{} // how often a root is read, and how often with a name
	for _, p := range x.paths {
		if len(p.path) == 0 {
			whole[p.root]++
			continue
		}
		if len(p.path) == 1 {
			whole[p.root]--
		}
		if !slices.Contains(in.steps, p.path[0]) {
			return problem.New(problem.Invalid, "{{%s}}: %q is no step that this one comes after", text, p.path[0])
		}
	}
	if whole["steps"] > 0 {
		return problem.New(problem.Invalid, "{{%s}}: want steps.NAME.VALUE of a step that this one comes after", text)
	}
	return nil
}

// absent says where a name is there that is not.
func absent(name string) string {
	switch name {
	case "item":
		return "there is an item only in the parameters of a step with foreach"
	case "event":
		return "there is an event only where a trigger waits for signals"
	case "inputs":
		return "there are inputs only where the definition has inputs"
	case "last", "round":
		return "there are round and last only in a step with while"
	}
	return "succeeded(), failed() and their like are for when"
}

// eval is the value of an expression.
func (x *celExpression) eval(e env, text string) (v any, err error) {
	defer func() {
		if err != nil {
			err = problem.New(problem.Invalid, "{{%s}}: %s", text, runtimeWords.Replace(err.Error()))
		}
	}()
	values := map[string]any{"schedule": e.schedule, "timezone": e.table.zone.String(), "round": e.round}
	for name := range timeNames {
		if !x.idents[name] {
			continue
		}
		if values[name], err = e.time(expression{name: name}); err != nil {
			return nil, err
		}
	}
	var times []string
	for _, one := range x.shifted {
		t, err := e.time(one)
		if err != nil {
			return nil, err
		}
		times = append(times, t.(string))
	}
	values[celTimes] = times
	if x.idents["event"] && e.event == nil {
		return nil, fmt.Errorf("this fire has no event: a signal did not start it")
	}
	for name, raw := range map[string]json.RawMessage{"item": e.item, "event": e.event, "inputs": e.inputs} {
		if x.idents[name] {
			if values[name], err = native(raw); err != nil {
				return nil, err
			}
		}
	}
	if x.idents["last"] {
		if values["last"], err = nativeMap(e.last); err != nil {
			return nil, err
		}
	}
	if x.idents["steps"] {
		steps := map[string]any{}
		for name, outputs := range e.outputs {
			if !slices.ContainsFunc(x.paths, func(p celPath) bool { return p.root == "steps" && len(p.path) > 0 && p.path[0] == name }) {
				continue
			}
			values, err := nativeMap(outputs)
			if err != nil {
				return nil, err
			}
			if e.none[name] {
				for _, p := range x.paths {
					if p.root == "steps" && len(p.path) > 1 && p.path[0] == name {
						values[p.path[1]] = []any{}
					}
				}
			}
			steps[name] = values
		}
		values["steps"] = steps
	}
	values[celStates], values[celSucceeded], values[celSome], values[celFailed] = e.states, e.succeeded, e.some, e.failed
	out, _, err := x.program.Eval(values)
	if err != nil {
		return nil, err
	}
	budget := maxValues
	v, err = plain(out, e.table.zone, &budget)
	if err != nil || x.form == "" {
		return v, err
	}
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("a form is for times, not for %.40v", v)
	}
	t, _, err := readTime(s, e.table.zone)
	if err != nil {
		return nil, err
	}
	return format(t, x.form)
}

// runtimeWords say what went wrong in an evaluation as a person would.
var runtimeWords = strings.NewReplacer("no such key: ", "there is no ", "no such overload", "values of such kinds do not go together (no such overload)")
