package kubernetes

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"quire/internal/compute"
	"quire/internal/problem"
)

// patch is a merge patch of a Pod.
type patch map[string]any

// edit changes a Pod as it is now, however often somebody else is faster; how
// returns nil where there is nothing to change. Only what changes is sent: what
// this client does not know of a Pod stays as it is.
func (d *Driver) edit(ctx context.Context, id string, how func(found) patch) (found, error) {
	for {
		f, err := d.find(ctx, id)
		if err != nil {
			return f, err
		}
		p := how(f)
		if p == nil {
			return f, nil
		}
		p.under("metadata")["resourceVersion"] = f.ResourceVersion
		data, err := json.Marshal(p)
		if err != nil {
			return f, problem.Wrap(err, "changing container %s", id)
		}
		bound, cancel := d.within(ctx)
		_, err = d.pods.Patch(bound, f.Name, types.MergePatchType, data, metav1.PatchOptions{})
		cancel()
		if !apierrors.IsConflict(err) {
			return f, d.fault(ctx, err, "changing container %s", id)
		}
	}
}

// under returns an object of the patch, and makes it.
func (p patch) under(name string) patch {
	inner, has := p[name].(patch)
	if !has {
		inner = patch{}
		p[name] = inner
	}
	return inner
}

// Start lets the scheduler have the Pod, once, and waits until it runs.
func (d *Driver) Start(ctx context.Context, id string) error {
	_, err := d.edit(ctx, id, func(f found) patch {
		if _, stopped := f.stopped(); stopped || !f.gated() {
			return nil
		}
		others := slices.DeleteFunc(f.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == gateStart })
		return patch{"spec": patch{"schedulingGates": others}}
	})
	if err != nil {
		return problem.Wrap(err, "starting container %s", id)
	}
	s, err := d.until(ctx, id, func(s compute.Status) bool { return s.State == compute.Running || s.State == compute.Exited })
	if err == nil {
		err = rejection(s.Exit)
	}
	return problem.Wrap(err, "starting container %s", id)
}

// Wait waits for a container's end.
func (d *Driver) Wait(ctx context.Context, id string) (compute.Exit, error) {
	s, err := d.until(ctx, id, func(s compute.Status) bool { return s.State == compute.Exited })
	if err != nil {
		return compute.Exit{}, problem.Wrap(err, "waiting for container %s", id)
	}
	return *s.Exit, nil
}

// deadlineLimit is how long after its grace a node may take to end a Pod whose
// time is up, before the Pod is deleted.
const deadlineLimit = 15 * time.Second

// Stop ends a container. One that runs and has the grace it was made with is
// told that its time is up: its node then keeps its log. Else the Pod is
// deleted, which the finalizer keeps it from being gone by, and its log with it.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	ended, timeUp := false, false
	f, err := d.edit(ctx, id, func(f found) patch {
		if exit, _ := f.exit(); exit != nil {
			ended = true
			return nil
		}
		if grace < 0 {
			grace = f.spec.GraceOrDefault()
		}
		if note, stopped := f.stopped(); stopped && note.Grace <= grace {
			return nil
		}
		note, err := json.Marshal(stopNote{At: time.Now(), Grace: grace})
		if err != nil {
			return nil
		}
		p := patch{"metadata": patch{"annotations": patch{noteStop: string(note)}}}
		main := f.main()
		if timeUp = grace == f.spec.GraceOrDefault() && f.DeletionTimestamp == nil && main != nil && main.State.Running != nil; timeUp {
			p["spec"] = patch{"activeDeadlineSeconds": 1}
		}
		return p
	})
	if err != nil || ended {
		return problem.Wrap(err, "stopping container %s", id)
	}
	if f.gated() {
		d.announce(d.native(id))
		return nil
	}
	exited := func(s compute.Status) bool { return s.State == compute.Exited }
	if timeUp {
		bound, cancel := context.WithTimeout(ctx, grace+deadlineLimit)
		_, err := d.until(bound, id, exited)
		late := bound.Err() != nil && ctx.Err() == nil
		cancel()
		if !late {
			return problem.Wrap(err, "stopping container %s", id)
		}
	}
	if err := d.delete(ctx, f, max(1, int64((grace+time.Second-1)/time.Second))); err != nil {
		return problem.Wrap(err, "stopping container %s", id)
	}
	_, err = d.until(ctx, id, exited)
	return problem.Wrap(err, "stopping container %s", id)
}

// delete has a Pod's container ended. With a grace of 0 the API server forgets
// the Pod before its node has ended it.
func (d *Driver) delete(ctx context.Context, f found, grace int64) error {
	bound, cancel := d.within(ctx)
	defer cancel()
	err := d.pods.Delete(bound, f.Name, metav1.DeleteOptions{GracePeriodSeconds: &grace, Preconditions: &metav1.Preconditions{UID: &f.UID}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return d.fault(ctx, err, "deleting Pod %s", f.Name)
}

// Remove takes a container away: its Pod is ended where it runs, let go of, and
// forgotten.
func (d *Driver) Remove(ctx context.Context, id string) error {
	f, err := d.find(ctx, id)
	if problem.Is(err, problem.NotFound) {
		return nil
	}
	if err == nil && d.status(f).State != compute.Exited {
		if err = d.delete(ctx, f, 1); err == nil {
			_, err = d.until(ctx, id, func(s compute.Status) bool { return s.State == compute.Exited })
		}
	}
	if err == nil {
		_, err = d.edit(ctx, id, func(f found) patch {
			others := slices.DeleteFunc(slices.Clone(f.Finalizers), func(name string) bool { return name == finalizer })
			if len(others) == len(f.Finalizers) {
				return nil
			}
			return patch{"metadata": patch{"finalizers": others}}
		})
	}
	if err == nil {
		err = d.delete(ctx, f, 0) // it has ended, or its node is lost
	}
	d.mu.Lock()
	delete(d.peaks, d.native(id))
	d.mu.Unlock()
	if problem.Is(err, problem.NotFound) {
		return nil
	}
	if err != nil {
		return problem.Wrap(err, "removing container %s", id)
	}
	return d.gone(ctx, id)
}

// gone waits until a Pod that runs has been ended by its node and is gone.
func (d *Driver) gone(ctx context.Context, id string) error {
	_, err := d.until(ctx, id, func(compute.Status) bool { return false })
	if problem.Is(err, problem.NotFound) {
		return nil
	}
	return problem.Wrap(err, "removing container %s", id)
}

// List asks for all Pods of this place.
func (d *Driver) List(ctx context.Context, labels map[string]string) ([]compute.Status, error) {
	if err := d.closed(); err != nil {
		return nil, err
	}
	selector := []string{labelPlace + "=" + d.cfg.Place}
	for name, value := range labels {
		selector = append(selector, hasLabel(name, value))
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	var all []compute.Status
	opts := metav1.ListOptions{LabelSelector: strings.Join(selector, ","), Limit: 500}
	for {
		list, err := d.pods.List(bound, opts)
		if err != nil {
			return nil, d.fault(ctx, err, "listing containers")
		}
		for i := range list.Items {
			f, err := d.read(&list.Items[i])
			if err != nil {
				return nil, err
			}
			all = append(all, d.status(f))
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			break
		}
	}
	slices.SortFunc(all, func(a, b compute.Status) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}
