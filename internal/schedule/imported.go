package schedule

import (
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// An Imported is a job of another scheduler as a definition. Read takes Text.
type Imported struct {
	Name string
	Line int // of the file that it came from, from 1; 0 where there are no lines
	Text []byte
	// Notes say what of the job is not, or not the same, in the definition.
	Notes []string
	// Notebook is one that runs the job's command, to be put at Path; empty when
	// the job runs a notebook of its own.
	Notebook []byte
	Path     string // of the notebook, on the volume
}

// An ImportOptions says how jobs become definitions.
type ImportOptions struct {
	User string // whose workspace relative paths are in
	Zone string // of jobs that name none; "" is UTC
	// Places maps directories, as the jobs name them, to places on the volume.
	Places map[string]string
	// Home is the directory of relative paths and of ~; it is users/USER on the
	// volume.
	Home string
}

// place is where a notebook of a local path is on the volume.
func (o ImportOptions) place(dir, file string) (at string, certain bool) {
	if rest, ok := strings.CutPrefix(file, "~/"); ok {
		file = path.Join(o.Home, rest)
	}
	if !path.IsAbs(file) {
		if dir == "" {
			dir = o.Home
		}
		if rest, ok := strings.CutPrefix(dir, "~"); ok {
			dir = o.Home + rest
		}
		file = path.Join(dir, file)
	}
	file = path.Clean(file)
	longest := ""
	for from := range o.Places {
		if (file == from || strings.HasPrefix(file, strings.TrimSuffix(from, "/")+"/")) && len(from) > len(longest) {
			longest = from
		}
	}
	if longest != "" {
		return path.Join(o.Places[longest], strings.TrimPrefix(file, longest)), true
	}
	home := "users/" + o.User
	if rest, ok := strings.CutPrefix(file, strings.TrimSuffix(o.Home, "/")+"/"); ok && o.Home != "" {
		return path.Join(home, rest), true
	}
	return path.Join(home, path.Base(file)), false
}

// An importedJob is what becomes a definition's text.
type importedJob struct {
	name     string
	describe string
	cron     string
	zone     string
	notebook string
	kernel   string
	timeout  string
	strategy Strategy
	tags     []string
	email    []string
	params   *yaml.Node // a mapping; nil is none
	notes    []string
	line     int
}

// names gives each job a name of its own.
type names map[string]bool

// of makes a valid name of a text that no job before has.
func (n names) of(text string) string {
	text = strings.TrimSuffix(path.Base(text), ".ipynb")
	text = strings.Trim(strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			return c
		}
		return '-'
	}, strings.ToLower(text)), "-_")
	for strings.Contains(text, "--") {
		text = strings.ReplaceAll(text, "--", "-")
	}
	if text == "" {
		text = "job"
	}
	text = strings.TrimRight(text[:min(len(text), maxNameLen-8)], "-_")
	name := text
	for i := 2; n[name]; i++ {
		name = text + "-" + strconv.Itoa(i)
	}
	n[name] = true
	return name
}

// text writes a job as a definition that Read takes; its error is a job that
// cannot be one.
func (j importedJob) text() ([]byte, error) {
	type trigger struct {
		Cron string `yaml:"cron"`
	}
	type rule struct {
		Email []string `yaml:"email"`
	}
	d := struct {
		Format      int        `yaml:"schedule"`
		Name        string     `yaml:"name"`
		Description string     `yaml:"description,omitempty"`
		Tags        []string   `yaml:"tags,omitempty"`
		Zone        string     `yaml:"timezone,omitempty"`
		Triggers    []trigger  `yaml:"triggers,omitempty"`
		Strategy    Strategy   `yaml:"strategy,omitempty"`
		Notebook    string     `yaml:"notebook"`
		Kernel      string     `yaml:"kernel,omitempty"`
		Timeout     string     `yaml:"timeout,omitempty"`
		Parameters  *yaml.Node `yaml:"parameters,omitempty"`
		Notify      []rule     `yaml:"notify,omitempty"`
	}{
		Format: Format, Name: j.name, Description: j.describe, Tags: j.tags, Zone: j.zone, Strategy: j.strategy,
		Notebook: j.notebook, Kernel: j.kernel, Timeout: j.timeout, Parameters: j.params,
	}
	if j.cron != "" {
		d.Triggers = []trigger{{j.cron}}
	}
	if len(j.email) > 0 {
		d.Notify = []rule{{j.email}}
	}
	var b bytes.Buffer
	for _, note := range j.notes {
		b.WriteString("# " + strings.Join(strings.Fields(note), " ") + "\n")
	}
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("writing the definition: %w", err)
	}
	if _, faults := Read(b.Bytes()); len(faults) > 0 {
		return nil, asError([]Fault{{Text: faults[0].Text}})
	}
	return b.Bytes(), nil
}

// mappingOf makes a mapping in the order of the pairs, the last of a name.
func mappingOf(pairs []importedParameter) *yaml.Node {
	if len(pairs) == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	at := map[string]int{}
	for _, p := range pairs {
		value := p.value
		if i, ok := at[p.name]; ok {
			n.Content[i] = value
			continue
		}
		key := &yaml.Node{}
		key.SetString(p.name)
		n.Content = append(n.Content, key, value)
		at[p.name] = len(n.Content) - 1
	}
	return n
}

type importedParameter struct {
	name  string
	value *yaml.Node
}

// guessed is a value of papermill's -p: a truth value, nothing, a number, or a
// text.
func guessed(text string) *yaml.Node {
	switch text {
	case "True", "true":
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"}
	case "False", "false":
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "false"}
	case "None":
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	}
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: text}
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && f-f == 0 && !strings.ContainsAny(text, "xXpP_") {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: text}
	}
	return literal(text)
}

func literal(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	if n.Style == 0 {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
