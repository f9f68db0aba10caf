package pages

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"quire/internal/compute"
	"quire/internal/notebook"
	"quire/internal/notify"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/run"
)

// A field is one parameter in the form.
type field struct {
	parameter.Parameter
	ID      string // of the input
	Widget  string // text, number, date, checkbox, select, json, secret; a secret's Choices and Value are names
	Value   string // what stands in it
	Initial string // what stands in it when nobody has typed
	Checked bool
	Choices []string
	Step    string
	Min     string
	Max     string
	Hint    string   // type, bounds and default in words
	Moving  []moving // dates that move, to choose instead of one; templates only
	Now     string   // what the expression in it comes to now
	Problem string
}

// A moving is a date that is another every day.
type moving struct{ Expression, Label string }

// movings are those that a form offers.
var movings = []moving{
	{"{{ ds }}", "today"},
	{"{{ ds - 1d }}", "yesterday"},
	{"{{ ds - 7d }}", "a week ago"},
	{"{{ month_start }}", "first of this month"},
	{"{{ month_start - 1mo }}", "first of last month"},
}

// Describes are the ids of what describes the field.
func (f field) Describes() string {
	ids := "h." + f.ID
	if f.Problem != "" {
		ids += " e." + f.ID
	}
	return ids
}

// A runForm is the form that turns a notebook into a run.
type runForm struct {
	Path    string
	Version int64
	Pinned  bool // an older version was asked for
	Fields  []field
	Extra   string // further parameters, as a JSON object
	Timeout string
	Retries string
	Tags    string
	Notify  string            // addresses and channels with commas between them
	Output  string            // where its output is put, with placeholders
	Place   string            // where that is now
	Zone    string            // of dates
	Secrets map[string]string // names of secrets that were chosen, by parameter

	Containers                      bool   // whether a run can have one
	CPUs, Memory, GPUs              string // of its container; all empty is none
	CPURange, MemoryRange, GPURange string
	Suggested                       string // a size, from what past runs used

	Nonce    string // makes sending the form twice one run
	Preview  string // source of the injected cell
	Previews bool
	Error    string
	From     string // the run whose parameters were taken
	Template string // the name of the template that is run; "" for a notebook

	kernel, language string
	schema           parameter.Schema
	// dated puts dates in place of a value's expressions; nil leaves them.
	dated func(parameter.Parameter, parameter.Value) (parameter.Value, error)
}

// Kind is the type of the field's input: an expression is text.
func (f field) Kind() string {
	if f.Widget == "date" && run.HasExpression(f.Value) {
		return "text"
	}
	return f.Widget
}

// formOf makes the form of a notebook.
func formOf(p string, version int64, nb *notebook.Notebook) *runForm {
	f := &runForm{Path: p, Version: version, kernel: nb.KernelName(), language: nb.Language(), Nonce: rand.Text()}
	i := nb.ParametersCell()
	if i < 0 {
		return f
	}
	definitions, _ := parameter.Inspect(nb.Language(), nb.Cells[i].Source)
	f.schema = parameter.SchemaOf(definitions)
	for n, p := range f.schema.Parameters {
		f.Fields = append(f.Fields, fieldOf(n, p))
	}
	return f
}

func fieldOf(n int, p parameter.Parameter) field {
	f := field{Parameter: p, ID: "p" + strconv.Itoa(n), Widget: "text"}
	switch {
	case p.Secret:
		f.Widget = "secret"
	case len(p.Choices) > 0:
		f.Widget = "select"
		for _, c := range p.Choices {
			f.Choices = append(f.Choices, display(c))
		}
	case p.Type == parameter.TypeBool && !p.Nullable && p.Default != nil:
		f.Widget = "checkbox"
	case p.Type == parameter.TypeInt, p.Type == parameter.TypeFloat:
		f.Widget, f.Step = "number", "any"
		if p.Type == parameter.TypeInt {
			f.Step = "1"
		}
		f.Min, f.Max = bound(p.Min), bound(p.Max)
	case p.Type == parameter.TypeDate:
		f.Widget = "date"
	case p.Type == parameter.TypeList, p.Type == parameter.TypeDict:
		f.Widget = "json"
	}
	if p.Default != nil {
		f.Initial = f.show(*p.Default)
		f.Value = f.Initial
		f.Checked, _ = p.Default.AsBool()
	}
	f.Hint = f.hint()
	return f
}

// bound is the end of a range as an input takes it; open ends are left to the
// check.
func bound(b *parameter.Bound) string {
	if b == nil || b.Exclusive {
		return ""
	}
	return display(b.Value)
}

// show is a value as it stands in the field.
func (f *field) show(v parameter.Value) string {
	if f.Widget == "json" && !v.IsNull() {
		if data, err := v.MarshalJSON(); err == nil {
			return string(data)
		}
	}
	return display(v)
}

// display is a value as a person types it.
func display(v parameter.Value) string {
	if v.IsNull() {
		return ""
	}
	if s, ok := v.AsString(); ok {
		return s
	}
	return v.String()
}

func (f *field) hint() string {
	var facts []string
	if f.Type != parameter.TypeAny && f.Type != "" {
		kind := string(f.Type)
		if f.Element != "" {
			kind += " of " + string(f.Element)
		}
		if f.Widget == "json" {
			kind += ", as JSON"
		}
		facts = append(facts, kind)
	}
	switch {
	case f.Parameter.Min != nil && f.Parameter.Max != nil:
		facts = append(facts, "from "+end(f.Parameter.Min)+" to "+end(f.Parameter.Max))
	case f.Parameter.Min != nil:
		facts = append(facts, "at least "+end(f.Parameter.Min))
	case f.Parameter.Max != nil:
		facts = append(facts, "at most "+end(f.Parameter.Max))
	}
	switch {
	case f.Secret:
	case f.Required:
		facts = append(facts, "required")
	case f.Default != nil && f.Default.IsNull():
		facts = append(facts, "none unless given")
	case f.Default != nil && display(*f.Default) == "":
		facts = append(facts, "empty unless given")
	case f.Default != nil:
		facts = append(facts, "default "+f.show(*f.Default))
	case f.DefaultText != "":
		facts = append(facts, "computed unless given: "+f.DefaultText)
	}
	return strings.Join(facts, " · ")
}

func end(b *parameter.Bound) string {
	if b.Exclusive {
		return display(b.Value) + " (not included)"
	}
	return display(b.Value)
}

// take reads what a person has typed into the fields.
func (f *runForm) take(values url.Values) {
	for i := range f.Fields {
		d := &f.Fields[i]
		switch {
		case d.Widget == "secret": // below
		case d.Widget == "checkbox":
			d.Checked = values.Has("p." + d.Name)
		default:
			d.Value = strings.ReplaceAll(values.Get("p."+d.Name), "\r\n", "\n")
		}
		if chosen := values.Get("m." + d.Name); chosen != "" && d.Widget == "date" {
			d.Value = chosen
		}
	}
	takeSecrets(f.Fields, values)
	f.Output = strings.TrimSpace(values.Get("output"))
	f.Extra, f.Timeout, f.Retries = strings.TrimSpace(values.Get("extra")), values.Get("timeout"), values.Get("retries")
	f.Tags, f.Notify = values.Get("tags"), values.Get("notify")
	f.CPUs, f.Memory, f.GPUs = values.Get("cpus"), values.Get("memory"), values.Get("gpus")
	if nonce := values.Get("nonce"); nonce != "" && len(nonce) <= 64 {
		f.Nonce = nonce
	}
}

// prefill puts the parameters of an earlier run, or of the address, into the
// fields.
func (f *runForm) prefill(set parameter.Set) {
	for i := range f.Fields {
		d := &f.Fields[i]
		v, ok := set.Get(d.Name)
		if !ok || d.Widget == "secret" {
			continue
		}
		d.Value = d.show(v)
		d.Checked, _ = v.AsBool()
		set.Delete(d.Name)
	}
	if set.Len() > 0 {
		if data, err := set.MarshalJSON(); err == nil {
			f.Extra = string(data)
		}
	}
}

// set is what the run is given: what differs from the defaults. filled is the same
// with dates in place of expressions, of defaults too. Problems are noted at their
// fields.
func (f *runForm) set() (set, filled parameter.Set) {
	written := map[string]parameter.Value{}
	for i := range f.Fields {
		d := &f.Fields[i]
		v, given := d.value()
		if now, ok := f.now(d); ok {
			if given {
				written[d.Name] = v
			}
			v, given = now, true
		}
		if given {
			set.Put(d.Name, v)
		}
	}
	if f.Extra != "" {
		more, err := parameter.FromJSON("further parameters", []byte(f.Extra))
		if err != nil {
			f.Error = text(err)
		}
		more, wrong := withoutSecrets(f.schema, more)
		if wrong != "" {
			f.Error = wrong
		}
		set.Merge(more)
	}
	f.Secrets = boundSecrets(f.Fields)
	applied, violations := f.schema.Apply(set, false)
	for _, v := range violations {
		for i := range f.Fields {
			if d := &f.Fields[i]; d.Name == v.Name && d.Problem == "" && d.Widget != "secret" {
				d.Problem = v.Text
			}
		}
	}
	set = applied.Clone()
	for _, d := range f.Fields {
		switch v, ok := written[d.Name]; {
		case ok:
			set.Put(d.Name, v)
		case d.Now != "":
			set.Delete(d.Name) // its default, which the run fills
		}
	}
	return set, applied
}

// now is what the expression in a field comes to; ok is false where it has none. The
// text of a default that is none of ours stays text.
func (f *runForm) now(d *field) (v parameter.Value, ok bool) {
	if f.dated == nil || d.Widget == "secret" || !run.HasExpression(d.Value) {
		return v, false
	}
	v, given := d.value()
	if !given && d.Default != nil {
		v = *d.Default
	}
	filled, err := f.dated(d.Parameter, v)
	if err != nil {
		d.Problem = text(err)
		return v, false
	}
	if filled.Equal(v) {
		return v, false
	}
	d.Now = d.show(filled)
	return filled, true
}

// value is what the field gives the run, if anything.
func (d *field) value() (parameter.Value, bool) {
	switch d.Widget {
	case "secret":
		return parameter.Value{}, false
	case "checkbox":
		initial, _ := d.Default.AsBool()
		return parameter.Bool(d.Checked), d.Checked != initial
	case "select":
		for i, c := range d.Choices {
			if c == d.Value {
				return d.Parameter.Choices[i], d.Default == nil || c != d.Initial
			}
		}
		return parameter.FromRaw(d.Value), d.Value != ""
	}
	if d.Value == d.Initial && d.Default != nil {
		return parameter.Value{}, false
	}
	if d.Value == "" {
		switch {
		case d.Nullable:
			return parameter.Null(), d.Default != nil && !d.Default.IsNull()
		case d.Type == parameter.TypeStr && d.Default != nil:
			return parameter.String(""), true
		}
		return parameter.Value{}, false
	}
	if d.Widget == "json" {
		if v, err := parameter.ParseJSON([]byte(d.Value)); err == nil {
			return v, true
		}
	}
	return parameter.FromFlag(d.Value), true
}

// bad reports whether something in the form is wrong.
func (f *runForm) bad() bool {
	for _, d := range f.Fields {
		if d.Problem != "" {
			return true
		}
	}
	return f.Error != ""
}

func (f *runForm) request(set parameter.Set) (run.Request, error) {
	req := run.Request{Notebook: f.Path, IdempotencyKey: "form " + f.Nonce}
	switch {
	case f.Template != "": // the version whose form was filled in
		req = run.Request{Template: f.Template, TemplateVersion: int(f.Version), IdempotencyKey: req.IdempotencyKey}
		req.Output = run.NoOutput // an empty field is nowhere
	case f.Pinned:
		req.Version = f.Version
	}
	if f.Output != "" {
		req.Output = f.Output
	}
	req.Secrets = f.Secrets
	var err error
	if req.Parameters, err = set.MarshalJSON(); err != nil {
		return req, err
	}
	for tag := range strings.SplitSeq(f.Tags, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			req.Tags = append(req.Tags, tag)
		}
	}
	for one := range strings.SplitSeq(f.Notify, ",") {
		if strings.TrimSpace(one) == "" {
			continue
		}
		rule, ruleErr := notify.ParseRule(one)
		if ruleErr != nil {
			err = ruleErr
		}
		req.Notify = append(req.Notify, rule)
	}
	whole := func(what, typed string) int64 {
		if typed == "" {
			return 0
		}
		n, parseErr := strconv.ParseInt(typed, 10, 32)
		if parseErr != nil || n < 0 {
			err = problem.New(problem.Invalid, "%s: want a whole number, 0 or more", what)
		}
		return n
	}
	if f.CPUs+f.Memory+f.GPUs != "" {
		size := compute.Resources{GPUs: whole("GPUs", f.GPUs)}
		for _, one := range []struct {
			what, typed string
			unit        int64
			to          *int64
		}{{"CPUs", f.CPUs, 1000, &size.CPUMilli}, {"memory", f.Memory, compute.GiB, &size.MemoryBytes}} {
			if one.typed == "" {
				continue
			}
			const most = 1e6
			n, parseErr := strconv.ParseFloat(strings.TrimSpace(one.typed), 64)
			if parseErr != nil || n <= 0 || n > most {
				err = problem.New(problem.Invalid, "container: %s: want a number above 0", one.what)
				continue
			}
			*one.to = int64(n * float64(one.unit))
		}
		req.Container = &size
	}
	req.TimeoutSeconds, req.Retries = whole("time limit", f.Timeout), int(whole("retries", f.Retries))
	return req, err
}

// runForm shows the form. The query may name a run whose parameters to take
// ("from"), and parameters as p.<name>.
func (s *site) runForm(w http.ResponseWriter, r *http.Request) error {
	f, err := s.formFor(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	if id := q.Get("from"); id != "" {
		old, err := s.cfg.Runs.Get(r.Context(), user(r), id)
		if err != nil {
			return err
		}
		if set, err := parameter.FromJSON("the run's parameters", old.Parameters); err == nil {
			f.prefill(set)
			f.From = id
		}
		if old.Owner == user(r).Name {
			bindAgain(f.Fields, old.Secrets)
		}
	}
	for i := range f.Fields {
		if d := &f.Fields[i]; q.Has("p."+d.Name) && d.Widget != "secret" {
			d.Value = q.Get("p." + d.Name)
			d.Checked = d.Value == "true" || d.Value == "1" || d.Value == "True"
		}
	}
	for i := range f.Fields {
		f.now(&f.Fields[i])
	}
	if f.Output != "" {
		set, _ := f.set()
		s.placeOf(r, f, set)
		for i := range f.Fields {
			f.Fields[i].Problem = "" // nobody has typed yet
		}
	}
	return s.showForm(w, r, http.StatusOK, f)
}

// section is the entry of the navigation that a form belongs to.
func (f *runForm) section() string {
	if f.Template != "" {
		return "templates"
	}
	return "runs"
}

func (s *site) formFor(r *http.Request) (*runForm, error) {
	p := pathOf(r)
	nb, number, err := s.load(r, p)
	if err != nil {
		return nil, err
	}
	f := formOf(p, number, nb)
	if err := s.offerSecrets(r, f.Fields); err != nil {
		return nil, err
	}
	if s.cfg.Jobs != nil {
		limits := s.cfg.Jobs.Profile(user(r)).Limits
		f.Containers = true
		f.CPURange = fmt.Sprintf("%d to %d", limits.CPUMilli.Min/1000, limits.CPUMilli.Max/1000)
		f.MemoryRange = fmt.Sprintf("%d to %d GB", limits.MemoryBytes.Min/compute.GiB, limits.MemoryBytes.Max/compute.GiB)
		suggested, err := s.cfg.Runs.Suggest(r.Context(), user(r), f.Path)
		if err != nil {
			return nil, err
		}
		if suggested.Runs > 0 {
			f.Suggested = fmt.Sprintf("Suggested: %d CPUs and %d GB. %s.", suggested.Resources.CPUMilli/1000, suggested.Resources.MemoryBytes/compute.GiB, strings.ToUpper(suggested.Why[:1])+suggested.Why[1:])
		}
		f.GPURange = fmt.Sprintf("%d to %d", limits.GPUs.Min, limits.GPUs.Max)
	}
	f.Pinned = r.URL.Query().Get("version") != ""
	f.Template, _ = s.templateName(p)
	if f.Template == "" {
		return f, nil
	}
	v, err := s.cfg.Templates.Version(r.Context(), user(r), f.Template, int(number))
	if err != nil {
		return nil, err
	}
	at := time.Now()
	f.Output, f.Zone = v.Output, at.Format("MST")
	f.dated = func(p parameter.Parameter, v parameter.Value) (parameter.Value, error) {
		return s.cfg.Runs.Dated(p, v, at)
	}
	for i := range f.Fields {
		if f.Fields[i].Widget == "date" {
			f.Fields[i].Moving = movings
		}
	}
	return f, nil
}

// placeOf notes where the output would be put now. What is wrong is said when the
// run is asked for.
func (s *site) placeOf(r *http.Request, f *runForm, set parameter.Set) {
	req, err := f.request(set)
	if err == nil {
		f.Place, err = s.cfg.Runs.OutputOf(r.Context(), user(r), req)
	}
	if err != nil {
		f.Place = ""
	}
}

func (s *site) showForm(w http.ResponseWriter, r *http.Request, status int, f *runForm) error {
	name := f.Path[strings.LastIndexByte(f.Path, '/')+1:]
	return s.show(w, r, status, "runform", view{Title: "Run " + name, Section: f.section(), Crumbs: s.crumbs(f.Path), Data: f})
}

// submit previews the injected cell or queues the run.
func (s *site) submit(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	f, err := s.formFor(r)
	if err != nil {
		return err
	}
	f.take(r.PostForm)
	set, filled := f.set()
	req, err := f.request(set)
	if err != nil && f.Error == "" {
		f.Error = text(err)
	}
	if f.bad() {
		return s.showForm(w, r, http.StatusBadRequest, f)
	}
	if r.PostForm.Has("preview") {
		f.Previews = true
		s.placeOf(r, f, set)
		if filled.Len() > 0 {
			if f.Preview, err = parameter.Translate(f.kernel, f.language, filled, ""); err != nil {
				f.Error = text(err)
			}
		}
		return s.showForm(w, r, http.StatusOK, f)
	}
	created, err := s.cfg.Runs.Submit(r.Context(), user(r), req)
	if problem.Is(err, problem.Invalid) || problem.Is(err, problem.Denied) || problem.Is(err, problem.NotFound) {
		f.Error = text(err) // what was typed is not lost
		return s.showForm(w, r, http.StatusBadRequest, f)
	}
	if err != nil {
		return err
	}
	return s.redirect(w, r, s.to("/runs/")+created.ID)
}
