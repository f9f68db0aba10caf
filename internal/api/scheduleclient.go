package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"quire/internal/notify"
	"quire/internal/schedule"
)

func scheduleAt(name string, more ...string) string {
	path := "/api/schedules/" + url.PathEscape(name)
	for _, part := range more {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// ApplySchedule makes a definition the schedule of its name.
func (c *Client) ApplySchedule(ctx context.Context, text []byte) (schedule.Schedule, error) {
	var s schedule.Schedule
	return s, c.call(ctx, http.MethodPost, "/api/schedules", "", definitionText{string(text)}, &s)
}

// Schedules returns all schedules.
func (c *Client) Schedules(ctx context.Context) ([]schedule.Schedule, error) {
	var list scheduleList
	err := c.call(ctx, http.MethodGet, "/api/schedules", "", nil, &list)
	return list.Schedules, err
}

// Schedule returns the schedule of a name.
func (c *Client) Schedule(ctx context.Context, name string) (schedule.Schedule, error) {
	var s schedule.Schedule
	return s, c.call(ctx, http.MethodGet, scheduleAt(name), "", nil, &s)
}

// DeleteSchedule removes a schedule.
func (c *Client) DeleteSchedule(ctx context.Context, name string) error {
	answer, err := c.do(ctx, http.MethodDelete, scheduleAt(name), "", nil)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// PauseSchedule keeps a schedule from firing.
func (c *Client) PauseSchedule(ctx context.Context, name, reason string) (schedule.Schedule, error) {
	var s schedule.Schedule
	return s, c.call(ctx, http.MethodPost, scheduleAt(name, "pause"), "", pauseRequest{reason}, &s)
}

// ResumeSchedule lets a schedule fire again.
func (c *Client) ResumeSchedule(ctx context.Context, name string) (schedule.Schedule, error) {
	var s schedule.Schedule
	return s, c.call(ctx, http.MethodPost, scheduleAt(name, "resume"), "", nil, &s)
}

// RunSchedule fires a schedule by hand, with inputs, which may be nil. The same key
// is the same fire.
func (c *Client) RunSchedule(ctx context.Context, name, key string, inputs json.RawMessage) (schedule.Fire, error) {
	var f schedule.Fire
	return f, c.call(ctx, http.MethodPost, scheduleAt(name, "run"), key, runScheduleRequest{inputs}, &f)
}

// Fires returns fires of all lanes, newest slot first.
func (c *Client) Fires(ctx context.Context, name string, limit int) ([]schedule.Fire, error) {
	var page firePage
	err := c.call(ctx, http.MethodGet, scheduleAt(name, "fires")+"?limit="+strconv.Itoa(limit), "", nil, &page)
	return page.Fires, err
}

// Fire returns a fire of a schedule.
func (c *Client) Fire(ctx context.Context, name, id string) (schedule.Fire, error) {
	var f schedule.Fire
	return f, c.call(ctx, http.MethodGet, scheduleAt(name, "fires", id), "", nil, &f)
}

// Notices returns who was told what about a schedule, newest first.
func (c *Client) Notices(ctx context.Context, name string) ([]notify.Notice, error) {
	var list noticeList
	err := c.call(ctx, http.MethodGet, scheduleAt(name, "notices"), "", nil, &list)
	return list.Notices, err
}

// RestartFire runs a fire again, from @failed, @beginning or a step, with other values
// where some are given.
func (c *Client) RestartFire(ctx context.Context, name, id, from string, values schedule.Values) (schedule.Fire, error) {
	var f schedule.Fire
	return f, c.call(ctx, http.MethodPost, scheduleAt(name, "fires", id, "restart"), "", restartRequest{from, values.Inputs, values.Parameters}, &f)
}

// StopFire skips a fire that waits, and stops one that runs.
func (c *Client) StopFire(ctx context.Context, name, id string) (schedule.Fire, error) {
	var f schedule.Fire
	return f, c.call(ctx, http.MethodPost, scheduleAt(name, "fires", id, "stop"), "", nil, &f)
}

// A BackfillAnswer is the slots of a backfill, and the backfill unless it was a
// preview.
type BackfillAnswer = backfillAnswer

// Backfill fires the slots of a time span, or says which they are.
func (c *Client) Backfill(ctx context.Context, name string, req schedule.BackfillRequest, preview bool) (BackfillAnswer, error) {
	var a BackfillAnswer
	body := backfillBody{From: req.From, To: req.To, Parallel: req.Parallel, Newest: req.Newest, Paused: req.Paused, Preview: preview}
	return a, c.call(ctx, http.MethodPost, scheduleAt(name, "backfills"), "", body, &a)
}

// PauseBackfill keeps a backfill from starting fires, or lets it go on.
func (c *Client) PauseBackfill(ctx context.Context, name, id string, pause bool) (schedule.Backfill, error) {
	var b schedule.Backfill
	verb := map[bool]string{true: "pause", false: "resume"}[pause]
	return b, c.call(ctx, http.MethodPost, scheduleAt(name, "backfills", id, verb), "", nil, &b)
}

// StopBackfill ends a backfill.
func (c *Client) StopBackfill(ctx context.Context, name, id string) (schedule.Backfill, error) {
	var b schedule.Backfill
	return b, c.call(ctx, http.MethodPost, scheduleAt(name, "backfills", id, "stop"), "", nil, &b)
}

// Backfills returns the newest backfills of a schedule, newest first.
func (c *Client) Backfills(ctx context.Context, name string) ([]schedule.Backfill, error) {
	var list backfillList
	err := c.call(ctx, http.MethodGet, scheduleAt(name, "backfills"), "", nil, &list)
	return list.Backfills, err
}

// ScheduleActivity returns the newest that was done to a schedule, newest first.
func (c *Client) ScheduleActivity(ctx context.Context, name string, limit int) ([]schedule.Activity, error) {
	var page activityPage
	err := c.call(ctx, http.MethodGet, scheduleAt(name, "activity")+"?limit="+strconv.Itoa(limit), "", nil, &page)
	return page.Activity, err
}
