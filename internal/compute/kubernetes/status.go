package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"quire/internal/compute"
	"quire/internal/problem"
)

// stopNote is the annotation that tells that somebody wanted a container to end.
type stopNote struct {
	At    time.Time     `json:"at"`
	Grace time.Duration `json:"grace"`
}

func (f found) stopped() (n stopNote, yes bool) {
	text, has := f.Annotations[noteStop]
	return n, has && json.Unmarshal([]byte(text), &n) == nil
}

func (f found) gated() bool {
	return slices.ContainsFunc(f.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == gateStart })
}

// main is what is known of the Pod's container; nil is nothing yet.
func (f found) main() *corev1.ContainerStatus {
	for i := range f.Pod.Status.ContainerStatuses {
		if f.Pod.Status.ContainerStatuses[i].Name == mainName {
			return &f.Pod.Status.ContainerStatuses[i]
		}
	}
	return nil
}

func (f found) condition(kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range f.Pod.Status.Conditions {
		if c := &f.Pod.Status.Conditions[i]; c.Type == kind {
			return c
		}
	}
	return nil
}

// Status says where a container is.
func (d *Driver) Status(ctx context.Context, id string) (compute.Status, error) {
	f, err := d.find(ctx, id)
	if err != nil {
		return compute.Status{}, err
	}
	return d.status(f), nil
}

// status reads a Pod. The same Pod gives the same status always.
func (d *Driver) status(f found) compute.Status {
	s := compute.Status{
		Handle: d.handle(f.spec.ID, f.Spec.NodeName), State: compute.Starting, Labels: f.spec.Labels,
		Resources: f.spec.Resources, CreatedAt: f.CreationTimestamp.Time,
	}
	main := f.main()
	if main != nil && main.State.Running != nil {
		s.State, s.StartedAt = compute.Running, main.State.Running.StartedAt.Time
	}
	if exit, at := f.exit(); exit != nil {
		s.State, s.Exit, s.FinishedAt = compute.Exited, exit, at
		if main != nil && main.State.Terminated != nil {
			s.StartedAt = main.State.Terminated.StartedAt.Time
		}
		return s
	}
	switch {
	case s.State == compute.Running:
	case f.gated():
		s.State = compute.Created
	default:
		s.Stage = f.stage()
	}
	return s
}

// stage says what a Pod that starts waits for.
func (f found) stage() compute.Stage {
	if c := f.condition(corev1.PodScheduled); c != nil && c.Status == corev1.ConditionFalse {
		return compute.Stage{Name: compute.StageScheduling, Text: "waiting for a node: " + firstLine(c.Message)}
	}
	if f.Spec.NodeName == "" {
		return compute.Stage{Name: compute.StageScheduling, Text: "waiting for a node"}
	}
	if main := f.main(); main != nil && main.State.Waiting != nil {
		switch w := main.State.Waiting; w.Reason {
		case "ContainerCreating", "PodInitializing", "":
		case "ErrImagePull", "ImagePullBackOff":
			return compute.Stage{Name: compute.StagePulling, Text: "pulling the image: " + firstLine(w.Message)}
		default:
			return compute.Stage{Name: compute.StageCreating, Text: strings.TrimSuffix(w.Reason+": "+firstLine(w.Message), ": ")}
		}
	}
	return compute.Stage{Name: compute.StagePulling, Text: "pulling the image, and making the container on " + f.Spec.NodeName}
}

func firstLine(text string) string {
	const most = 300
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	return line
}

// exit says how a Pod has ended, and when; nil is not yet.
func (f found) exit() (*compute.Exit, time.Time) {
	note, stopped := f.stopped()
	if stopped && f.gated() {
		return &compute.Exit{Code: 143, Signal: "SIGTERM", Cause: compute.CauseStopped, Reason: "stopped before it was started"}, note.At
	}
	main := f.main()
	if main != nil && main.State.Waiting != nil {
		if exit := refused(main.State.Waiting.Reason, main.State.Waiting.Message); exit != nil {
			return exit, f.changed()
		}
	}
	phase := f.Pod.Status.Phase
	if main != nil && main.State.Terminated != nil && (phase == corev1.PodSucceeded || phase == corev1.PodFailed || f.DeletionTimestamp != nil || phase == corev1.PodRunning) {
		exit := f.ended(*main.State.Terminated)
		return &exit, main.State.Terminated.FinishedAt.Time
	}
	if phase == corev1.PodFailed || phase == corev1.PodSucceeded {
		exit := f.unfinished(stopped)
		return &exit, f.changed()
	}
	if exit := f.lost(); exit != nil {
		return exit, f.DeletionTimestamp.Time
	}
	return nil, time.Time{}
}

// changed is when a Pod's conditions changed last.
func (f found) changed() time.Time {
	at := f.CreationTimestamp.Time
	for _, c := range f.Pod.Status.Conditions {
		if c.LastTransitionTime.After(at) {
			at = c.LastTransitionTime.Time
		}
	}
	return at
}

// refused tells a command or an image that can never start.
func refused(reason, message string) *compute.Exit {
	exit := &compute.Exit{Code: 126, Cause: compute.CauseRejected, Reason: strings.TrimSuffix(reason+": "+firstLine(message), ": ")}
	lower := strings.ToLower(message)
	missing := strings.Contains(lower, "not found") || strings.Contains(lower, "no such file")
	switch reason {
	case "InvalidImageName", "ErrImageNeverPull":
		return exit
	case "CreateContainerError", "RunContainerError", "CreateContainerConfigError", "StartError", "ContainerCannotRun":
		if missing {
			exit.Code = 127
		}
		return exit
	case "ErrImagePull", "ImagePullBackOff":
		if missing || strings.Contains(lower, "manifest unknown") {
			exit.Code = 127
			return exit
		}
	}
	return nil
}

// exited is the end of a command by itself, or by a signal when that is not zero.
func exited(code, signal int) compute.Exit {
	e := compute.Exit{Code: code, Cause: compute.CauseExited, Reason: fmt.Sprintf("exited with code %d", code)}
	if signal == 0 && (code == 137 || code == 143) { // container runtimes count as shells do
		signal = code - 128
	}
	if signal > 0 {
		e.Signal = unix.SignalName(unix.Signal(signal))
		e.Reason = "ended by signal " + e.Signal
	}
	return e
}

// ended reads how the container itself ended.
func (f found) ended(t corev1.ContainerStateTerminated) compute.Exit {
	code := int(t.ExitCode)
	e := exited(code, int(t.Signal))
	if exit := refused(t.Reason, t.Message); exit != nil && (t.Reason == "StartError" || t.Reason == "ContainerCannotRun") {
		return *exit
	}
	note, stopped := f.stopped()
	disruption := f.disruption()
	switch {
	case t.Reason == "OOMKilled":
		e.OOMKilled, e.Cause = true, compute.CauseOOM
		e.Reason = "out of memory: limit " + compute.FormatBytes(f.spec.Resources.MemoryBytes) + ", peak not known"
	case stopped && code == 137 && note.Grace > 0:
		e.Cause, e.Reason = compute.CauseStopped, fmt.Sprintf("stopped; killed, since it had not ended after %v", note.Grace)
	case stopped && code == 137:
		e.Cause, e.Reason = compute.CauseStopped, "killed"
	case stopped:
		e.Cause, e.Reason = compute.CauseStopped, "stopped"
	case t.Reason == "ContainerStatusUnknown":
		e.Cause, e.Reason = compute.CauseSystem, "the node lost it: "+firstLine(t.Message)
	case f.overDisk():
		e.Reason = "out of disk: " + firstLine(f.Pod.Status.Message)
	case disruption != "" && code != 0:
		e.Cause, e.Reason = compute.CauseSystem, disruption
	case f.DeletionTimestamp != nil && code != 0:
		e.Cause, e.Reason = compute.CauseSystem, "the Pod was deleted by somebody else"
	}
	return e
}

// unfinished is the end of a Pod of whose container nothing is known.
func (f found) unfinished(stopped bool) compute.Exit {
	e := compute.Exit{Code: 137, Signal: "SIGKILL", Cause: compute.CauseSystem, Reason: f.disruption()}
	switch {
	case stopped:
		e.Cause, e.Reason = compute.CauseStopped, "killed"
	case f.overDisk():
		e.Cause, e.Reason = compute.CauseExited, "out of disk: "+firstLine(f.Pod.Status.Message)
	case e.Reason == "":
		e.Reason = strings.TrimSuffix("the Pod failed: "+f.Pod.Status.Reason+": "+firstLine(f.Pod.Status.Message), ": ")
	}
	return e
}

// overDisk tells that a Pod was evicted because it wrote more than its limit:
// that is its own fault. What is evicted because a node runs short is not at
// fault.
func (f found) overDisk() bool {
	m := f.Pod.Status.Message
	return f.Pod.Status.Reason == "Evicted" && (strings.Contains(m, "ephemeral local storage usage exceeds") ||
		strings.Contains(m, "exceeded its local ephemeral storage limit") || strings.Contains(m, "exceeds the limit"))
}

// disruption says what the cluster did to a Pod, or "".
func (f found) disruption() string {
	c := f.condition(corev1.DisruptionTarget)
	what := ""
	switch {
	case c != nil && c.Status == corev1.ConditionTrue:
		what = map[string]string{
			"PreemptionByScheduler": "another Pod of higher priority took its place", "DeletionByTaintManager": "its node is lost or must not run it any more",
			"EvictionByEvictionAPI": "its node was drained", "DeletionByPodGC": "its node is gone", "TerminationByKubelet": "its node runs short or shuts down",
		}[c.Reason]
		if what == "" {
			what = c.Reason
		}
		if m := firstLine(c.Message); m != "" {
			what += ": " + m
		}
	case f.Pod.Status.Reason != "" && f.Pod.Status.Reason != "DeadlineExceeded":
		what = strings.TrimSuffix(f.Pod.Status.Reason+": "+firstLine(f.Pod.Status.Message), ": ")
	}
	if what == "" {
		return ""
	}
	return "evicted: " + what
}

// lost is the end of a Pod that the cluster has given up: nobody will say any
// more how its container ended.
func (f found) lost() *compute.Exit {
	c := f.condition(corev1.DisruptionTarget)
	gone := c != nil && c.Status == corev1.ConditionTrue && (c.Reason == "DeletionByTaintManager" || c.Reason == "DeletionByPodGC")
	if f.DeletionTimestamp == nil || !gone && f.Pod.Status.Reason != "NodeLost" && f.Spec.NodeName != "" {
		return nil
	}
	if _, stopped := f.stopped(); stopped && f.Spec.NodeName == "" {
		return &compute.Exit{Code: 143, Signal: "SIGTERM", Cause: compute.CauseStopped, Reason: "stopped before it had a node"}
	}
	reason := "its node is lost"
	switch {
	case f.Spec.NodeName == "":
		reason = "the Pod was deleted by somebody else"
	case c != nil && c.Message != "":
		reason += ": " + firstLine(c.Message)
	}
	return &compute.Exit{Code: 137, Signal: "SIGKILL", Cause: compute.CauseSystem, Reason: reason}
}

// rejection is what Start says about a container whose command was refused.
func rejection(e *compute.Exit) error {
	if e == nil || e.Cause != compute.CauseRejected {
		return nil
	}
	if e.Code == 127 {
		return problem.New(problem.NotFound, "%s", e.Reason)
	}
	return problem.New(problem.Invalid, "%s", e.Reason)
}
