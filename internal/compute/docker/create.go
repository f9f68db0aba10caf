//go:build unix

package docker

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"quire/internal/compute"
	"quire/internal/compute/shim"
	"quire/internal/problem"
)

// innerPath is where the quire binary is in every container.
const innerPath = "/run/quire"

// innerThreads is how many processes and threads the first process takes, in
// addition to the container's own.
const innerThreads = 12

// Create makes a container; its image is brought first when it is not there.
func (d *Driver) Create(ctx context.Context, spec compute.Spec) (compute.Handle, error) {
	if d.life.Err() != nil {
		return compute.Handle{}, problem.New(problem.Canceled, "the docker driver is closed")
	}
	if err := spec.Validate().Err("creating container %q", spec.ID); err != nil {
		return compute.Handle{}, err
	}
	defer d.lock(spec.ID)()
	words, err := json.Marshal(spec)
	if err != nil {
		return compute.Handle{}, problem.Wrap(err, "creating container %s", spec.ID)
	}
	have, err := d.find(ctx, spec.ID)
	switch {
	case err == nil:
		return d.same(have, string(words))
	case !problem.Is(err, problem.NotFound):
		return compute.Handle{}, err
	}
	info, err := d.check(ctx, spec)
	if err != nil {
		return compute.Handle{}, problem.Wrap(err, "creating container %s", spec.ID)
	}
	image, err := d.image(ctx, spec)
	if err != nil {
		return compute.Handle{}, problem.Wrap(err, "creating container %s", spec.ID)
	}
	binds, err := d.prepare(spec)
	if err != nil {
		return compute.Handle{}, errors.Join(problem.Wrap(err, "creating container %s", spec.ID), d.discard(spec.ID))
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	for {
		_, err = d.docker.ContainerCreate(bound, client.ContainerCreateOptions{
			Name: d.native(spec.ID), Config: d.config(spec, image, string(words)), HostConfig: d.hostConfig(spec, binds, info),
		})
		if !cerrdefs.IsConflict(err) {
			break
		}
		if have, err := d.find(ctx, spec.ID); !problem.Is(err, problem.NotFound) { // another process was first
			if err != nil {
				return compute.Handle{}, err
			}
			return d.same(have, string(words))
		}
		select { // it is making it at this moment
		case <-bound.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	switch {
	case err == nil:
		return d.handle(spec.ID), nil
	case strings.Contains(err.Error(), "bind source path does not exist"):
		err = problem.WrapAs(problem.NotFound, err, "a mount is not there")
		return compute.Handle{}, errors.Join(problem.Wrap(err, "creating container %s", spec.ID), d.discard(spec.ID))
	}
	if ctx.Err() == nil { // else Docker may be making it at this moment; Remove takes all of it away
		err = errors.Join(err, d.discard(spec.ID))
	}
	return compute.Handle{}, d.fault(ctx, err, "creating container %s", spec.ID)
}

// same answers for a container that is there already.
func (d *Driver) same(have found, words string) (compute.Handle, error) {
	if have.Config.Labels[labelSpec] != words {
		return compute.Handle{}, problem.New(problem.Exists, "container %s exists already, with another spec", have.spec.ID)
	}
	return d.handle(have.spec.ID), nil
}

// check finds what a spec asks for that this Docker host does not have.
func (d *Driver) check(ctx context.Context, spec compute.Spec) (host, error) {
	info, err := d.info(ctx)
	if err != nil {
		return info, err
	}
	var wrong compute.Violations
	if spec.Root != "" {
		wrong.Add("root", "the docker driver runs images, not folders: give image")
	}
	if spec.Image == "" && d.cfg.Image == "" {
		wrong.Add("image", "an image is needed: name one, or configure docker.image for those who name none")
	}
	if spec.Resources.GPUs > 0 && info.gpus == "" {
		wrong.Add("resources.gpus", "%s", noGPUs)
	}
	if spec.Network.Mode == compute.NetworkPrivate && d.cfg.Network == "" {
		wrong.Add("network.mode", "a private network is not possible here: %s", noNetwork)
	}
	return info, wrong.Err("planning")
}

// config is what is executed.
func (d *Driver) config(spec compute.Spec, image, words string) *container.Config {
	labels := map[string]string{labelPlace: d.cfg.Place, labelID: spec.ID, labelSpec: words}
	for name, value := range spec.Labels {
		labels[labelOwn+name] = value
	}
	env := map[string]string{"HOME": shim.Home, "USER": "quire", "LOGNAME": "quire", "LANG": "C.UTF-8", "SHELL": "/bin/sh"}
	maps.Copy(env, spec.Env)
	uid, gid := user(spec)
	return &container.Config{
		Image: image, Hostname: "quire-" + spec.ID[:min(len(spec.ID), 40)],
		User: strconv.Itoa(uid) + ":" + strconv.Itoa(gid), Env: shim.EnvList(env),
		Entrypoint:  []string{innerPath, shim.InnerCommand, shim.InnerRun, workFolder(spec)},
		Cmd:         spec.Argv,
		WorkingDir:  "/",
		Labels:      labels,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
}

func workFolder(spec compute.Spec) string {
	if spec.Dir != "" {
		return spec.Dir
	}
	for _, m := range spec.Mounts {
		if !m.ReadOnly {
			return m.Target
		}
	}
	return shim.Home
}

// hostConfig is what is around it: nothing that is not needed.
func (d *Driver) hostConfig(spec compute.Spec, binds []mount.Mount, info host) *container.HostConfig {
	r := spec.Resources
	pids := r.PIDLimit() + innerThreads
	network := container.NetworkMode("none")
	switch spec.Network.Mode {
	case compute.NetworkPrivate:
		network = container.NetworkMode(d.cfg.Network)
	case compute.NetworkHost:
		network = "host"
	}
	h := &container.HostConfig{
		NetworkMode: network, ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
		IpcMode: "private", RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
		Mounts: binds, Tmpfs: scratch(spec, info),
		LogConfig: container.LogConfig{Type: "local", Config: map[string]string{
			"max-size": strconv.FormatInt(d.cfg.LogBytes, 10), "max-file": "2", "compress": "false",
		}},
		Resources: container.Resources{Memory: r.MemoryBytes, PidsLimit: &pids},
	}
	if r.MemoryBytes > 0 && info.SwapLimit {
		h.MemorySwap = r.MemoryBytes // memory and swap together: no swap
	}
	if r.CPUMilli > 0 {
		// By period and quota, since Docker refuses more processors than there
		// are, and we share them.
		h.CPUPeriod, h.CPUQuota = 100_000, r.CPUMilli*100
	}
	if r.GPUs > 0 {
		h.DeviceRequests = []container.DeviceRequest{{Driver: info.gpus, Count: int(r.GPUs), Capabilities: [][]string{{"gpu"}}}}
	}
	return h
}

// defaultScratch is how large /tmp and HOME are where no disk was asked for.
const defaultScratch = 256 * compute.MiB

// scratch are the writable folders: held in memory, up to the disk that was
// asked for and a quarter of the machine's memory.
func scratch(spec compute.Spec, info host) map[string]string {
	size := spec.Resources.DiskBytes
	if size == 0 {
		size = defaultScratch
	}
	if info.MemTotal > 0 {
		size = min(size, info.MemTotal/4)
	}
	uid, gid := user(spec)
	limit := "rw,exec,nosuid,nodev,size=" + strconv.FormatInt(size, 10) + ",uid=" + strconv.Itoa(uid) + ",gid=" + strconv.Itoa(gid)
	return map[string]string{"/tmp": limit + ",mode=1777", "/var/tmp": limit + ",mode=1777", shim.Home: limit + ",mode=0700"}
}
