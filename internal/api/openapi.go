package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Doc describes a route for those who call it from a program.
type Doc struct {
	Summary  string
	Query    map[string]string // name of a query parameter -> what it is
	Request  any               // zero value of the JSON body's type; nil when there is none
	Response any               // zero value of the answer's type; nil when it is not JSON
	Status   int               // of the answer; 0 is 200
}

// RegisterOpenAPI adds /api/openapi.json, the description of every route under
// /api, /user and the probes that is registered by the time it is asked for.
func RegisterOpenAPI(rt *Router, version string) {
	rt.Handle("GET /api/openapi.json", Policy{Access: SignedIn, Doc: Doc{Summary: "This description"}}, func(w http.ResponseWriter, _ *http.Request) error {
		data, err := OpenAPI(rt.Routes(), version)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		_, err = w.Write(data)
		return err
	})
}

var pathParameter = regexp.MustCompile(`\{([a-z]+)(\.\.\.)?\}`)

// OpenAPI returns the OpenAPI 3.1 document of the routes, indented, ending in a
// newline. The same routes give the same bytes.
func OpenAPI(routes []Route, version string) ([]byte, error) {
	schemas := schemaSet{}
	paths := map[string]map[string]any{}
	for _, route := range routes {
		method, path, _ := strings.Cut(route.Pattern, " ")
		if route.Policy.Page || strings.HasPrefix(path, "/static/") {
			continue
		}
		path = pathParameter.ReplaceAllString(path, "{$1}")
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(method)] = operation(route, schemas)
	}
	doc := map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "Quire", "version": version,
			"description": "Workspaces, notebooks and runs. Errors are problem details (RFC 9457).",
		},
		"paths": paths,
		"components": map[string]any{
			"schemas":         schemas.with("Problem", details{}),
			"securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}},
		},
	}
	data, err := json.MarshalIndent(doc, "", "  ")
	return append(data, '\n'), err
}

func operation(route Route, schemas schemaSet) map[string]any {
	doc := route.Policy.Doc
	op := map[string]any{"summary": doc.Summary, "operationId": operationID(route.Pattern)}
	var parameters []any
	for _, m := range pathParameter.FindAllStringSubmatch(route.Pattern, -1) {
		parameters = append(parameters, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, name := range sortedKeys(doc.Query) {
		parameters = append(parameters, map[string]any{
			"name": name, "in": "query", "description": doc.Query[name], "schema": map[string]any{"type": "string"},
		})
	}
	if parameters != nil {
		op["parameters"] = parameters
	}
	if doc.Request != nil {
		op["requestBody"] = map[string]any{"required": true, "content": jsonContent(schemas.of(reflect.TypeOf(doc.Request)))}
	}
	answer := map[string]any{"description": "Done"}
	if doc.Response != nil {
		answer["content"] = jsonContent(schemas.of(reflect.TypeOf(doc.Response)))
	}
	status := "200"
	if doc.Status == http.StatusCreated || doc.Status == http.StatusAccepted {
		status = strconv.Itoa(doc.Status)
	} else if doc.Status == http.StatusNoContent {
		status = "204"
	}
	op["responses"] = map[string]any{
		status: answer,
		"default": map[string]any{"description": "A problem", "content": map[string]any{
			"application/problem+json": map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/Problem"}},
		}},
	}
	if route.Policy.Access != Public {
		op["security"] = []any{map[string]any{"token": []any{}}}
	}
	return op
}

func jsonContent(schema any) map[string]any {
	return map[string]any{"application/json": map[string]any{"schema": schema}}
}

// operationID is a name made of the method and the path's words.
func operationID(pattern string) string {
	method, path, _ := strings.Cut(pattern, " ")
	id := strings.ToLower(method)
	for word := range strings.FieldsFuncSeq(path, func(r rune) bool { return strings.ContainsRune("/{}.-$", r) }) {
		id += strings.ToUpper(word[:1]) + word[1:]
	}
	return id
}

// A schemaSet collects the schemas of named types.
type schemaSet map[string]any

func (s schemaSet) with(name string, v any) schemaSet {
	s[name] = s.object(reflect.TypeOf(v))
	return s
}

var rawJSON = reflect.TypeFor[json.RawMessage]()

// of returns the schema of a Go type as encoding/json writes it.
func (s schemaSet) of(t reflect.Type) any {
	switch {
	case t == rawJSON:
		return map[string]any{}
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		if t.Name() == "" {
			return s.object(t)
		}
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if _, ok := s[name]; !ok {
			s[name] = nil // a type that holds itself ends here
			s[name] = s.object(t)
		}
		return map[string]any{"$ref": "#/components/schemas/" + name}
	}
	return map[string]any{}
}

func (s schemaSet) object(t reflect.Type) any {
	properties := map[string]any{}
	var required []string
	for f := range fieldsOf(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		properties[name] = s.of(f.Type)
		if !strings.Contains(options, "omitempty") && f.Type.Kind() != reflect.Pointer {
			required = append(required, name)
		}
	}
	object := map[string]any{"type": "object", "properties": properties}
	if required != nil {
		object["required"] = required
	}
	return object
}

func fieldsOf(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Anonymous && f.Type.Kind() == reflect.Struct && f.Tag.Get("json") == "" { // its fields stand beside the others
				for inner := range fieldsOf(f.Type) {
					if !yield(inner) {
						return
					}
				}
				continue
			}
			if !yield(f) {
				return
			}
		}
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
