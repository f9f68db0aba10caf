package api

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"quire/internal/notify"
	"quire/internal/problem"
	"quire/internal/schedule"
)

// RegisterSchedules adds the routes of schedules under /api/schedules.
func RegisterSchedules(rt *Router, schedules *schedule.Schedules) {
	h := scheduleRoutes{schedules}
	doc := func(d Doc) Policy { return Policy{Access: SignedIn, Doc: d} }
	one, fire := schedule.Schedule{}, schedule.Fire{}
	rt.Handle("GET /api/schedules", doc(Doc{Summary: "All schedules, by name", Response: scheduleList{}}), h.list)
	rt.Handle("POST /api/schedules", doc(Doc{Summary: "Make a definition (YAML or JSON) the schedule of its name", Request: definitionText{}, Response: one}), h.apply)
	rt.Handle("POST /api/schedules/check", doc(Doc{Summary: "Everything that is wrong in a definition, with its line", Request: definitionText{}, Response: checkAnswer{}}), h.check)
	rt.Handle("POST /api/hooks/{name}", Policy{Access: Public, Proves: true, MaxBody: 64 << 10, Doc: Doc{
		Summary:  "Call a webhook that schedules wait for: a JSON object, whose members are {{ event.NAME }}, signed with the header Quire-Signature: t=UNIX,v1=HEX, the HMAC-SHA256 of UNIX.BODY. The same call again is none",
		Response: hookAnswer{}, Status: http.StatusAccepted,
	}}, h.call)
	rt.Handle("GET /api/schedules/{name}", doc(Doc{Summary: "A schedule", Response: one}), h.get)
	rt.Handle("DELETE /api/schedules/{name}", doc(Doc{Summary: "Remove a schedule and its records; its runs stay", Status: http.StatusNoContent}), h.remove)
	rt.Handle("GET /api/schedules/{name}/next", doc(Doc{Summary: "The next slots, in UTC", Response: nextAnswer{}, Query: map[string]string{
		"n": "how many, 1 to 1000; default 5", "from": "after this time, as 2026-03-07T00:00:00Z; default now",
	}}), h.next)
	rt.Handle("POST /api/schedules/{name}/pause", doc(Doc{Summary: "Fire nothing until it is resumed", Request: pauseRequest{}, Response: one}), h.pause)
	rt.Handle("POST /api/schedules/{name}/resume", doc(Doc{Summary: "Fire again, from now on", Response: one}), h.resume)
	rt.Handle("POST /api/schedules/{name}/run", doc(Doc{Summary: "Fire by hand, now. Idempotency-Key makes a repeated request one fire", Request: runScheduleRequest{}, Response: fire, Status: http.StatusCreated}), h.run)
	rt.Handle("GET /api/schedules/{name}/fires", doc(Doc{Summary: "Fires, newest slot first", Response: firePage{}, Query: map[string]string{
		"lane": "only of this lane: \"\" is the schedule's own, or the id of a backfill; left out: all", "limit": "1 to 1000, default 50", "cursor": "next of the page before",
	}}), h.fires)
	rt.Handle("POST /api/schedules/{name}/fires/{id}/restart", doc(Doc{Summary: "Run a fire again: from @failed, @beginning, or a step; with other inputs or, where the definition has none, other parameters of its steps. Those stay the fire's", Request: restartRequest{}, Response: fire}), h.restart)
	rt.Handle("POST /api/schedules/{name}/fires/{id}/stop", doc(Doc{Summary: "Skip a fire that waits, stop one that runs", Response: fire}), h.stop)
	rt.Handle("GET /api/schedules/{name}/notices", doc(Doc{Summary: "Who was told what about a schedule, newest first", Response: noticeList{}}), h.notices)
	rt.Handle("GET /api/schedules/{name}/backfills", doc(Doc{Summary: "Backfills, newest first", Response: backfillList{}}), h.backfills)
	rt.Handle("POST /api/schedules/{name}/backfills", doc(Doc{Summary: "Fire the slots of a time span; preview says which and fires none", Request: backfillBody{}, Response: backfillAnswer{}}), h.backfill)
	rt.Handle("POST /api/schedules/{name}/backfills/{id}/pause", doc(Doc{Summary: "Start no further fires of a backfill", Response: schedule.Backfill{}}), h.pauseBackfill(true))
	rt.Handle("POST /api/schedules/{name}/backfills/{id}/resume", doc(Doc{Summary: "Let a backfill go on", Response: schedule.Backfill{}}), h.pauseBackfill(false))
	rt.Handle("POST /api/schedules/{name}/backfills/{id}/stop", doc(Doc{Summary: "End a backfill: skip what waits, stop what runs", Response: schedule.Backfill{}}), h.stopBackfill)
	rt.Handle("GET /api/schedules/{name}/fires/{id}", doc(Doc{Summary: "A fire", Response: fire}), h.fire)
	rt.Handle("GET /api/schedules/{name}/activity", doc(Doc{Summary: "Who did what to a schedule, newest first; also to one that was removed", Response: activityPage{}, Query: map[string]string{
		"limit": "1 to 1000, default 50", "cursor": "next of the page before",
	}}), h.activity)
}

type scheduleRoutes struct{ schedules *schedule.Schedules }

type (
	scheduleList struct {
		Schedules []schedule.Schedule `json:"schedules"`
	}
	// definitionText is a definition as it was written.
	definitionText struct {
		Text string `json:"text"`
	}
	checkAnswer struct {
		Faults []schedule.Fault `json:"faults"`
	}
	nextAnswer struct {
		Slots []nextSlot `json:"slots"`
	}
	nextSlot struct {
		Slot  time.Time `json:"slot"`  // UTC
		Local time.Time `json:"local"` // in the schedule's zone
		Note  string    `json:"note,omitempty"`
	}
	hookAnswer struct {
		Waiting int `json:"waiting"` // schedules
	}
	pauseRequest struct {
		Reason string `json:"reason"`
	}
	firePage struct {
		Fires []schedule.Fire `json:"fires"`
		Next  string          `json:"next,omitempty"`
	}
	restartRequest struct {
		From       string                                `json:"from"`                 // @failed, @beginning or a step
		Inputs     map[string]json.RawMessage            `json:"inputs,omitempty"`     // those that are other than they were
		Parameters map[string]map[string]json.RawMessage `json:"parameters,omitempty"` // by step
	}
	noticeList struct {
		Notices []notify.Notice `json:"notices"`
	}
	activityPage struct {
		Activity []schedule.Activity `json:"activity"`
		Next     string              `json:"next,omitempty"`
	}
	backfillList struct {
		Backfills []schedule.Backfill `json:"backfills"`
	}
	backfillBody struct {
		From     time.Time `json:"from"`
		To       time.Time `json:"to"`
		Parallel int       `json:"parallel"`
		Newest   bool      `json:"newest"`
		Paused   bool      `json:"paused"` // nothing starts before it is resumed
		Preview  bool      `json:"preview"`
	}
	backfillAnswer struct {
		Slots    []time.Time        `json:"slots"` // in the order in which they start
		Backfill *schedule.Backfill `json:"backfill,omitempty"`
	}
)

// listOf is all, and [] where there is none.
func listOf[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

func (h scheduleRoutes) list(w http.ResponseWriter, r *http.Request) error {
	all, err := h.schedules.List(r.Context(), user(r))
	if err != nil {
		return err
	}
	return writeTagged(w, r, scheduleList{listOf(all)})
}

func (h scheduleRoutes) call(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return problem.WrapAs(problem.Invalid, err, "reading the body")
	}
	waiting, err := h.schedules.Call(r.Context(), r.PathValue("name"), r.Header.Get(notify.SignatureHeader), body)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusAccepted, hookAnswer{waiting})
}

func (h scheduleRoutes) apply(w http.ResponseWriter, r *http.Request) error {
	var body definitionText
	if err := ReadJSON(r, &body); err != nil {
		return err
	}
	applied, created, err := h.schedules.Apply(r.Context(), user(r), []byte(body.Text))
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", "/api/schedules/"+applied.Name)
	}
	return WriteJSON(w, status, applied)
}

func (h scheduleRoutes) check(w http.ResponseWriter, r *http.Request) error {
	var body definitionText
	if err := ReadJSON(r, &body); err != nil {
		return err
	}
	_, faults := schedule.Read([]byte(body.Text))
	return WriteJSON(w, http.StatusOK, checkAnswer{listOf(faults)})
}

func (h scheduleRoutes) get(w http.ResponseWriter, r *http.Request) error {
	found, err := h.schedules.Get(r.Context(), user(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeTagged(w, r, found)
}

func (h scheduleRoutes) remove(w http.ResponseWriter, r *http.Request) error {
	if err := h.schedules.Delete(r.Context(), user(r), r.PathValue("name")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h scheduleRoutes) next(w http.ResponseWriter, r *http.Request) error {
	found, err := h.schedules.Get(r.Context(), user(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	n, from := 5, time.Now()
	if text := r.URL.Query().Get("n"); text != "" {
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > 1000 {
			return problem.New(problem.Invalid, "n: want 1 to 1000")
		}
	}
	if text := r.URL.Query().Get("from"); text != "" {
		if from, err = time.Parse(time.RFC3339, text); err != nil {
			return problem.New(problem.Invalid, "from: want a time such as 2026-03-07T00:00:00Z")
		}
	}
	table, err := found.Definition.Timetable()
	if err != nil {
		return err
	}
	answer := nextAnswer{Slots: []nextSlot{}}
	for _, slot := range table.Upcoming(from, n) {
		answer.Slots = append(answer.Slots, nextSlot{slot, table.Local(slot), table.Note(slot)})
	}
	return WriteJSON(w, http.StatusOK, answer)
}

func (h scheduleRoutes) pause(w http.ResponseWriter, r *http.Request) error {
	var body pauseRequest
	if r.ContentLength != 0 {
		if err := ReadJSON(r, &body); err != nil {
			return err
		}
	}
	changed, err := h.schedules.Pause(r.Context(), user(r), r.PathValue("name"), body.Reason)
	return answerWith(w, changed, err)
}

func answerWith(w http.ResponseWriter, v any, err error) error {
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, v)
}

func (h scheduleRoutes) resume(w http.ResponseWriter, r *http.Request) error {
	changed, err := h.schedules.Resume(r.Context(), user(r), r.PathValue("name"))
	return answerWith(w, changed, err)
}

// A runScheduleRequest says with what a schedule is fired.
type runScheduleRequest struct {
	Inputs json.RawMessage `json:"inputs,omitempty"` // an object
}

func (h scheduleRoutes) run(w http.ResponseWriter, r *http.Request) error {
	var body runScheduleRequest
	if r.ContentLength != 0 {
		if err := ReadJSON(r, &body); err != nil {
			return err
		}
	}
	fire, err := h.schedules.RunWith(r.Context(), user(r), r.PathValue("name"), r.Header.Get("Idempotency-Key"), body.Inputs)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusCreated, fire)
}

func (h scheduleRoutes) fires(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit, err := pageLimit(r)
	if err != nil {
		return err
	}
	f := schedule.FireFilter{Lane: q.Get("lane"), Any: !q.Has("lane"), Before: q.Get("cursor"), Limit: limit}
	all, err := h.schedules.History(r.Context(), user(r), r.PathValue("name"), f)
	if err != nil {
		return err
	}
	page := firePage{Fires: listOf(all)}
	if len(all) == f.Limit {
		page.Next = all[len(all)-1].ID
	}
	return writeTagged(w, r, page)
}

func (h scheduleRoutes) restart(w http.ResponseWriter, r *http.Request) error {
	body := restartRequest{From: string(schedule.FromFailed)}
	if r.ContentLength != 0 {
		if err := ReadJSON(r, &body); err != nil {
			return err
		}
	}
	fire, err := h.schedules.Restart(r.Context(), user(r), r.PathValue("name"), r.PathValue("id"), schedule.Restart(body.From), schedule.Values{Inputs: body.Inputs, Parameters: body.Parameters})
	return answerWith(w, fire, err)
}

func (h scheduleRoutes) stop(w http.ResponseWriter, r *http.Request) error {
	fire, err := h.schedules.StopFire(r.Context(), user(r), r.PathValue("name"), r.PathValue("id"))
	return answerWith(w, fire, err)
}

func (h scheduleRoutes) notices(w http.ResponseWriter, r *http.Request) error {
	all, err := h.schedules.Notices(r.Context(), user(r), r.PathValue("name"))
	return answerWith(w, noticeList{listOf(all)}, err)
}

func (h scheduleRoutes) backfills(w http.ResponseWriter, r *http.Request) error {
	all, err := h.schedules.Backfills(r.Context(), user(r), r.PathValue("name"))
	return answerWith(w, backfillList{listOf(all)}, err)
}

func (h scheduleRoutes) backfill(w http.ResponseWriter, r *http.Request) error {
	var body backfillBody
	if err := ReadJSON(r, &body); err != nil {
		return err
	}
	req := schedule.BackfillRequest{From: body.From, To: body.To, Parallel: body.Parallel, Newest: body.Newest, Paused: body.Paused}
	slots, err := h.schedules.Preview(r.Context(), user(r), r.PathValue("name"), req)
	if err != nil {
		return err
	}
	answer := backfillAnswer{Slots: slots}
	if !body.Preview {
		b, err := h.schedules.Backfill(r.Context(), user(r), r.PathValue("name"), req)
		if err != nil {
			return err
		}
		answer.Backfill = &b
	}
	return WriteJSON(w, http.StatusOK, answer)
}

func (h scheduleRoutes) pauseBackfill(pause bool) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		b, err := h.schedules.PauseBackfill(r.Context(), user(r), r.PathValue("name"), r.PathValue("id"), pause)
		return answerWith(w, b, err)
	}
}

// pageLimit is how many of a list a request asks for.
func pageLimit(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return 50, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1000 {
		return 0, problem.New(problem.Invalid, "limit: want 1 to 1000")
	}
	return n, nil
}

func (h scheduleRoutes) stopBackfill(w http.ResponseWriter, r *http.Request) error {
	b, err := h.schedules.StopBackfill(r.Context(), user(r), r.PathValue("name"), r.PathValue("id"))
	return answerWith(w, b, err)
}

func (h scheduleRoutes) fire(w http.ResponseWriter, r *http.Request) error {
	f, err := h.schedules.Fire(r.Context(), user(r), r.PathValue("name"), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeTagged(w, r, f)
}

func (h scheduleRoutes) activity(w http.ResponseWriter, r *http.Request) error {
	limit, err := pageLimit(r)
	if err != nil {
		return err
	}
	all, err := h.schedules.Activity(r.Context(), user(r), r.PathValue("name"), schedule.ActivityFilter{Limit: limit, Before: r.URL.Query().Get("cursor")})
	if err != nil {
		return err
	}
	page := activityPage{Activity: listOf(all)}
	if len(all) == limit {
		page.Next = all[len(all)-1].ID
	}
	return writeTagged(w, r, page)
}
