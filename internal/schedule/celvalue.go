package schedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// maxValues bounds what an expression gives, in bytes.
const maxValues = 1 << 20

// native is a value of JSON as CEL takes it: whole numbers stay whole.
func native(raw json.RawMessage) (any, error) {
	if raw == nil {
		return map[string]any{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return numbers(v)
}

func numbers(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n, nil
		}
		return v.Float64()
	case map[string]any:
		for key, one := range v {
			if v[key], err = numbers(one); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, one := range v {
			if v[i], err = numbers(one); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func nativeMap(values map[string]json.RawMessage) (map[string]any, error) {
	all := map[string]any{}
	for name, raw := range values {
		v, err := native(raw)
		if err != nil {
			return nil, err
		}
		all[name] = v
	}
	return all, nil
}

// plain is a value of CEL as JSON has it.
func plain(v ref.Val, zone *time.Location, budget *int) (any, error) {
	if *budget -= 8; *budget < 0 {
		return nil, fmt.Errorf("it gives more than %d KiB", maxValues>>10)
	}
	switch v := v.(type) {
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return json.Number(strconv.FormatInt(int64(v), 10)), nil
	case types.Uint:
		return json.Number(strconv.FormatUint(uint64(v), 10)), nil
	case types.Double:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("it gives %v, which is no number of JSON", f)
		}
		return float64(v), nil
	case types.String:
		*budget -= len(v)
		return string(v), nil
	case types.Null:
		return nil, nil
	case types.Timestamp:
		return v.Time.In(zone).Format(time.RFC3339), nil
	case types.Duration:
		return v.Duration.Seconds(), nil
	case *types.Err:
		return nil, v
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			one, err := plain(it.Next(), zone, budget)
			if err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		return list, nil
	case traits.Mapper:
		all := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			one, err := plain(v.Get(key), zone, budget)
			if err != nil {
				return nil, err
			}
			name := fmt.Sprint(key.Value())
			*budget -= len(name)
			all[name] = one
		}
		return all, nil
	}
	return nil, fmt.Errorf("it gives %s, which is no value of JSON", v.Type().TypeName())
}

// mixedNumbers lets + - * / take a whole number beside one with a fraction: what
// steps record does not say which it is.
func mixedNumbers(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || len(call.Args()) != 2 {
		return i, nil
	}
	var do func(a, b ref.Val) ref.Val
	switch call.Function() {
	case operators.Add:
		do = operation(traits.Adder.Add)
	case operators.Subtract:
		do = operation(traits.Subtractor.Subtract)
	case operators.Multiply:
		do = operation(traits.Multiplier.Multiply)
	case operators.Divide:
		do = operation(traits.Divider.Divide)
	default:
		return i, nil
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
		a, b := args[0], args[1]
		switch {
		case a.Type() == types.IntType && b.Type() == types.DoubleType:
			a = types.Double(a.(types.Int))
		case a.Type() == types.DoubleType && b.Type() == types.IntType:
			b = types.Double(b.(types.Int))
		}
		return do(a, b)
	}), nil
}

// operation is what CEL does of two values where the first has it.
func operation[T any](do func(a T, b ref.Val) ref.Val) func(a, b ref.Val) ref.Val {
	return func(a, b ref.Val) ref.Val {
		if a, ok := a.(T); ok {
			return do(a, b)
		}
		return types.MaybeNoSuchOverloadErr(a)
	}
}

// timeForms are the texts that are times, in the order in which they are tried.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly, "20060102"}

// readTime reads a text that is a time, and says in which form it is.
func readTime(text string, zone *time.Location) (time.Time, string, error) {
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, text, zone); err == nil {
			return t, form, nil
		}
	}
	return time.Time{}, "", fmt.Errorf("%.40q is no time: want one such as 2026-11-24 or 2026-11-24T06:00:00Z", text)
}

// celShift moves a text that is a time: shift("2026-11-24", "-1d").
func celShift(text, by ref.Val) ref.Val {
	t, form, err := readTime(string(text.(types.String)), time.UTC)
	if err != nil {
		return types.WrapErr(err)
	}
	dated := form == time.DateOnly || form == "20060102"
	rest := string(by.(types.String))
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		m := shiftPattern.FindStringSubmatch(rest)
		if m == nil {
			return types.NewErr("%.40q: want a step in time such as - 1d, + 2h, - 1mo", rest)
		}
		s := shiftOf(m)
		if dated && s.seconds != 0 {
			return types.NewErr("%s is a date without a time of the day: it is moved by d, w, mo or y", text)
		}
		t, rest = s.apply(t), rest[len(m[0]):]
	}
	if t.Year() < 1 || t.Year() > 9999 {
		return types.NewErr("the time is out of range")
	}
	return types.String(t.Format(form))
}

// celDates are the dates from one to another, both included.
func celDates(from, to ref.Val) ref.Val {
	a, form, err := readTime(string(from.(types.String)), time.UTC)
	if err != nil {
		return types.WrapErr(err)
	}
	b, _, err := readTime(string(to.(types.String)), time.UTC)
	if err != nil {
		return types.WrapErr(err)
	}
	var all []string
	for ; !a.After(b); a = a.AddDate(0, 0, 1) {
		if len(all) == maxDates {
			return types.NewErr("dates: more than %d", maxDates)
		}
		all = append(all, a.Format(form))
	}
	return types.NewStringList(types.DefaultTypeAdapter, all)
}

func celJoin(list, between ref.Val) ref.Val {
	var b strings.Builder
	for it := list.(traits.Lister).Iterator(); it.HasNext() == types.True; {
		if b.Len() > 0 {
			b.WriteString(string(between.(types.String)))
		}
		one := it.Next().ConvertToType(types.StringType)
		s, ok := one.(types.String)
		if !ok {
			return one
		}
		if b.WriteString(string(s)); b.Len() > maxValues {
			return types.NewErr("join: more than %d KiB", maxValues>>10)
		}
	}
	return types.String(b.String())
}

func celSplit(text, at ref.Val) ref.Val {
	const most = 10_000
	return types.NewStringList(types.DefaultTypeAdapter, strings.SplitN(string(text.(types.String)), string(at.(types.String)), most))
}
