package parameter

// JSONSchema returns the schema as a JSON Schema document (2020-12) for an
// object of parameter values, for forms and for clients. Unknown names are
// allowed by it, as a run allows them unless it is strict. A secret is writeOnly
// and shows no default.
func (s Schema) JSONSchema() []byte {
	var properties []Field
	var required []Value
	for _, p := range s.Parameters {
		properties = append(properties, Field{String(p.Name), p.jsonSchema()})
		if p.Required {
			required = append(required, String(p.Name))
		}
	}
	fields := []Field{
		{String("$schema"), String("https://json-schema.org/draft/2020-12/schema")},
		{String("type"), String("object")},
		{String("properties"), Dict(properties...)},
	}
	if len(required) > 0 {
		fields = append(fields, Field{String("required"), List(required...)})
	}
	return Dict(fields...).appendJSON(nil)
}

// jsonTypes are JSON Schema's names of our types, with its format.
var jsonTypes = map[Type][2]string{
	TypeStr: {"string"}, TypeInt: {"integer"}, TypeFloat: {"number"}, TypeBool: {"boolean"}, TypeList: {"array"}, TypeDict: {"object"},
	TypeDate: {"string", "date"}, TypeDatetime: {"string", "date-time"},
}

func (p Parameter) jsonSchema() Value {
	var fields []Field
	add := func(name string, v Value) { fields = append(fields, Field{String(name), v}) }
	if names, ok := jsonTypes[p.Type]; ok && len(p.Choices) == 0 {
		if p.Nullable {
			add("type", List(String(names[0]), String("null")))
		} else {
			add("type", String(names[0]))
		}
		if names[1] != "" {
			add("format", String(names[1]))
		}
	}
	if e, ok := jsonTypes[p.Element]; ok {
		name := "items"
		if p.Type == TypeDict {
			name = "additionalProperties"
		}
		add(name, Dict(Field{String("type"), String(e[0])}))
	}
	if len(p.Choices) > 0 {
		choices := append([]Value(nil), p.Choices...)
		if p.Nullable {
			choices = append(choices, Null())
		}
		add("enum", List(choices...))
	}
	addBound := func(b *Bound, inclusive, exclusive string) {
		switch {
		case b == nil:
		case b.Exclusive:
			add(exclusive, b.Value)
		default:
			add(inclusive, b.Value)
		}
	}
	addBound(p.Min, "minimum", "exclusiveMinimum")
	addBound(p.Max, "maximum", "exclusiveMaximum")
	if p.Help != "" {
		add("description", String(p.Help))
	}
	if p.Default != nil {
		add("default", *p.Default)
	}
	if p.Secret {
		add("writeOnly", Bool(true))
	}
	return Dict(fields...)
}
