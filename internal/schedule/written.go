package schedule

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"quire/internal/problem"
)

// A step may be SQL or a command in place of a notebook. It becomes a notebook
// all the same, in the workspace of the schedule's owner, when the definition is
// applied: so it has versions, a page, outputs and a log as every other step.

// maxWritten is how long SQL or a command may be, in bytes.
const maxWritten = 64 << 10

// written reports whether the schedule writes the step's notebook.
func (s Step) written() bool { return s.SQL != "" || s.Command != "" }

// writtenPath is where the notebook of such a step is.
func writtenPath(owner, schedule, step string) string {
	return "users/" + owner + "/schedules/" + schedule + "/" + step + ".ipynb"
}

// notebook returns the notebook of a step that is SQL or a command. The same
// step gives the same bytes.
func (s Step) notebook(schedule string) ([]byte, error) {
	about := fmt.Sprintf("Step *%s* of schedule *%s*. It is written when the schedule is applied: change it there.", s.Name, schedule)
	if s.SQL != "" {
		text := s.SQL
		if s.Connection != "" {
			text = "-- connection: " + s.Connection + "\n" + text
		}
		return json.MarshalIndent(book("sql", "SQL", "sql", markdown(about), code("sql", text)), "", " ")
	}
	cells := []any{markdown(about)}
	names, err := s.parameterNames()
	if err != nil {
		return nil, err
	}
	arguments := ""
	if len(names) > 0 {
		declaration := code("parameters", strings.Join(names, " = None\n")+" = None")
		declaration["metadata"] = map[string]any{"tags": []string{"parameters"}}
		cells = append(cells, declaration)
		for _, name := range names {
			arguments += ", " + name + "=" + name
		}
	}
	cells = append(cells, code("command", "import quire\n\nquire.shell("+pythonText(s.Command)+arguments+")"))
	return json.MarshalIndent(book("python3", "Python 3", "python", cells...), "", " ")
}

// pythonText is a text in Python's words, over several lines where that can be.
func pythonText(s string) string {
	if !strings.Contains(s, `"""`) && !strings.ContainsAny(s, "\r\x00") {
		return `r"""` + "\n" + strings.TrimRight(s, "\n") + "\n" + `"""`
	}
	quoted, _ := json.Marshal(s) // a text of JSON is one of Python
	return string(quoted)
}

// pythonWords cannot name a variable of Python, or not here: quire is imported.
var pythonWords = strings.Fields("False None True and as assert async await break class continue def del elif else except finally for from " +
	"global if import in is lambda nonlocal not or pass raise return try while with yield quire")

// parameterNames are what a command has as variables of its environment.
func (s Step) parameterNames() ([]string, error) {
	var values map[string]json.RawMessage
	if len(s.Parameters) > 0 {
		if err := json.Unmarshal(s.Parameters, &values); err != nil {
			return nil, problem.WrapAs(problem.Invalid, err, "reading the parameters of step %s", s.Name)
		}
	}
	return slices.Sorted(maps.Keys(values)), nil
}

func book(kernel, display, language string, cells ...any) map[string]any {
	return map[string]any{
		"cells": cells,
		"metadata": map[string]any{
			"kernelspec":    map[string]any{"name": kernel, "display_name": display, "language": language},
			"language_info": map[string]any{"name": language},
		},
		"nbformat": 4, "nbformat_minor": 5,
	}
}

func markdown(text string) map[string]any {
	return map[string]any{"cell_type": "markdown", "id": "about", "metadata": map[string]any{}, "source": text}
}

func code(id, text string) map[string]any {
	return map[string]any{"cell_type": "code", "id": id, "metadata": map[string]any{}, "execution_count": nil, "outputs": []any{}, "source": text}
}

// checkKind says what is wrong with what a step is: one of a notebook, a
// template, SQL and a command.
func (s Step) checkKind() string {
	kinds := 0
	for _, is := range []bool{s.Notebook != "" && s.Template == "", s.Template != "", s.SQL != "", s.Command != "", s.Schedule != "", s.Branch != nil} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds > 1 || s.Template != "" && s.Notebook != templatePath(s.Template):
		return "want one of notebook, template, sql, command, schedule and branch"
	case s.While != "" && s.Foreach != nil:
		return "want one of while and foreach"
	case s.While == "" && (s.Rounds != 0 || s.PauseSeconds != 0):
		return "rounds and pause go with while"
	case s.Branch != nil && (s.Foreach != nil || s.While != "" || s.Parameters != nil || s.Secrets != nil || s.Kernel != "" || s.TimeoutSeconds != 0 || s.Retries != Retries{} || s.Source != Snapshot || s.Ref != "" || s.Connection != ""):
		return "a branch runs nothing: it has name, after, when and branch only"
	case s.Branch != nil:
		return ""
	case s.Schedule != "" && !ValidName(s.Schedule):
		return fmt.Sprintf("schedule: want the name of a schedule, not %q", s.Schedule)
	case (s.Schedule != "" || s.SQL != "") && s.Secrets != nil:
		return "secrets go with a notebook, a template or a command"
	case s.Schedule != "" && (s.Kernel != "" || s.TimeoutSeconds != 0 || s.Source != Snapshot || s.Ref != "" || s.Connection != ""):
		return "a schedule has kernels, timeouts and versions of its own: they are in its definition"
	case s.Schedule != "":
		return ""
	case s.Template != "" && (!ValidName(s.Template) || strings.Contains(s.Template, "_")):
		return fmt.Sprintf("template: want the name of a template, not %q", s.Template)
	case s.Connection != "" && s.SQL == "":
		return "connection goes with sql"
	case s.Connection != "" && !ValidName(s.Connection):
		return fmt.Sprintf("connection: want the name of a connection, not %q", s.Connection)
	case s.written() && s.Kernel != "":
		return "kernel goes with a notebook: SQL and commands have theirs"
	case s.written() && s.Source == Latest:
		return "source goes with a notebook: what is written here runs as it is here"
	case len(s.SQL) > maxWritten || len(s.Command) > maxWritten:
		return fmt.Sprintf("at most %d KiB of SQL or of a command: more belongs in a notebook", maxWritten>>10)
	case strings.Contains(s.SQL, "{{"):
		return "sql: values are bound, not pasted: write :name in the statement, and name: \"{{ ... }}\" under parameters"
	case s.written():
		return s.checkNames()
	case !strings.HasSuffix(s.Notebook, ".ipynb"):
		return fmt.Sprintf("notebook: want the path of an .ipynb file, such as users/ann/report.ipynb, not %q", s.Notebook)
	}
	return ""
}

// checkNames says which parameter cannot be a variable.
func (s Step) checkNames() string {
	names, err := s.parameterNames()
	if err != nil {
		return err.Error()
	}
	for _, name := range slices.Concat(names, slices.Sorted(maps.Keys(s.Secrets))) {
		if !variableName.MatchString(name) || s.Command != "" && slices.Contains(pythonWords, name) {
			return fmt.Sprintf("%q cannot be the name of a variable", name)
		}
	}
	return ""
}
