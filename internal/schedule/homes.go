package schedule

import (
	"fmt"
	"slices"
	"strings"
)

// A place is where keys stand in a definition.
type place struct {
	words string
	top   bool     // it is the top of the definition, perhaps among others
	near  []string // keys at the top of the definition, the first of which is there or near there
}

var (
	atTop     = place{"at the top of the definition, beside name", true, []string{"name"}}
	inTrigger = place{"in an entry of triggers", false, []string{"triggers"}}
	inStep    = place{"in a step, or at the top beside the one notebook", true, []string{"steps", "notebook", "template", "sql", "command"}}
	ofStep    = place{"in a step", false, []string{"steps"}}
	inRetries = place{"in retries of a step", false, []string{"retries", "steps", "notebook"}}
)

// A home says where a key belongs that is often written elsewhere, with an example,
// and what it is called by other schedulers.
type home struct {
	key     string
	place   place
	example string
	also    string // in lower case, without - and _
}

// homes are what is looked for in this order.
var homes = []home{
	{"timezone", atTop, "timezone: Europe/Berlin", "tz zone timezonename"},
	{"start", atTop, "start: 2026-12-01T06:00", "startdate starttime startat startson"},
	{"end", atTop, "end: 2027-12-01T06:00", "enddate endtime endat endson until"},
	{"only", atTop, "only: [business-days]", "include calendar"},
	{"except", atTop, "except: [us-federal, 12-24]", "exclude exceptions holidays"},
	{"catchUp", atTop, "catchUp: all", "backfill misfire misfirepolicy"},
	{"strategy", atTop, "strategy: last-only", "concurrency concurrencypolicy overlap maxactiveruns dependsonpast"},
	{"startWithin", atTop, "startWithin: 1h", "startingdeadline startingdeadlineseconds"},
	{"doneWithin", atTop, "doneWithin: 90m", "sla deadline dagruntimeout"},
	{"doneBy", atTop, `doneBy: "07:00"`, "dueby"},
	{"stopAtFailure", atTop, "stopAtFailure: true", "failfast failstop"},
	{"runAs", atTop, "runAs: NAME", "owner user runasuser serviceaccount"},
	{"notify", atTop, "notify: [{email: ann@example.org}]", "email alert alerts emailonfailure onfailure onfailurecallback notifications"},
	{"inputs", atTop, "inputs: {day: \"{{ ds }}\"}", "input"},
	{"steps", atTop, "steps: [{name: load, notebook: users/ann/load.ipynb}]", "tasks jobs nodes"},
	{"triggers", atTop, `triggers: [{cron: "0 6 * * *"}]`, "trigger on when"},
	{"cron", inTrigger, `{cron: "0 6 * * *"}`, "crontab cronexpression scheduleinterval"},
	{"every", inTrigger, "{every: 15m}", "interval rate frequency"},
	{"at", inTrigger, "{at: 2026-12-01T06:00}", "once runat date"},
	{"from", inTrigger, "{every: 15m, from: 2026-01-01T00:03}", "anchor offset"},
	{"file", inTrigger, "{file: users/ann/in/*.csv}", "files"},
	{"table", inTrigger, "{table: plays}", "tables dataset"},
	{"webhook", inTrigger, "{webhook: deploy}", "hook"},
	{"notebook", inStep, "notebook: users/ann/load.ipynb", "path inputnb inputpath"},
	{"notebook", inRetries, "retries: {notebook: 2}", "count limit"},
	{"parameters", inStep, `parameters: {day: "{{ ds }}"}`, "params parameter arguments args vars env opkwargs"},
	{"retries", inStep, "retries: 2", "retry maxretries attempts"},
	{"wait", inRetries, "retries: {notebook: 2, wait: 30s}", "retrydelay delay"},
	{"backoff", inRetries, "retries: {notebook: 2, backoff: exponential}", "retryexponentialbackoff"},
	{"timeout", inStep, "timeout: 30m", "executiontimeout timeoutseconds maxduration"},
	{"foreach", inStep, "foreach: [a, b]", "map expand withitems matrix"},
	{"after", ofStep, "after: [load]", "dependson depends needs upstream"},
	{"when", ofStep, "when: ended", "triggerrule if condition"},
}

// folded is a key as people mean it.
func folded(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
}

// homeOf finds the home that a key is about: of what is known where it stands
// (parts), or else of what is called so, or else of what others call so.
func homeOf(key string, parts map[string]part) (home, bool) {
	name := folded(key)
	called := func(h home) bool { return folded(h.key) == name }
	others := func(h home) bool { return slices.Contains(strings.Fields(h.also), name) }
	known := func(h home) bool { return parts[h.key] != nil && (called(h) || others(h)) }
	for _, is := range []func(home) bool{known, called, others} {
		if i := slices.IndexFunc(homes, is); i >= 0 {
			return homes[i], true
		}
	}
	return home{}, false
}

// meant says what was perhaps meant by a key that is not known where it stands.
func (r *reader) meant(key string, parts map[string]part) string {
	h, ok := homeOf(key, parts)
	if !ok {
		return nearest(key, parts)
	}
	if parts[h.key] != nil {
		return ": did you mean " + h.key + "?"
	}
	if line := r.topLine(h.key); line > 0 && h.place.top {
		return fmt.Sprintf(": it stands %s, where line %d has it", h.place.words, line)
	}
	where, example := h.place.words, h.example
	for _, near := range h.place.near {
		if line := r.topLine(near); line > 0 {
			where += fmt.Sprintf(" (line %d)", line)
			break
		}
	}
	if where == inTrigger.words { // there are none
		example = "triggers: [" + example + "]"
	}
	return ": it stands " + where + ": " + example
}

// topLine is the line of a key at the top of the definition; 0 where it has none.
func (r *reader) topLine(key string) int {
	if r.top == nil {
		return 0
	}
	for i := 0; i+1 < len(r.top.Content); i += 2 {
		if r.top.Content[i].Value == key {
			return r.top.Content[i].Line
		}
	}
	return 0
}
