package schedule

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"quire/internal/problem"
)

// maxCrontab bounds what is read of a crontab, in bytes.
const maxCrontab = 4 << 20

// ImportCrontab makes definitions of the lines of a crontab. A line that runs a
// notebook, by papermill, jupyter nbconvert, jupyter execute or quire run,
// becomes a schedule of the notebook; any other command becomes a schedule of a
// notebook that runs it. What cannot be carried over is a fault with its line.
// system says that a line has a user between its times and its command.
func ImportCrontab(text []byte, system bool, o ImportOptions) ([]Imported, []Fault) {
	if len(text) > maxCrontab {
		return nil, []Fault{{Text: fmt.Sprintf("a crontab has at most %d MiB", maxCrontab>>20)}}
	}
	c := &crontab{o: o, zone: o.Zone, vars: map[string]string{}, names: names{}}
	for i, line := range strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n") {
		c.read(i+1, strings.TrimSpace(line), system)
	}
	return c.all, c.faults
}

// A crontab is one that is being read.
type crontab struct {
	o      ImportOptions
	zone   string
	mail   []string
	vars   map[string]string // set by lines before
	names  names
	all    []Imported
	faults []Fault
}

func (c *crontab) fail(line int, format string, args ...any) {
	c.faults = append(c.faults, Fault{Line: line, Text: fmt.Sprintf(format, args...)})
}

var settingPattern = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$`)

func (c *crontab) read(number int, line string, system bool) {
	if line == "" || line[0] == '#' {
		return
	}
	if m := settingPattern.FindStringSubmatch(line); m != nil {
		c.set(number, m[1], unquoted(m[2]))
		return
	}
	n := 5
	if line[0] == '@' {
		n = 1
	}
	if system {
		n++
	}
	fields := make([]string, 0, n)
	rest := line
	for range n {
		end := strings.IndexAny(rest, " \t")
		if end < 0 {
			c.fail(number, "want five times and a command, not %q", line)
			return
		}
		fields, rest = append(fields, rest[:end]), strings.TrimLeft(rest[end:], " \t")
	}
	cron := strings.Join(fields[:map[bool]int{true: n - 1, false: n}[system]], " ")
	if cron == "@reboot" {
		c.fail(number, "@reboot: nothing here fires when a machine starts; give it a time, or run it by hand")
		return
	}
	if _, err := ParseCron(cron); err != nil {
		c.fail(number, "%q: %v", cron, err)
		return
	}
	c.command(number, cron, rest, fields[n-1], system)
}

// set heeds a line that sets a variable.
func (c *crontab) set(number int, name, value string) {
	switch name {
	case "MAILTO":
		c.mail = nil
		for one := range strings.SplitSeq(value, ",") {
			switch one = strings.TrimSpace(one); {
			case strings.Contains(one, "@"):
				c.mail = append(c.mail, one)
			case one != "":
				c.fail(number, "MAILTO %s: want an address with @; nobody is told about the lines after it", one)
			}
		}
	case "CRON_TZ", "TZ":
		if _, err := LoadZone(value); err != nil {
			c.fail(number, "%s: %v", name, err)
			return
		}
		c.zone = value
	case "SHELL", "PATH", "HOME", "LOGNAME", "MAILFROM", "CONTENT_TYPE", "RANDOM_DELAY", "START_HOURS_RANGE":
		if name == "RANDOM_DELAY" && value != "0" || name == "START_HOURS_RANGE" {
			c.fail(number, "%s: there is no such thing here; the lines after it fire at their times", name)
		}
		c.vars[name] = value
	default:
		c.vars[name] = value
	}
}

// command makes a definition of a line.
func (c *crontab) command(number int, cron, command, user string, system bool) {
	j := importedJob{cron: cron, zone: c.zone, email: slices.Clone(c.mail), line: number}
	if system && user != c.o.User {
		j.notes = append(j.notes, "it ran as "+user+": here it runs as who applies this")
	}
	command, input, ok := strings.Cut(strings.ReplaceAll(command, `\%`, "\x00"), "%")
	command, input = strings.ReplaceAll(command, "\x00", "%"), strings.ReplaceAll(input, "\x00", "%")
	if ok && input != "" {
		c.fail(number, "the text after %% goes to the command as its input: a notebook has none")
		return
	}
	plain := slices.Clone(j.notes)
	l := &commandLine{vars: c.vars, job: &j, o: c.o}
	err := l.read(command)
	one := Imported{Line: number}
	if err != nil {
		j.notes = plain
		c.wrap(&one, &j, command, err)
	} else {
		j.name = c.names.of(j.notebook)
	}
	text, err := j.text()
	if err != nil {
		c.fail(number, "%v", err)
		return
	}
	one.Name, one.Text, one.Notes = j.name, text, j.notes
	c.all = append(c.all, one)
}

// wrap makes a notebook of a command that runs none, or that says more than a
// definition can.
func (c *crontab) wrap(one *Imported, j *importedJob, command string, why error) {
	words := strings.Fields(command)
	name := "command"
	for _, word := range words { // the first that is a program
		if base := path.Base(strings.Trim(word, `"';&|()`)); !strings.Contains(word, "=") && base != "cd" && base != "." && !strings.HasPrefix(word, "-") {
			name = base
			break
		}
	}
	j.name = c.names.of(strings.TrimSuffix(strings.TrimSuffix(name, ".sh"), ".py"))
	j.notebook = "users/" + c.o.User + "/crontab/" + j.name + ".ipynb"
	j.params, j.timeout, j.kernel, j.strategy = nil, "", "", ""
	j.notes = append([]string{"line " + fmt.Sprint(one.Line) + " runs a command (" + why.Error() + "): it is in a notebook of its own, " + j.notebook}, j.notes...)
	if home := c.o.Home; home != "" {
		j.notes = append(j.notes, "the command runs where its notebook is, and sees the files of this server only")
	}
	var cell strings.Builder
	cell.WriteString("%%bash\nset -e\n")
	for _, name := range slices.Sorted(maps.Keys(c.vars)) {
		if name != "SHELL" && name != "LOGNAME" && name != "HOME" {
			cell.WriteString("export " + name + "=" + quotedWord(c.vars[name]) + "\n")
		}
	}
	cell.WriteString(command + "\n")
	one.Notebook, one.Path = commandNotebook(cell.String(), fmt.Sprintf("Line %d of a crontab, as a notebook.", one.Line)), j.notebook
}

// quotedWord is a text as one word of a shell.
func quotedWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func unquoted(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// commandNotebook is a notebook of one cell.
func commandNotebook(cell, title string) []byte {
	nb := map[string]any{
		"cells": []any{
			map[string]any{"cell_type": "markdown", "id": "about", "metadata": map[string]any{}, "source": title},
			map[string]any{"cell_type": "code", "id": "command", "metadata": map[string]any{}, "execution_count": nil, "outputs": []any{}, "source": cell},
		},
		"metadata": map[string]any{
			"kernelspec":    map[string]any{"name": "python3", "display_name": "Python 3", "language": "python"},
			"language_info": map[string]any{"name": "python"},
		},
		"nbformat": 4, "nbformat_minor": 5,
	}
	text, _ := json.MarshalIndent(nb, "", " ") // maps and texts: it always can be written
	return append(text, '\n')
}

// A commandLine reads the command of a line of a crontab as the run of a
// notebook.
type commandLine struct {
	vars map[string]string
	job  *importedJob
	o    ImportOptions
	dir  string
}

// read fills the job; its error says why the command is no run of a notebook.
func (l *commandLine) read(command string) error {
	words, err := shellWords(command, l.vars)
	if err != nil {
		return err
	}
	if len(words) > 3 && words[0] == "cd" && words[2] == "\x00&&" {
		l.dir, words = words[1], words[3:]
	}
	words = l.redirections(words)
	if i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "\x00") }); i >= 0 {
		return problem.New(problem.Invalid, "it has %q", words[i][1:])
	}
	words, err = l.wrappers(words)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return problem.New(problem.Invalid, "there is no command")
	}
	return l.program(words)
}

// redirections leaves out where the output goes: it is kept with each run.
func (l *commandLine) redirections(words []string) []string {
	var rest []string
	for i := 0; i < len(words); i++ {
		word := words[i]
		if !strings.HasPrefix(word, "\x00>") {
			rest = append(rest, word)
			continue
		}
		if i+1 < len(words) {
			i++
			if words[i] != "/dev/null" {
				l.job.notes = append(l.job.notes, "what it prints is kept with each run, not in "+words[i])
			}
		}
	}
	return rest
}

// durationPattern is what timeout takes.
var durationPattern = regexp.MustCompile(`^(\d+)(s|m|h|d)?$`)

// wrappers heeds programs that run another one.
func (l *commandLine) wrappers(words []string) ([]string, error) {
	for len(words) > 0 {
		switch path.Base(words[0]) {
		case "nice", "ionice":
			l.job.notes = append(l.job.notes, path.Base(words[0])+" is left out: priority of a definition orders runs")
			words = withoutFlags(words[1:], "-n", "-c")
		case "nohup", "chronic", "exec":
			words = words[1:]
		case "env":
			words = words[1:]
			for len(words) > 0 && strings.Contains(words[0], "=") {
				l.job.notes = append(l.job.notes, "the variable "+strings.SplitN(words[0], "=", 2)[0]+" is not set for the notebook")
				words = words[1:]
			}
		case "timeout":
			words = withoutFlags(words[1:], "-k", "-s", "--signal", "--kill-after")
			if len(words) == 0 {
				return nil, problem.New(problem.Invalid, "timeout has no command")
			}
			m := durationPattern.FindStringSubmatch(words[0])
			if m == nil {
				return nil, problem.New(problem.Invalid, "timeout %s is not understood", words[0])
			}
			if m[2] == "" {
				m[2] = "s"
			}
			l.job.timeout, words = m[1]+m[2], words[1:]
		case "flock":
			l.job.strategy = Sequential
			for len(words) > 1 && strings.HasPrefix(words[1], "-") {
				if words[1] == "-n" || words[1] == "--nonblock" {
					l.job.strategy = FirstOnly
				}
				if words[1] == "-w" || words[1] == "--timeout" {
					words = words[1:]
				}
				words = words[1:]
			}
			if len(words) < 3 {
				return nil, problem.New(problem.Invalid, "flock has no command")
			}
			l.job.notes = append(l.job.notes, "the lock "+words[1]+" became strategy: "+string(l.job.strategy)+", which is about this schedule alone")
			words = words[2:]
			if words[0] == "-c" {
				return nil, problem.New(problem.Invalid, "flock runs a shell")
			}
		default:
			if settingPattern.MatchString(words[0]) && len(words) > 1 {
				l.job.notes = append(l.job.notes, "the variable "+strings.SplitN(words[0], "=", 2)[0]+" is not set for the notebook")
				words = words[1:]
				continue
			}
			return words, nil
		}
	}
	return words, nil
}

// withoutFlags leaves out flags at the front; those named have a value.
func withoutFlags(words []string, valued ...string) []string {
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		if slices.Contains(valued, words[0]) && len(words) > 1 {
			words = words[1:]
		}
		words = words[1:]
	}
	return words
}

var pythonPattern = regexp.MustCompile(`^python(3(\.\d+)?)?$`)

// program reads what runs the notebook.
func (l *commandLine) program(words []string) error {
	name := path.Base(words[0])
	args := words[1:]
	if pythonPattern.MatchString(name) && len(args) > 1 && args[0] == "-m" {
		name, args = args[1], args[2:]
	}
	if name == "jupyter" && len(args) > 0 {
		name, args = "jupyter-"+args[0], args[1:]
	}
	switch name {
	case "papermill":
		return l.papermill(args)
	case "quire":
		if len(args) > 0 && args[0] == "run" {
			return l.papermill(args[1:])
		}
	case "jupyter-nbconvert", "nbconvert":
		return l.nbconvert(args, false)
	case "jupyter-execute", "jupyter-run":
		return l.nbconvert(args, true)
	}
	return problem.New(problem.Invalid, "%s runs no notebook", name)
}

// papermillFlags are those without a value; what is not here and not in
// papermill's code has one.
var papermillFlags = []string{
	"--log-output", "--no-log-output", "--progress-bar", "--no-progress-bar", "--report-mode", "--no-report-mode",
	"--request-save-on-cell-execute", "--inject-input-path", "--inject-output-path", "--inject-paths", "--version", "--quiet",
}

// papermill reads IN OUT and the flags of papermill and quire run.
func (l *commandLine) papermill(args []string) error {
	var paths []string
	var params []importedParameter
	for i := 0; i < len(args); i++ {
		flag, value, joined := strings.Cut(args[i], "=")
		if !strings.HasPrefix(flag, "-") || flag == "-" {
			paths = append(paths, args[i])
			continue
		}
		next := func() (string, error) {
			if joined {
				return value, nil
			}
			if i++; i >= len(args) {
				return "", problem.New(problem.Invalid, "%s has no value", flag)
			}
			return args[i], nil
		}
		var err error
		switch flag {
		case "-p", "--parameters", "-r", "--parameters_raw", "--raw":
			if i+2 >= len(args) {
				return problem.New(problem.Invalid, "%s has no name and value", flag)
			}
			node := literal(args[i+2])
			if flag == "-p" || flag == "--parameters" {
				node = guessed(args[i+2])
			}
			params = append(params, importedParameter{args[i+1], node})
			i += 2
		case "-y", "--parameters_yaml":
			var text string
			if text, err = next(); err == nil {
				params, err = yamlParameters(params, text)
			}
		case "-k", "--kernel":
			l.job.kernel, err = next()
		case "--cwd":
			var dir string
			if dir, err = next(); err == nil {
				l.job.notes = append(l.job.notes, "it ran in "+dir+": here a notebook runs in its own folder")
			}
		case "--timeout":
			l.job.timeout, err = next()
		case "-f", "--parameters_file", "-b", "--parameters_base64", "--prepare-only", "--help-notebook", "--sweep":
			return problem.New(problem.Invalid, "%s cannot be written in a definition", flag)
		default:
			if !slices.Contains(papermillFlags, flag) {
				_, err = next()
			}
			l.job.notes = append(l.job.notes, flag+" is left out")
		}
		if err != nil {
			return err
		}
	}
	if len(paths) == 0 {
		return problem.New(problem.Invalid, "it names no notebook")
	}
	if len(paths) > 1 && paths[1] != "/dev/null" && paths[1] != "-" {
		l.job.notes = append(l.job.notes, "the notebook with outputs is kept with each run, not written to "+paths[1])
	}
	l.job.params = mappingOf(params)
	return l.notebook(paths[0])
}

func yamlParameters(params []importedParameter, text string) ([]importedParameter, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, problem.New(problem.Invalid, "the YAML of its parameters is no mapping")
	}
	m := doc.Content[0]
	for i := 0; i+1 < len(m.Content); i += 2 {
		params = append(params, importedParameter{m.Content[i].Value, m.Content[i+1]})
	}
	return params, nil
}

// nbconvert reads jupyter nbconvert --execute, and jupyter execute.
func (l *commandLine) nbconvert(args []string, executes bool) error {
	var paths []string
	for i := 0; i < len(args); i++ {
		flag, value, joined := strings.Cut(args[i], "=")
		if !strings.HasPrefix(flag, "-") {
			paths = append(paths, args[i])
			continue
		}
		bare := []string{"--execute", "--inplace", "--allow-errors", "--no-input", "--no-prompt", "--stdout", "--debug", "--clear-output", "-y"}
		if !joined && !slices.Contains(bare, flag) && i+1 < len(args) {
			i++
			value = args[i]
		}
		switch short := flag[strings.LastIndexAny(flag, ".-")+1:]; {
		case flag == "--execute":
			executes = true
		case flag == "--inplace", short == "output", short == "dir", short == "output_dir", flag == "--stdout":
			l.job.notes = append(l.job.notes, "the notebook with outputs is kept with each run; "+flag+" is left out")
		case flag == "--to":
			if value != "notebook" {
				l.job.notes = append(l.job.notes, "each run's page has its notebook as HTML and to download; --to "+value+" is left out")
			}
		case short == "kernel_name":
			l.job.kernel = value
		case short == "timeout":
			l.job.notes = append(l.job.notes, flag+" is the time of one cell: timeout of a definition is that of the whole run")
		case short == "errors", short == "allow_errors":
			l.job.notes = append(l.job.notes, "a cell that fails ends a run here; tag it raises-exception where that is meant")
		default:
			l.job.notes = append(l.job.notes, flag+" is left out")
		}
	}
	switch {
	case !executes:
		return problem.New(problem.Invalid, "nbconvert without --execute runs nothing")
	case len(paths) != 1:
		return problem.New(problem.Invalid, "it names %d notebooks, not one", len(paths))
	}
	return l.notebook(paths[0])
}

func (l *commandLine) notebook(file string) error {
	if strings.Contains(file, "{{") || strings.Contains(file, "://") {
		return problem.New(problem.Invalid, "the notebook %s is not one of a folder", file)
	}
	if !strings.HasSuffix(file, ".ipynb") {
		return problem.New(problem.Invalid, "%s is no notebook", file)
	}
	at, certain := l.o.place(l.dir, file)
	l.job.notebook = at
	if !certain {
		l.job.notes = append(l.job.notes, file+" is not below a folder that was mapped: it is expected at "+at)
	}
	return nil
}

var (
	datePattern = regexp.MustCompile(`^date(?:\s+(?:-d|--date)[= ]?\s*(?:"([^"]*)"|'([^']*)'|(\S+)))?(?:\s+\+(?:"([^"]*)"|'([^']*)'|(\S+)))?$`)
	agoPattern  = regexp.MustCompile(`^-?\s*(\d+)\s*(day|hour|week|month)s?(\s+ago)?$`)
)

// dateExpression is a date of the shell as an expression: the date of the slot.
func dateExpression(command string) (string, error) {
	bad := problem.New(problem.Invalid, "$(%s) is not understood", command)
	m := datePattern.FindStringSubmatch(strings.TrimSpace(command))
	if m == nil {
		return "", bad
	}
	when, form := m[1]+m[2]+m[3], m[4]+m[5]+m[6]
	shift := ""
	switch when {
	case "", "now", "today":
	case "yesterday":
		shift = " - 1d"
	case "tomorrow":
		shift = " + 1d"
	default:
		a := agoPattern.FindStringSubmatch(when)
		if a == nil {
			return "", bad
		}
		sign := " + "
		if a[3] != "" || strings.HasPrefix(when, "-") {
			sign = " - "
		}
		shift = sign + a[1] + map[string]string{"day": "d", "hour": "h", "week": "w", "month": "mo"}[a[2]]
	}
	text := "slot" + shift
	switch form {
	case "%F", "%Y-%m-%d":
		text = "ds" + shift
	case "%Y%m%d":
		text = "ds_nodash" + shift
	case "":
		return "", bad
	default:
		text += " | " + form
	}
	if _, err := parseExpression(text); err != nil {
		return "", bad
	}
	return "{{ " + text + " }}", nil
}

// shellWords cuts a command into words as a shell does, for the little that lines
// of a crontab use: quotes, variables of lines before, and dates. What joins
// commands is a word of its own that begins with a zero byte.
func shellWords(text string, vars map[string]string) ([]string, error) {
	var words []string
	var word strings.Builder
	open := false
	end := func() {
		if open {
			words = append(words, word.String())
			word.Reset()
		}
		open = false
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t':
			end()
			i++
		case c == '\'':
			close := strings.IndexByte(text[i+1:], '\'')
			if close < 0 {
				return nil, problem.New(problem.Invalid, "a quote is not closed")
			}
			word.WriteString(text[i+1 : i+1+close])
			open, i = true, i+close+2
		case c == '"':
			close := closingQuote(text[i+1:])
			if close < 0 {
				return nil, problem.New(problem.Invalid, "a quote is not closed")
			}
			inner, err := expandShell(text[i+1:i+1+close], vars)
			if err != nil {
				return nil, err
			}
			word.WriteString(inner)
			open, i = true, i+close+2
		case c == '\\' && i+1 < len(text):
			word.WriteByte(text[i+1])
			open, i = true, i+2
		case c == '$' || c == '`':
			n := expansion(text[i:])
			inner, err := expandShell(text[i:i+n], vars)
			if err != nil {
				return nil, err
			}
			word.WriteString(inner)
			open, i = true, i+n
		case strings.HasPrefix(text[i:], "2>&1"), strings.HasPrefix(text[i:], ">&2"):
			end()
			i += map[bool]int{true: 4, false: 3}[c == '2'] // both streams are kept with a run
		case c == '>' || (c == '2' || c == '1' || c == '&') && i+1 < len(text) && text[i+1] == '>' && !open:
			end()
			i += strings.IndexByte(text[i:], '>') + 1
			if i < len(text) && text[i] == '>' {
				i++
			}
			words = append(words, "\x00>")
		case strings.HasPrefix(text[i:], "&&"), strings.HasPrefix(text[i:], "||"):
			end()
			words, i = append(words, "\x00"+text[i:i+2]), i+2
		case strings.IndexByte("|;&<()*?[]{}", c) >= 0:
			end()
			words, i = append(words, "\x00"+string(c)), i+1
		case c == '#' && !open:
			i = len(text)
		default:
			word.WriteByte(c)
			open, i = true, i+1
		}
	}
	end()
	return words, nil
}

// closingQuote is where a double quote is closed, -1 when it is not.
func closingQuote(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case strings.HasPrefix(text[i:], "$("):
			depth++
		case text[i] == ')' && depth > 0:
			depth--
		case text[i] == '"' && depth == 0:
			return i
		}
	}
	return -1
}

// expansion is how long a variable, or a command in place, is at the start of a
// text.
func expansion(text string) int {
	switch {
	case strings.HasPrefix(text, "$("):
		if end := strings.IndexByte(text, ')'); end >= 0 {
			return end + 1
		}
		return len(text)
	case strings.HasPrefix(text, "${"):
		if end := strings.IndexByte(text, '}'); end >= 0 {
			return end + 1
		}
		return len(text)
	case text[0] == '`':
		if end := strings.IndexByte(text[1:], '`'); end >= 0 {
			return end + 2
		}
		return len(text)
	}
	n := 1
	for n < len(text) && (text[n] == '_' || text[n] >= '0' && text[n] <= '9' || text[n] >= 'A' && text[n] <= 'Z' || text[n] >= 'a' && text[n] <= 'z') {
		n++
	}
	return n
}

// expandShell puts in variables and dates.
func expandShell(text string, vars map[string]string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			b.WriteByte(text[i+1])
			i += 2
		case text[i] == '$' || text[i] == '`':
			n := expansion(text[i:])
			part := text[i : i+n]
			i += n
			if inner, ok := strings.CutPrefix(part, "$("); ok || part[0] == '`' {
				if !ok {
					inner = strings.Trim(part, "`")
				}
				date, err := dateExpression(strings.TrimSuffix(inner, ")"))
				if err != nil {
					return "", err
				}
				b.WriteString(date)
				continue
			}
			name := strings.Trim(part, "${}")
			value, known := vars[name]
			if !known {
				return "", problem.New(problem.Invalid, "the variable %s is not set in the crontab", part)
			}
			b.WriteString(value)
		default:
			b.WriteByte(text[i])
			i++
		}
	}
	return b.String(), nil
}
