//go:build unix

package docker

import (
	"context"
	"fmt"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"

	"quire/internal/compute"
	"quire/internal/problem"
)

// pull is an image on its way. It goes on when who asked for it does not wait
// any more: the next one finds it there.
type pull struct {
	done chan struct{}
	err  error // once done is closed

	mu    sync.Mutex
	stage compute.Stage
}

// image returns the image of a container, by its own id, and brings it when it
// is not on the Docker host.
func (d *Driver) image(ctx context.Context, spec compute.Spec) (string, error) {
	reference := spec.Image
	if reference == "" {
		reference = d.cfg.Image
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	answer, err := d.docker.ImageInspect(bound, reference)
	if err == nil {
		return answer.ID, nil
	}
	if !cerrdefs.IsNotFound(err) {
		return "", d.fault(ctx, err, "looking at image %s", reference)
	}
	p := d.bring(spec.ID, reference)
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.stages, spec.ID)
	}()
	select {
	case <-bound.Done():
		return "", d.fault(ctx, context.Canceled, "pulling image %s", reference)
	case <-p.done:
	}
	if p.err != nil {
		return "", p.err
	}
	answer, err = d.docker.ImageInspect(bound, reference)
	return answer.ID, d.fault(ctx, err, "looking at image %s", reference)
}

// bring pulls an image, once for all that ask for it.
func (d *Driver) bring(id, reference string) *pull {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pulls[reference]
	if p == nil {
		p = &pull{done: make(chan struct{}), stage: compute.Stage{Name: compute.StagePulling, Text: "pulling the image: asking the registry"}}
		d.pulls[reference] = p
		d.work.Go(func() {
			err := p.run(d.life, d.docker, reference)
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.pulls, reference)
			p.err = err
			close(p.done)
		})
	}
	d.stages[id] = p
	return p
}

func (p *pull) run(ctx context.Context, docker *client.Client, reference string) error {
	answer, err := docker.ImagePull(ctx, reference, client.ImagePullOptions{})
	if err != nil {
		return pullFault(err, reference)
	}
	defer answer.Close()
	layers := make(layers)
	for message, err := range answer.JSONMessages(ctx) {
		if err == nil && message.Error != nil {
			err = message.Error
		}
		if err != nil {
			return pullFault(err, reference)
		}
		if layers.heed(message) {
			p.mu.Lock()
			p.stage = layers.stage()
			p.mu.Unlock()
		}
	}
	return nil
}

// layers are those of an image on its way, by id.
type layers map[string]*layer

type layer struct {
	have, size int64 // bytes; size is 0 while it is not known
	here       bool  // all of it is on the Docker host
	unpacked   bool
}

// heed takes what Docker says of a layer and reports whether it was of one.
func (l layers) heed(m jsonstream.Message) bool {
	one := l[m.ID]
	if one == nil {
		switch m.Status {
		case "Pulling fs layer", "Already exists", "Downloading", "Waiting":
			one = &layer{}
			l[m.ID] = one
		default:
			return false
		}
	}
	switch m.Status {
	case "Downloading":
		if m.Progress != nil {
			one.have, one.size = m.Progress.Current, max(m.Progress.Total, 0)
		}
	case "Verifying Checksum", "Download complete", "Extracting":
		one.here, one.have = true, one.size
	case "Already exists", "Pull complete":
		one.here, one.unpacked, one.have = true, true, one.size
	}
	return true
}

// stage says how far all of it is. What is not asked for yet has no size: the
// sum says then that it is the least.
func (l layers) stage() compute.Stage {
	s := compute.Stage{Name: compute.StagePulling}
	unknown, unpacked, here := false, 0, 0
	for _, one := range l {
		s.DoneBytes, s.TotalBytes = s.DoneBytes+one.have, s.TotalBytes+one.size
		unknown = unknown || one.size == 0 && !one.here
		if one.here {
			here++
		}
		if one.unpacked {
			unpacked++
		}
	}
	switch {
	case here == len(l):
		s.Text = fmt.Sprintf("unpacking the image: %d of %d layers", unpacked, len(l))
	case s.TotalBytes == 0:
		s.Text = fmt.Sprintf("pulling the image: %d of %d layers are here", here, len(l))
	case unknown:
		s.Text = fmt.Sprintf("pulling the image: %s of at least %s", compute.FormatBytes(s.DoneBytes), compute.FormatBytes(s.TotalBytes))
	default:
		s.Text = fmt.Sprintf("pulling the image: %s of %s, %d %%", compute.FormatBytes(s.DoneBytes), compute.FormatBytes(s.TotalBytes), 100*s.DoneBytes/s.TotalBytes)
	}
	return s
}

// pullFault tells an image that is not there from a registry that does not
// answer.
func pullFault(err error, reference string) error {
	kind := problem.Unavailable
	switch {
	case cerrdefs.IsNotFound(err):
		kind = problem.NotFound
	case cerrdefs.IsInvalidArgument(err):
		kind = problem.Invalid
	case cerrdefs.IsUnauthorized(err), cerrdefs.IsPermissionDenied(err):
		kind = problem.Denied
	}
	return problem.WrapAs(kind, err, "pulling image %s", reference)
}

// stageOf says what a container that is being made waits for; ok is false where
// it waits for nothing that takes long.
func (d *Driver) stageOf(id string) (stage compute.Stage, ok bool) {
	d.mu.Lock()
	p := d.stages[id]
	d.mu.Unlock()
	if p == nil {
		return stage, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stage, true
}
