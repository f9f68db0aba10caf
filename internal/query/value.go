package query

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
)

// A Value is the value of a parameter.
type Value struct {
	Type Type
	Text string  // of all types but null and list, in the form that the type says
	List []Value // of a list: never nil then
}

// A Type is what a value is.
type Type string

// The types of values.
const (
	Null      Type = "null"
	Bool      Type = "bool" // true, false
	Int       Type = "int"
	Float     Type = "float"
	String    Type = "text"
	Date      Type = "date"      // 2018-05-08
	Timestamp Type = "timestamp" // 2018-05-08T12:00:00, with or without a zone
	Decimal   Type = "decimal"
	Bytes     Type = "bytes" // base64
	List      Type = "list"
)

// maxList is how many values a list may have.
const maxList = 10_000

// ParseValues reads parameters as JSON: an object of null, true, numbers,
// texts, lists of these, and {"type": "date", "value": "2018-05-08"} for what
// JSON has no word for.
func ParseValues(parameters map[string]json.RawMessage) (map[string]Value, error) {
	all := map[string]Value{}
	for name, raw := range parameters {
		v, err := parseValue(raw, true)
		if err != nil {
			return nil, problem.Wrap(err, "parameter %s", name)
		}
		all[name] = v
	}
	return all, nil
}

func parseValue(raw json.RawMessage, lists bool) (Value, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return Value{}, problem.New(problem.Invalid, "there is no value")
	}
	switch raw[0] {
	case 'n':
		return Value{Type: Null}, nil
	case 't', 'f':
		return Value{Type: Bool, Text: string(raw)}, nil
	case '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return Value{Type: String, Text: text}, problem.WrapAs(problem.Invalid, err, "reading the text")
	case '[':
		return parseList(raw, lists)
	case '{':
		return parseTyped(raw)
	}
	return number(string(raw))
}

func parseList(raw json.RawMessage, allowed bool) (Value, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil || !allowed {
		return Value{}, problem.New(problem.Invalid, "want a list of plain values")
	}
	if len(parts) > maxList {
		return Value{}, problem.New(problem.TooLarge, "a list of %d values is above the limit of %d: write a table and join it", len(parts), maxList)
	}
	v := Value{Type: List, List: []Value{}}
	for _, part := range parts {
		one, err := parseValue(part, false)
		if err != nil {
			return Value{}, err
		}
		v.List = append(v.List, one)
	}
	return v, nil
}

var intPattern = regexp.MustCompile(`^-?[0-9]{1,40}$`)

func number(text string) (Value, error) {
	if intPattern.MatchString(text) {
		return Value{Type: Int, Text: text}, nil
	}
	if _, err := strconv.ParseFloat(text, 64); err != nil {
		return Value{}, problem.New(problem.Invalid, "%s is not a number that fits", short(text))
	}
	return Value{Type: Float, Text: text}, nil
}

func parseTyped(raw json.RawMessage) (Value, error) {
	var typed struct {
		Type  Type   `json:"type"`
		Value string `json:"value"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&typed); err != nil {
		return Value{}, problem.New(problem.Invalid, `want {"type": "date", "value": "2018-05-08"}`)
	}
	v := Value{Type: typed.Type, Text: typed.Value}
	return v, v.check()
}

var decimalPattern = regexp.MustCompile(`^[+-]?[0-9]{0,38}(\.[0-9]{0,38})?$`)

// check says whether a value is what its type says.
func (v Value) check() error {
	ok := false
	switch v.Type {
	case Bool:
		ok = v.Text == "true" || v.Text == "false"
	case Int:
		_, ok = new(big.Int).SetString(v.Text, 10)
		ok = ok && intPattern.MatchString(v.Text)
	case Float:
		_, err := strconv.ParseFloat(v.Text, 64)
		ok = err == nil
	case String, Null:
		ok = true
	case Date:
		_, err := time.Parse(time.DateOnly, v.Text)
		ok = err == nil
	case Timestamp:
		_, _, err := v.Time()
		ok = err == nil
	case Decimal:
		ok = decimalPattern.MatchString(v.Text) && strings.ContainsAny(v.Text, "0123456789")
	case Bytes:
		_, err := base64.StdEncoding.DecodeString(v.Text)
		ok = err == nil
	default:
		return problem.New(problem.Invalid, "there is no type %s: want null, bool, int, float, text, date, timestamp, decimal or bytes", short(string(v.Type)))
	}
	if !ok {
		return problem.New(problem.Invalid, "%s is no %s", short(v.Text), v.Type)
	}
	return nil
}

// Time returns the time of a timestamp, and whether it names a zone.
func (v Value) Time() (t time.Time, zoned bool, err error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00"} {
		if t, err = time.Parse(layout, v.Text); err == nil {
			return t, true, nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err = time.Parse(layout, v.Text); err == nil {
			return t, false, nil
		}
	}
	return t, false, problem.New(problem.Invalid, "%s is no timestamp: want 2018-05-08T12:00:00", short(v.Text))
}

// short is a text for a message.
func short(text string) string {
	const most = 80
	if len(text) > most {
		text = text[:most] + "..."
	}
	return strconv.QuoteToGraphic(text)
}
