package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"quire/internal/job"
	"quire/internal/problem"
)

// Bounds of lists of jobs and tasks.
const (
	jobPageSize    = 10 // as Titus has it
	maxJobPageSize = 1000
)

// A jobQuery chooses jobs or tasks: every filter that is given must hold.
type jobQuery struct {
	values     url.Values
	size, page int
	after      job.Cursor
	fields     []string
}

// jobFilters are the query's parameters, and what each is.
var jobFilters = map[string]string{
	"jobIds": "ids, with commas between", "taskIds": "ids, with commas between", "owner": "team's email", "applicationName": "the exact name",
	"imageName": "of the image", "imageTag": "of the image", "capacityGroup": "its name", "jobGroupStack": "of jobGroupInfo",
	"jobGroupDetail": "of jobGroupInfo", "jobGroupSequence": "of jobGroupInfo", "jobType": "batch or service",
	"attributes": "k or k:v, with commas between", "attributes.op": "and, or; default and", "jobState": "one state; Finished lists what is over",
	"taskStates": "states, with commas between", "taskStateReasons": "reason codes, with commas between",
	"skipSystemFailures": "true leaves out tasks that the platform failed", "user": "who asked for the job",
	"pageSize": "1 to 1000, default 10", "cursor": "of the page before", "fields": "names of fields to return, with commas between",
}

func readJobQuery(values url.Values) (jobQuery, error) {
	q := jobQuery{values: values, size: jobPageSize}
	for name := range values {
		if _, known := jobFilters[name]; !known && name != "page" && name != "needsMigration" {
			return q, problem.New(problem.Invalid, "there is no filter %q", clip(name, 80))
		}
	}
	if s := values.Get("pageSize"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxJobPageSize {
			return q, problem.New(problem.Invalid, "pageSize: want 1 to %d", maxJobPageSize)
		}
		q.size = n
	}
	if s := values.Get("page"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return q, problem.New(problem.Invalid, "page: want 0 or more")
		}
		q.page = n
	}
	if s := values.Get("cursor"); s != "" {
		text, err := base64.RawURLEncoding.DecodeString(s)
		if err == nil {
			_, err = fmt.Sscanf(string(text), "%d %s", &q.after.Created, &q.after.ID)
		}
		if err != nil {
			return q, problem.New(problem.Invalid, "cursor: it is none of ours")
		}
	}
	if s := values.Get("jobState"); s != "" && !slices.Contains([]job.State{job.Accepted, job.KillInitiated, job.Finished}, job.State(s)) {
		return q, problem.New(problem.Invalid, "jobState: want Accepted, KillInitiated or Finished")
	}
	if s := values.Get("fields"); s != "" {
		q.fields = strings.Split(s, ",")
	}
	return q, nil
}

func cursorOf(created int64, id string) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", created, id))
}

// filter is what the records can choose by; the rest is done by match.
func (q jobQuery) filter() job.Filter {
	f := job.Filter{User: q.values.Get("user"), State: job.State(q.values.Get("jobState")), Group: q.values.Get("capacityGroup")}
	f.Active = f.State == "" && q.values.Get("jobIds") == "" && q.values.Get("taskIds") == ""
	return f
}

// match reports whether a job is chosen.
func (q jobQuery) match(j job.Job) bool {
	d := j.Descriptor
	for name, value := range map[string]string{
		"owner": d.Owner.TeamEmail, "applicationName": d.ApplicationName, "imageName": d.Container.Image.Name,
		"imageTag": d.Container.Image.Tag, "jobGroupStack": d.JobGroupInfo.Stack, "jobGroupDetail": d.JobGroupInfo.Detail,
		"jobGroupSequence": d.JobGroupInfo.Sequence, "jobType": d.Type(),
	} {
		if want := q.values.Get(name); want != "" && want != value {
			return false
		}
	}
	return q.in("jobIds", j.ID) && q.matchAttributes(d.Attributes)
}

// in reports whether a list filter has a value, or is not given.
func (q jobQuery) in(name, value string) bool {
	list := q.values.Get(name)
	return list == "" || slices.Contains(strings.Split(list, ","), value)
}

func (q jobQuery) matchAttributes(all map[string]string) bool {
	list := q.values.Get("attributes")
	if list == "" {
		return true
	}
	wanted := map[string][]string{} // a key that is given twice may have any of its values
	for _, one := range strings.Split(list, ",") {
		key, value, _ := strings.Cut(one, ":")
		wanted[key] = append(wanted[key], value)
	}
	held := 0
	for key, values := range wanted {
		have, ok := all[key]
		if ok && (slices.Contains(values, "") || slices.Contains(values, have)) {
			held++
		}
	}
	if strings.EqualFold(q.values.Get("attributes.op"), "or") {
		return held > 0
	}
	return held == len(wanted)
}

// matchTask reports whether a task of a chosen job is chosen.
func (q jobQuery) matchTask(t job.Task) bool {
	return q.in("taskIds", t.ID) && q.in("taskStates", string(t.Status.State)) && q.in("taskStateReasons", t.Status.ReasonCode) &&
		(q.values.Get("skipSystemFailures") != "true" || !job.SystemFailure(t.Status.ReasonCode))
}

// aboutTasks reports whether a filter asks for something of the tasks.
func (q jobQuery) aboutTasks() bool {
	return q.values.Get("taskIds")+q.values.Get("taskStates")+q.values.Get("taskStateReasons") != ""
}

// pagination is Titus's.
type pagination struct {
	CurrentPage struct {
		PageNumber int `json:"pageNumber"`
		PageSize   int `json:"pageSize"`
	} `json:"currentPage"`
	HasMore        bool   `json:"hasMore"`
	TotalPages     int    `json:"totalPages"`
	TotalItems     int    `json:"totalItems"`
	Cursor         string `json:"cursor,omitempty"` // for the next page
	CursorPosition int    `json:"cursorPosition"`
}

// A jobItem is one of a list, newest first, with its place in it.
type jobItem struct {
	created int64
	id      string
	message any
}

// jobList is a page of jobs or tasks.
type jobList struct {
	Items      []any      `json:"items"`
	Pagination pagination `json:"pagination"`
}

// paged returns the page of a list that the query asks for.
func (q jobQuery) paged(all []jobItem) (jobList, error) {
	at := q.page * q.size
	if q.after != (job.Cursor{}) {
		at = 0
		for at < len(all) && (all[at].created > q.after.Created || all[at].created == q.after.Created && all[at].id >= q.after.ID) {
			at++
		}
	}
	at = min(at, len(all))
	end := min(at+q.size, len(all))
	page := jobList{Items: []any{}}
	p := &page.Pagination
	p.CurrentPage.PageNumber, p.CurrentPage.PageSize = at/q.size, q.size
	p.HasMore, p.TotalItems, p.TotalPages = end < len(all), len(all), (len(all)+q.size-1)/q.size
	p.CursorPosition = end
	for _, one := range all[at:end] {
		item, err := project(one.message, q.fields)
		if err != nil {
			return page, err
		}
		page.Items = append(page.Items, item)
		p.Cursor = cursorOf(one.created, one.id)
	}
	if !p.HasMore {
		p.Cursor = ""
	}
	return page, nil
}

// project leaves of a message the fields with the given dotted names, and its
// id; without names it is the message itself.
func project(message any, fields []string) (any, error) {
	if len(fields) == 0 {
		return message, nil
	}
	data, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	var whole map[string]any
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, err
	}
	out := map[string]any{"id": whole["id"]}
	for _, name := range fields {
		from, into := whole, out
		parts := strings.Split(name, ".")
		for i, part := range parts {
			value, ok := from[part]
			if !ok {
				break
			}
			inner, isObject := value.(map[string]any)
			if i == len(parts)-1 || !isObject {
				into[part] = value
				break
			}
			if _, there := into[part].(map[string]any); !there {
				into[part] = map[string]any{}
			}
			from, into = inner, into[part].(map[string]any)
		}
	}
	return out, nil
}
