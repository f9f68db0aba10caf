package schedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"quire/internal/problem"
)

// A JupyterDefinition is a job definition of jupyter-scheduler, as its API
// returns it and its database keeps it.
type JupyterDefinition struct {
	ID          string                     `json:"job_definition_id"`
	Name        string                     `json:"name"`
	Input       string                     `json:"input_filename"`
	Schedule    string                     `json:"schedule"` // a cron; "" is by hand only
	Zone        string                     `json:"timezone"`
	Active      *bool                      `json:"active"` // nil is true
	Environment string                     `json:"runtime_environment_name"`
	Parameters  map[string]json.RawMessage `json:"parameters"`
	Formats     []string                   `json:"output_formats"`
	Tags        []string                   `json:"tags"`
	Compute     string                     `json:"compute_type"`
	Output      string                     `json:"output_filename_template"`
	Package     bool                       `json:"package_input_folder"`
	Environs    map[string]json.RawMessage `json:"runtime_environment_parameters"`
	Email       *struct {
		OnSuccess []string `json:"on_success"`
		OnFailure []string `json:"on_failure"`
	} `json:"email_notifications"`
}

// ReadJupyterDefinitions reads what GET /scheduler/job_definitions answers, or a
// list of definitions.
func ReadJupyterDefinitions(text []byte) ([]JupyterDefinition, error) {
	var all []JupyterDefinition
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		if err := json.Unmarshal(text, &all); err != nil {
			return nil, problem.WrapAs(problem.Invalid, err, "reading job definitions")
		}
		return all, nil
	}
	var answer struct {
		Definitions *[]JupyterDefinition `json:"job_definitions"`
		JupyterDefinition
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "reading job definitions")
	}
	switch {
	case answer.Definitions != nil:
		return *answer.Definitions, nil
	case answer.Input != "":
		return []JupyterDefinition{answer.JupyterDefinition}, nil
	}
	return nil, problem.New(problem.Invalid, "want what GET /scheduler/job_definitions of jupyter-scheduler answers: an object with job_definitions, or a list")
}

// ImportJupyterScheduler makes definitions of jupyter-scheduler's. A fault's line
// is the number of the definition, from 1.
func ImportJupyterScheduler(all []JupyterDefinition, o ImportOptions) ([]Imported, []Fault) {
	var done []Imported
	var faults []Fault
	taken := names{}
	for i, d := range all {
		j := d.job(o)
		name := d.Name
		if strings.Trim(name, " -_.") == "" {
			name = d.Input
		}
		j.name = taken.of(name)
		text, err := j.text()
		if err != nil {
			faults = append(faults, Fault{Line: i + 1, Text: fmt.Sprintf("job definition %q: %v", d.Name, err)})
			continue
		}
		done = append(done, Imported{Name: j.name, Line: i + 1, Text: text, Notes: j.notes})
	}
	return done, faults
}

func (d JupyterDefinition) job(o ImportOptions) importedJob {
	at, certain := o.place("", d.Input)
	j := importedJob{cron: strings.Join(strings.Fields(d.Schedule), " "), zone: d.Zone, notebook: at, describe: cutText(d.Name, 200)}
	say := func(format string, args ...any) { j.notes = append(j.notes, fmt.Sprintf(format, args...)) }
	if j.zone == "" {
		j.zone = o.Zone
	}
	say("jupyter-scheduler ran a copy of %s that it took when the definition was made: the notebook is expected at %s", d.Input, at)
	if !certain {
		say("%s is not below a folder that was mapped", d.Input)
	}
	if d.Active != nil && !*d.Active {
		say("it was not active: pause this schedule after applying it")
	}
	if d.Schedule == "" {
		say("it had no times: it is fired by hand")
	}
	if d.Environment != "" {
		say("it ran in the environment %s: the notebook's own kernel runs it here; name another with kernel", d.Environment)
	}
	if len(d.Environs) > 0 {
		say("the parameters of its environment are left out")
	}
	for _, format := range d.Formats {
		if format != "ipynb" {
			say("each run's page has its notebook as HTML and to download; the output %s is left out", format)
		}
	}
	if d.Package {
		say("the files beside the notebook came along: here it runs in its own folder and sees them")
	}
	if d.Email != nil {
		j.email = d.Email.OnFailure
		if len(d.Email.OnSuccess) > 0 {
			say("who was told of success (%s) is left out: add on: [success] to notify", strings.Join(d.Email.OnSuccess, ", "))
		}
	}
	for _, tag := range d.Tags {
		if tag = strings.TrimSpace(tag); tag != "" && len(j.tags) < 18 {
			j.tags = append(j.tags, tag)
		}
	}
	var params []importedParameter
	for _, name := range sortedKeys(d.Parameters) {
		var text string
		if json.Unmarshal(d.Parameters[name], &text) == nil {
			params = append(params, importedParameter{name, literal(text)})
			continue
		}
		params, _ = yamlParameters(params, string(mustPair(name, d.Parameters[name])))
	}
	j.params = mappingOf(params)
	return j
}

// mustPair is one name and value as JSON, which YAML reads.
func mustPair(name string, value json.RawMessage) []byte {
	text, err := json.Marshal(map[string]json.RawMessage{name: value})
	if err != nil {
		return []byte("{}")
	}
	return text
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}
