package kubernetes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"

	"quire/internal/compute"
	"quire/internal/problem"
)

// Logs reads what the node keeps of a container's output. A node keeps so much
// as it was told to (containerLogMaxSize), and none when it is lost.
func (d *Driver) Logs(ctx context.Context, id string, opt compute.LogOptions) (io.ReadCloser, error) {
	f, err := d.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if opt.Follow {
		if _, err := d.until(ctx, id, func(s compute.Status) bool { return s.State == compute.Running || s.State == compute.Exited }); err != nil {
			return nil, err
		}
	}
	nothing := io.NopCloser(strings.NewReader(""))
	if d.core == nil || f.Spec.NodeName == "" && !opt.Follow {
		return nothing, nil
	}
	life, end := d.within(ctx)
	log, err := d.core.Get().Namespace(f.Namespace).Resource("pods").Name(f.Name).SubResource("log").
		VersionedParams(&corev1.PodLogOptions{Container: mainName, Follow: opt.Follow}, runtime.NewParameterCodec(newScheme())).Stream(life)
	if err != nil {
		end()
		if notReady(err) {
			return nothing, nil // it has not begun
		}
		return nil, d.fault(ctx, err, "reading the log of container %s", id)
	}
	if main := f.main(); main != nil && d.status(f).State == compute.Exited {
		whole, gone := bufio.NewReader(log), noLog+main.ContainerID
		if start, _ := whole.Peek(len(gone) + 1); string(start) == gone {
			end()
			_ = log.Close()
			return nil, problem.New(problem.NotFound, "the log of container %s is gone: its node took it away with the container", id)
		}
		log = readCloser{whole, log}
	}
	if opt.TailBytes > 0 && !opt.Follow {
		defer end()
		defer log.Close()
		t := tail{most: opt.TailBytes}
		_, err := io.Copy(&t, log)
		return io.NopCloser(bytes.NewReader(t.bytes())), d.fault(ctx, err, "reading the log of container %s", id)
	}
	return &stream{log, end}, nil
}

// noLog and the container's id are all that a kubelet gives as the log of a
// container that it has taken away.
const noLog = "unable to retrieve container logs for "

type readCloser struct {
	io.Reader
	io.Closer
}

// stream is a log that is being read.
type stream struct {
	io.ReadCloser
	end context.CancelFunc
}

// Close stops reading.
func (s *stream) Close() error {
	s.end()
	return s.ReadCloser.Close()
}

// tail keeps the last bytes.
type tail struct {
	most int64
	data []byte
}

func (t *tail) Write(data []byte) (int, error) {
	t.data = append(t.data, data...)
	if int64(len(t.data)) > 2*t.most {
		t.data = append(t.data[:0], t.bytes()...)
	}
	return len(data), nil
}

func (t *tail) bytes() []byte { return t.data[max(0, int64(len(t.data))-t.most):] }

// Exec executes one more command in a Pod. Where it has variables or a folder
// of its own, the image needs a shell. A command that goes on when its caller
// is gone ends with the Pod: Kubernetes has no way to end it.
func (d *Driver) Exec(ctx context.Context, id string, cmd compute.Command) (compute.Exit, error) {
	f, err := d.find(ctx, id)
	if err != nil {
		return compute.Exit{}, err
	}
	if s := d.status(f); s.State != compute.Running {
		return compute.Exit{}, problem.New(problem.Conflict, "container %s does not run: it is %s", id, s.State)
	}
	if len(cmd.Argv) == 0 || strings.ContainsRune(strings.Join(cmd.Argv, ""), 0) {
		return compute.Exit{}, problem.New(problem.Invalid, "executing in container %s: there is nothing to execute, or an argument holds a zero byte", id)
	}
	options := &corev1.PodExecOptions{Container: mainName, Command: execArgv(cmd), Stdin: cmd.Stdin != nil, Stdout: true, Stderr: true}
	url := d.core.Post().Namespace(f.Namespace).Resource("pods").Name(f.Name).SubResource("exec").
		VersionedParams(options, runtime.NewParameterCodec(newScheme())).URL()
	socket, err := remotecommand.NewWebSocketExecutor(d.rest, "GET", url.String())
	if err != nil {
		return compute.Exit{}, d.fault(ctx, err, "executing in container %s", id)
	}
	older, err := remotecommand.NewSPDYExecutor(d.rest, "POST", url)
	if err != nil {
		return compute.Exit{}, d.fault(ctx, err, "executing in container %s", id)
	}
	both, err := remotecommand.NewFallbackExecutor(socket, older, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return compute.Exit{}, d.fault(ctx, err, "executing in container %s", id)
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	out, errOut := cmd.Stdout, cmd.Stderr
	if out == nil {
		out = io.Discard
	}
	if errOut == nil {
		errOut = io.Discard
	}
	err = both.StreamWithContext(bound, remotecommand.StreamOptions{Stdin: cmd.Stdin, Stdout: out, Stderr: errOut})
	return d.execExit(ctx, id, cmd, err)
}

// execArgv is a command with its variables and its folder.
func execArgv(cmd compute.Command) []string {
	if len(cmd.Env) == 0 && cmd.Dir == "" {
		return cmd.Argv
	}
	argv := []string{"/bin/sh", "-c", `cd -- "$0" && exec env -- "$@"`, cmd.Dir}
	if cmd.Dir == "" {
		argv[3] = "."
	}
	for _, name := range slices.Sorted(maps.Keys(cmd.Env)) {
		argv = append(argv, name+"="+cmd.Env[name])
	}
	return append(argv, cmd.Argv...)
}

// execExit reads how a command ended.
func (d *Driver) execExit(ctx context.Context, id string, cmd compute.Command, err error) (compute.Exit, error) {
	var code exec.CodeExitError
	switch {
	case err == nil:
		return exited(0, 0), nil
	case ctx.Err() != nil:
		return compute.Exit{}, problem.Wrap(ctx.Err(), "executing in container %s", id)
	case errors.As(err, &code):
		return exited(code.Code, 0), nil
	case strings.Contains(err.Error(), "executable file not found"), strings.Contains(err.Error(), "no such file or directory"):
		return compute.Exit{}, problem.WrapAs(problem.NotFound, err, "executing %s in container %s", cmd.Argv[0], id)
	}
	if s, status := d.Status(ctx, id); status == nil && s.State == compute.Exited {
		return compute.Exit{}, problem.WrapAs(problem.Conflict, err, "container %s ended while %s was executed in it", id, cmd.Argv[0])
	}
	return compute.Exit{}, d.fault(ctx, err, "executing in container %s", id)
}

// podMetrics is what the metrics server says of a Pod.
type podMetrics struct {
	Timestamp  time.Time `json:"timestamp"`
	Containers []struct {
		Name  string                       `json:"name"`
		Usage map[string]resource.Quantity `json:"usage"`
	} `json:"containers"`
}

// Stats asks the cluster's metrics server, where there is one: it measures
// memory now and then, and of the processor only a rate.
func (d *Driver) Stats(ctx context.Context, id string) (compute.Stats, error) {
	f, err := d.find(ctx, id)
	if err != nil {
		return compute.Stats{}, err
	}
	stats := compute.Stats{At: time.Now()}
	s := d.status(f)
	if s.Exit != nil && s.Exit.OOMKilled {
		stats.OOMKills = 1
	}
	d.mu.Lock()
	stats.PeakBytes = d.peaks[f.Name]
	d.mu.Unlock()
	if s.State != compute.Running || d.core == nil {
		return stats, nil
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	data, err := d.core.Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces", f.Namespace, "pods", f.Name).DoRaw(bound)
	var m podMetrics
	if err != nil || json.Unmarshal(data, &m) != nil {
		if ctx.Err() != nil || d.closed() != nil {
			return stats, d.fault(ctx, err, "measuring container %s", id)
		}
		return stats, nil // no metrics server, or nothing measured yet: Measured says so
	}
	stats.At = m.Timestamp
	for _, c := range m.Containers {
		if memory, has := c.Usage["memory"]; has && c.Name == mainName {
			stats.MemoryBytes, stats.Measured = memory.Value(), []compute.Resource{compute.Memory}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peaks[f.Name] = max(d.peaks[f.Name], stats.MemoryBytes)
	stats.PeakBytes = d.peaks[f.Name]
	return stats, nil
}
