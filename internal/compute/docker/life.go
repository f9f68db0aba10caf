//go:build unix

package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"quire/internal/compute"
	"quire/internal/compute/shim"
	"quire/internal/problem"
)

// startTimeout bounds how long a container's first process may take to execute
// the command, once Docker has started it.
const startTimeout = time.Minute

// Start starts a container that does not run yet, once.
func (d *Driver) Start(ctx context.Context, id string) error {
	defer d.lock(id)()
	f, err := d.find(ctx, id)
	if err != nil {
		return err
	}
	release, err := d.alone(ctx, id) // Docker would start one again that has exited
	if err != nil {
		return problem.Wrap(err, "starting container %s", id)
	}
	defer release()
	if f, err = d.find(ctx, id); err != nil {
		return err
	}
	if _, stopped := d.stopNote(id); f.State.Status != container.StateCreated || stopped {
		return nil
	}
	defer d.announce()
	if err := d.attach(f.spec); err != nil {
		return problem.Wrap(err, "starting container %s", id)
	}
	if err := d.start(ctx, id); err != nil {
		return err
	}
	if _, stopped := d.stopNote(id); stopped { // meanwhile
		d.kill(ctx, id, "SIGKILL") //nolint:errcheck // who stops it looks, too
	}
	return nil
}

// start has Docker start it, and waits for the first line of its report.
func (d *Driver) start(ctx context.Context, id string) error {
	bound, cancel := d.within(ctx)
	defer cancel()
	stream, err := d.docker.ContainerAttach(bound, d.native(id), client.ContainerAttachOptions{Stream: true, Stderr: true})
	if err != nil {
		return d.fault(ctx, err, "starting container %s", id)
	}
	defer stream.Close()
	stop := context.AfterFunc(bound, stream.Close)
	defer stop()
	if _, err := d.docker.ContainerStart(bound, d.native(id), client.ContainerStartOptions{}); err != nil {
		return d.fault(ctx, err, "starting container %s", id)
	}
	stream.Conn.SetReadDeadline(time.Now().Add(startTimeout)) //nolint:errcheck // a socket takes deadlines
	r, w := io.Pipe()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, err := stdcopy.StdCopy(io.Discard, w, stream.Reader)
		w.CloseWithError(err)
	}()
	line, err := bufio.NewReader(r).ReadBytes('\n')
	r.Close()
	stream.Close()
	<-copied
	var first shim.Report
	if err == nil {
		err = json.Unmarshal(line, &first)
	}
	if err != nil {
		return d.fault(ctx, err, "starting container %s: it did not say that its command was executed", id)
	}
	return problem.Wrap(first.Err(), "starting container %s", id)
}

// Status says where a container is.
func (d *Driver) Status(ctx context.Context, id string) (compute.Status, error) {
	f, err := d.find(ctx, id)
	if problem.Is(err, problem.NotFound) {
		if stage, ok := d.stageOf(id); ok {
			return compute.Status{Handle: d.handle(id), State: compute.Starting, Stage: stage}, nil
		}
	}
	if err != nil {
		return compute.Status{}, err
	}
	return d.status(ctx, f)
}

func (d *Driver) status(ctx context.Context, f found) (compute.Status, error) {
	id := f.spec.ID
	s := compute.Status{
		Handle: d.handle(id), Labels: f.spec.Labels, Resources: f.spec.Resources, CreatedAt: moment(f.Created),
	}
	switch f.State.Status {
	case container.StateCreated:
		s.State = compute.Created
		if note, stopped := d.stopNote(id); stopped {
			s.State, s.FinishedAt = compute.Exited, note.At
			s.Exit = &compute.Exit{Code: 143, Signal: "SIGTERM", Cause: compute.CauseStopped, Reason: "stopped before it was started"}
		}
	case container.StateExited, container.StateDead, container.StateRemoving:
		end, err := d.ending(ctx, f)
		if err != nil {
			return s, err
		}
		s.State, s.StartedAt, s.FinishedAt, s.Exit = compute.Exited, moment(f.State.StartedAt), moment(f.State.FinishedAt), &end.Exit
		if s.FinishedAt.Before(s.StartedAt) { // Docker notes a start when it gets to it
			s.FinishedAt = s.StartedAt
		}
	default:
		s.State, s.StartedAt = compute.Running, moment(f.State.StartedAt)
	}
	return s, nil
}

func moment(text string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.Year() < 1970 {
		return time.Time{}
	}
	return at
}

// ending is how a container ended and what it used.
type ending struct {
	compute.Exit
	usage compute.Stats
}

// ending finds out how a container ended, of what its first process reported,
// what Docker saw and what was asked of us.
func (d *Driver) ending(ctx context.Context, f found) (ending, error) {
	id := f.spec.ID
	d.mu.Lock()
	e, known := d.ends[id]
	d.mu.Unlock()
	if known {
		return e, nil
	}
	last, err := d.lastReport(ctx, id)
	if err != nil {
		return e, err
	}
	note, stopped := d.stopNote(id)
	e.usage = compute.Stats{At: moment(f.State.FinishedAt)}
	if last.Usage != nil {
		e.usage = *last.Usage
	}
	code := f.State.ExitCode
	switch {
	case last.Exit != nil && last.Exit.Code == code:
		e.Exit = *last.Exit
		if stopped && e.Cause != compute.CauseRejected {
			e.Cause, e.Reason = compute.CauseStopped, "stopped"
		}
	case stopped:
		e.Exit = compute.Exit{Code: code, Signal: signalOf(code), Cause: compute.CauseStopped, Reason: "killed"}
		if note.Grace > 0 {
			e.Reason = fmt.Sprintf("stopped; killed, since it had not ended after %v", note.Grace)
		}
	default: // all of it was killed at once, or the machine went down
		e.Exit = compute.Exit{Code: code, Signal: signalOf(code), Cause: compute.CauseSystem, Reason: "killed from outside; nothing is known of why"}
		if f.State.Error != "" {
			e.Reason = "Docker says: " + f.State.Error
		}
	}
	e.PeakMemoryBytes = e.usage.PeakBytes
	if (f.State.OOMKilled || e.usage.OOMKills > 0) && code != 0 && !stopped && e.Cause != compute.CauseRejected {
		e.usage.OOMKills = max(e.usage.OOMKills, 1)
		e.Exit = shim.OutOfMemory(e.Exit, f.spec.Resources.MemoryBytes)
	}
	d.mu.Lock()
	d.ends[id] = e
	d.mu.Unlock()
	return e, nil
}

// signalOf names the signal that ended a container without a report.
func signalOf(code int) string {
	if code == 137 {
		return "SIGKILL"
	}
	return ""
}

// lastReport reads the last line of what a container's first process said; the
// zero Report where it was killed before.
func (d *Driver) lastReport(ctx context.Context, id string) (shim.Report, error) {
	for _, tail := range []string{"200", "all"} {
		var text strings.Builder
		err := d.readLog(ctx, id, client.ContainerLogsOptions{ShowStderr: true, Tail: tail}, nil, &text)
		if err != nil {
			return shim.Report{}, err
		}
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		for _, line := range slices.Backward(lines) {
			var r shim.Report
			if json.Unmarshal([]byte(line), &r) == nil && r.Exit != nil {
				return r, nil
			}
		}
	}
	return shim.Report{}, nil
}

// Wait waits for a container's end.
func (d *Driver) Wait(ctx context.Context, id string) (compute.Exit, error) {
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		s, err := d.Status(ctx, id)
		if err != nil {
			return compute.Exit{}, problem.Wrap(err, "waiting for container %s", id)
		}
		switch s.State {
		case compute.Exited:
			return *s.Exit, nil
		case compute.Running:
			if err := d.waitFor(ctx, id); err != nil && !problem.Is(err, problem.NotFound) {
				return compute.Exit{}, err
			}
		default:
			select { // another process may start it: look once a second
			case <-ctx.Done():
			case <-d.life.Done():
			case <-changed:
			case <-time.After(time.Second):
			}
		}
	}
}

// waitFor returns when a container does not run.
func (d *Driver) waitFor(ctx context.Context, id string) error {
	bound, cancel := d.within(ctx)
	defer cancel()
	answer := d.docker.ContainerWait(bound, d.native(id), client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case <-answer.Result:
		return nil
	case err := <-answer.Error:
		return d.fault(ctx, err, "waiting for container %s", id)
	}
}

// Stop ends a container.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	f, err := d.find(ctx, id)
	if err != nil {
		return err
	}
	if grace < 0 {
		grace = f.spec.GraceOrDefault()
	}
	if s, err := d.status(ctx, f); err != nil || s.State == compute.Exited {
		return err
	}
	if err := d.writeStopNote(id, stopNote{At: time.Now(), Grace: grace}); err != nil {
		return problem.Wrap(err, "stopping container %s", id)
	}
	done := make(chan error, 1)
	d.work.Go(func() {
		err := d.stop(d.life, id, grace)
		d.announce()
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return problem.Wrap(ctx.Err(), "stopping container %s", id)
	}
}

// stop asks a container to end and then kills it.
func (d *Driver) stop(ctx context.Context, id string, grace time.Duration) error {
	f, err := d.find(ctx, id)
	if err == nil && f.State.Status == container.StateCreated {
		defer d.lock(id)() // whoever is starting it looks at the note afterwards
		f, err = d.find(ctx, id)
	}
	if err != nil || f.State.Status == container.StateCreated {
		return err
	}
	if grace > 0 {
		if err := d.kill(ctx, id, "SIGTERM"); err != nil {
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, grace)
		err := d.waitFor(bounded, id)
		cancel()
		if err == nil {
			return nil
		}
	}
	if err := d.kill(ctx, id, "SIGKILL"); err != nil {
		return err
	}
	return d.waitFor(ctx, id)
}

// kill sends a signal to a container's first process; to one that does not run
// there is nothing to send.
func (d *Driver) kill(ctx context.Context, id, signal string) error {
	bound, cancel := d.within(ctx)
	defer cancel()
	_, err := d.docker.ContainerKill(bound, d.native(id), client.ContainerKillOptions{Signal: signal})
	if cerrdefs.IsConflict(err) || cerrdefs.IsNotFound(err) {
		return nil
	}
	return d.fault(ctx, err, "stopping container %s", id)
}

// Remove takes a container away.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if !idForm().MatchString(id) {
		return nil
	}
	if d.life.Err() != nil {
		return problem.New(problem.Canceled, "the docker driver is closed")
	}
	defer d.lock(id)()
	bound, cancel := d.within(ctx)
	defer cancel()
	_, err := d.docker.ContainerRemove(bound, d.native(id), client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	for cerrdefs.IsConflict(err) && bound.Err() == nil { // somebody else removes it at this moment
		var removing found
		if removing, err = d.find(bound, id); err == nil && removing.State.Status == container.StateRemoving {
			err = cerrdefs.ErrConflict
			select {
			case <-bound.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	if err != nil && !cerrdefs.IsNotFound(err) && !problem.Is(err, problem.NotFound) {
		return d.fault(ctx, err, "removing container %s", id)
	}
	d.mu.Lock()
	delete(d.ends, id)
	d.mu.Unlock()
	d.announce()
	return problem.Wrap(d.discard(id), "removing container %s", id)
}

// List asks Docker for all containers of this place.
func (d *Driver) List(ctx context.Context, labels map[string]string) ([]compute.Status, error) {
	if d.life.Err() != nil {
		return nil, problem.New(problem.Canceled, "the docker driver is closed")
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	filters := make(client.Filters).Add("label", labelPlace+"="+d.cfg.Place)
	for name, value := range labels {
		filters.Add("label", labelOwn+name+"="+value)
	}
	answer, err := d.docker.ContainerList(bound, client.ContainerListOptions{All: true, Filters: filters})
	if err != nil {
		return nil, d.fault(ctx, err, "listing containers")
	}
	var all []compute.Status
	for _, one := range answer.Items {
		f, err := d.find(ctx, one.Labels[labelID])
		if problem.Is(err, problem.NotFound) {
			continue // it was removed meanwhile
		}
		var s compute.Status
		if err == nil {
			s, err = d.status(ctx, f)
		}
		if err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b compute.Status) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}
