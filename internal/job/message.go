package job

import (
	"strconv"

	"quire/internal/compute"
)

// A JobMessage is a job as the API tells of it: Titus's Job, and what Quire
// adds.
type JobMessage struct {
	ID            string     `json:"id"`
	Descriptor    Descriptor `json:"jobDescriptor"`
	Status        Status     `json:"status"`
	StatusHistory []Status   `json:"statusHistory"`
	Version       Version    `json:"version"`
	User          string     `json:"user"`              // who asked for it
	Purpose       string     `json:"purpose,omitempty"` // of the platform's own jobs
	Created       int64      `json:"created"`           // milliseconds since 1970
}

// Version is the revision of a job or task: larger after every change, of
// anything.
type Version struct {
	Timestamp int64 `json:"timestamp"`
}

// Message returns the job as the API tells of it.
func (j Job) Message() JobMessage {
	history := j.History
	if history == nil {
		history = []Status{}
	}
	return JobMessage{
		ID: j.ID, Descriptor: j.Descriptor, Status: j.Status, StatusHistory: history, Version: Version{j.Version},
		User: j.User, Purpose: j.Extras.Purpose, Created: j.Created,
	}
}

// A TaskMessage is a task as the API tells of it: Titus's Task, and what Quire
// adds.
type TaskMessage struct {
	ID            string            `json:"id"`
	JobID         string            `json:"jobId"`
	Context       map[string]string `json:"taskContext"`
	Status        Status            `json:"status"`
	StatusHistory []Status          `json:"statusHistory"`
	LogLocation   LogLocation       `json:"logLocation"`
	Attributes    map[string]string `json:"attributes,omitempty"`
	Version       Version           `json:"version"`
	Exit          *compute.Exit     `json:"exit,omitempty"`
	Usage         Usage             `json:"usage"`
	Start         []Phase           `json:"start,omitempty"` // how its start went or goes, in order
}

// LogLocation says where a task's log is: paths on the server.
type LogLocation struct {
	UI         URL  `json:"ui"`
	LiveStream *URL `json:"liveStream,omitempty"` // only while it runs
}

// URL is an address.
type URL struct {
	URL string `json:"url"`
}

// Message returns the task as the API tells of it.
func (t Task) Message() TaskMessage {
	context := map[string]string{
		"task.index": strconv.Itoa(t.Index), "task.originalId": t.OriginalID,
		"task.resubmitNumber": strconv.Itoa(t.Tries.User), "task.systemResubmitNumber": strconv.Itoa(t.Tries.System),
		"task.evictionResubmitNumber": strconv.Itoa(t.Tries.Eviction),
	}
	for name, value := range map[string]string{"task.resubmitOf": t.ResubmitOf, "task.movedFromJob": t.MovedFrom, "agent.host": t.Node} {
		if value != "" {
			context[name] = value
		}
	}
	history := t.History
	if history == nil {
		history = []Status{}
	}
	m := TaskMessage{
		ID: t.ID, JobID: t.JobID, Context: context, Status: t.Status, StatusHistory: history,
		LogLocation: LogLocation{UI: URL{"/api/v3/tasks/" + t.ID + "/log"}},
		Attributes:  t.Attributes, Version: Version{t.Version}, Exit: t.Exit, Usage: t.Usage,
		Start: t.Start(),
	}
	if t.Status.State == Started {
		m.LogLocation.LiveStream = &URL{"/api/v3/tasks/" + t.ID + "/log?follow=true"}
	}
	return m
}

// A Notification is one event of a stream: one member is there.
type Notification struct {
	Timestamp   int64       `json:"timestamp"`
	JobUpdate   *JobUpdate  `json:"jobUpdate,omitempty"`
	TaskUpdate  *TaskUpdate `json:"taskUpdate,omitempty"`
	SnapshotEnd *struct{}   `json:"snapshotEnd,omitempty"`
}

// JobUpdate is a job that changed.
type JobUpdate struct {
	Job JobMessage `json:"job"`
}

// TaskUpdate is a task that changed.
type TaskUpdate struct {
	Task                TaskMessage `json:"task"`
	MovedFromAnotherJob bool        `json:"movedFromAnotherJob,omitempty"`
}
