//go:build unix

package docker

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"quire/internal/compute"
	"quire/internal/problem"
)

// readLog copies a container's log as it is now, or as it comes.
func (d *Driver) readLog(ctx context.Context, id string, opt client.ContainerLogsOptions, out, report io.Writer) error {
	bound, cancel := d.within(ctx)
	defer cancel()
	log, err := d.docker.ContainerLogs(bound, d.native(id), opt)
	if err != nil {
		return d.fault(ctx, err, "reading the log of container %s", id)
	}
	defer log.Close()
	if out == nil {
		out = io.Discard
	}
	if report == nil {
		report = io.Discard
	}
	_, err = stdcopy.StdCopy(out, report, log)
	return d.fault(ctx, err, "reading the log of container %s", id)
}

// Logs reads what the command wrote: standard output of the first process,
// whose standard error is its own report. Docker keeps lines: the last one
// always ends.
func (d *Driver) Logs(ctx context.Context, id string, opt compute.LogOptions) (io.ReadCloser, error) {
	if _, err := d.find(ctx, id); err != nil {
		return nil, err
	}
	if opt.TailBytes > 0 && !opt.Follow {
		t := tail{most: opt.TailBytes}
		err := d.readLog(ctx, id, client.ContainerLogsOptions{ShowStdout: true}, &t, nil)
		return io.NopCloser(bytes.NewReader(t.bytes())), err
	}
	var skip int64
	if opt.TailBytes > 0 {
		var all count
		if err := d.readLog(ctx, id, client.ContainerLogsOptions{ShowStdout: true}, &all, nil); err != nil {
			return nil, err
		}
		skip = max(int64(all)-opt.TailBytes, 0)
	}
	life, end := context.WithCancel(ctx)
	r, w := io.Pipe()
	s := &stream{PipeReader: r, end: end, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		err := d.awaitStart(life, id, opt.Follow)
		if err == nil {
			err = d.readLog(life, id, client.ContainerLogsOptions{ShowStdout: true, Follow: opt.Follow}, &skipping{w, skip}, nil)
		}
		w.CloseWithError(err)
	}()
	return s, nil
}

// awaitStart waits until a container that is followed has begun.
func (d *Driver) awaitStart(ctx context.Context, id string, follow bool) error {
	for follow {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		s, err := d.Status(ctx, id)
		if err != nil || s.State == compute.Running || s.State == compute.Exited {
			return err
		}
		select { // another process may start it: look once a second
		case <-ctx.Done():
			return problem.Wrap(ctx.Err(), "following the log of container %s", id)
		case <-changed:
		case <-time.After(time.Second):
		}
	}
	return nil
}

// stream is a log that is being read; Close ends its goroutine.
type stream struct {
	*io.PipeReader
	end  context.CancelFunc
	done chan struct{}
}

// Close stops reading.
func (s *stream) Close() error {
	s.end()
	err := s.PipeReader.Close()
	<-s.done
	return err
}

// skipping passes on what comes after so many bytes.
type skipping struct {
	to   io.Writer
	left int64
}

func (s *skipping) Write(data []byte) (int, error) {
	cut := min(s.left, int64(len(data)))
	s.left -= cut
	n, err := s.to.Write(data[cut:])
	return int(cut) + n, err
}

// count counts bytes.
type count int64

func (c *count) Write(data []byte) (int, error) {
	*c += count(len(data))
	return len(data), nil
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
