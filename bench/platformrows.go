package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// loadTime is how long each side answers requests in a turn.
const loadTime = 2 * time.Second

var platformRows = []row{
	{"platform: listing of 2,000 notebooks, 8 connections", ">= 100x jupyter-server's requests/s", rateRow("", 100, func(dir string) error { return writeNotebooks(dir, 2000) })},
	{"platform: GET of a 1 MB notebook with content, as browsers ask (gzip)", ">= 30x jupyter-server's requests/s", rateRow("/big.ipynb", 30, func(dir string) error {
		return writeMixedNotebook(filepath.Join(dir, "big.ipynb"), 1<<20)
	})},
	{"platform: 1 MB notebook to HTML", ">= 50x jupyter-server's nbconvert page, <= 30 ms", measureRender},
	{"platform: page of a 20 MB notebook", "first byte <= 100 ms, memory <= 2x its size", measureBigPage},
	{"platform: server start to first 200; idle memory", "<= 150 ms, <= 50 MB", measureServer},
	{"platform: first page of a folder of 100,000 notebooks", "<= 200 ms warm", measureFolder},
	{"platform: the same folder in S3", "<= 200 ms warm", measureBucket},
	{"platform: submit to first cell, warm kernel", "<= 200 ms", measureSubmit},
}

// perRequest is a rate as the time of one request over all connections.
func perRequest(rate float64) sample {
	if rate <= 0 {
		return sample{}
	}
	return sample{wall: time.Duration(float64(time.Second) / rate)}
}

// rateRow measures requests a second for path in a folder that fill made, in
// turns with jupyter-server on the same files.
func rateRow(path string, times float64, fill func(dir string) error) func(context.Context, config) (result, error) {
	return func(ctx context.Context, cfg config) (result, error) {
		dir, err := os.MkdirTemp(cfg.dir, "rate-")
		if err != nil {
			return result{}, err
		}
		defer os.RemoveAll(dir)
		folder := filepath.Join(workspace(dir), "folder")
		if err := errors.Join(os.MkdirAll(folder, 0o700), fill(folder)); err != nil {
			return result{}, err
		}
		quire, err := startQuire(ctx, cfg, dir)
		if err != nil {
			return result{}, err
		}
		defer func() { _ = quire.end() }()
		var jupyter *service
		if cfg.jupyter != "" {
			if jupyter, err = startJupyter(ctx, cfg, filepath.Dir(folder)); err != nil {
				return result{}, err
			}
			defer func() { _ = jupyter.end() }()
		}
		var ours, theirs []float64
		for range cfg.runs {
			n, err := quire.rate(ctx, "user/bench/api/contents/folder"+path, 8, loadTime)
			if err != nil {
				return result{}, err
			}
			ours = append(ours, n)
			if jupyter == nil {
				continue
			}
			if n, err = jupyter.rate(ctx, "api/contents/folder"+path, 8, loadTime); err != nil {
				return result{}, err
			}
			theirs = append(theirs, n)
		}
		our, their := medianOf(ours), medianOf(theirs)
		res := result{quire: perRequest(our), peer: perRequest(their), figure: fmt.Sprintf("%.0f requests/s", our)}
		res.quire.peak, res.met = quire.memory("VmHWM"), false
		if their > 0 {
			res.peer.peak = jupyter.memory("VmHWM")
			res.figure, res.met = fmt.Sprintf("%.0fx: %.0f against %.1f requests/s", our/their, our, their), our/their >= times
		}
		return res, nil
	}
}

func medianOf(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// measureRender holds the page of a notebook against jupyter-server's page of it
// by nbconvert. The conversion alone, in a process that has started and
// converted before, is told beside it.
func measureRender(ctx context.Context, cfg config) (result, error) {
	dir := filepath.Join(cfg.dir, "render")
	defer os.RemoveAll(dir)
	nb := filepath.Join(workspace(dir), "one.ipynb")
	if err := errors.Join(os.MkdirAll(workspace(dir), 0o700), writeMixedNotebook(nb, 1<<20)); err != nil {
		return result{}, err
	}
	quire, err := startQuire(ctx, cfg, dir)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = quire.end() }()
	whole, _, err := quire.latency(ctx, "view/users/bench/one.ipynb", 4*cfg.runs)
	if err != nil {
		return result{}, err
	}
	res := result{quire: sample{wall: whole}, figure: fmt.Sprintf("%.1f ms", milliseconds(whole))}
	if cfg.nbconvert == "" || cfg.jupyter == "" {
		return res, nil
	}
	jupyter, err := startJupyter(ctx, cfg, filepath.Dir(nb))
	if err != nil {
		return result{}, err
	}
	defer func() { _ = jupyter.end() }()
	if res.peer.wall, _, err = jupyter.latency(ctx, "nbconvert/html/one.ipynb", cfg.runs); err != nil {
		return result{}, err
	}
	alone, err := nbconvert(ctx, cfg, nb)
	if err != nil {
		return result{}, err
	}
	times := res.peer.wall.Seconds() / whole.Seconds()
	res.figure = fmt.Sprintf("%.0fx, %.1f ms; %.0fx the conversion alone", times, milliseconds(whole), alone.Seconds()/whole.Seconds())
	res.met = times >= 50 && whole <= 30*time.Millisecond
	return res, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// nbconvert returns how long the conversion alone takes, in a process that has
// started and converted once already.
func nbconvert(ctx context.Context, cfg config, nb string) (time.Duration, error) {
	const script = `import sys, time, nbconvert
e = nbconvert.HTMLExporter()
times = []
for _ in range(4):
    start = time.perf_counter()
    e.from_filename(sys.argv[1])
    times.append(time.perf_counter() - start)
print(sorted(times[1:])[1])`
	out, err := exec.CommandContext(ctx, cfg.nbconvert, "-W", "ignore", "-c", script, nb).Output()
	if err != nil {
		return 0, fmt.Errorf("nbconvert: %w", err)
	}
	var seconds float64
	if _, err := fmt.Sscan(string(out), &seconds); err != nil {
		return 0, err
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

func measureBigPage(ctx context.Context, cfg config) (result, error) {
	dir := filepath.Join(cfg.dir, "page")
	defer os.RemoveAll(dir)
	nb := filepath.Join(workspace(dir), "big.ipynb")
	if err := errors.Join(os.MkdirAll(workspace(dir), 0o700), writeMixedNotebook(nb, 20<<20)); err != nil {
		return result{}, err
	}
	info, err := os.Stat(nb)
	if err != nil {
		return result{}, err
	}
	quire, err := startQuire(ctx, cfg, dir)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = quire.end() }()
	before := quire.memory("VmRSS")
	if err := quire.forgetPeak(); err != nil {
		return result{}, err
	}
	whole, first, err := quire.latency(ctx, "view/users/bench/big.ipynb", cfg.runs)
	if err != nil {
		return result{}, err
	}
	grown := quire.memory("VmHWM") - before
	times := float64(grown) / float64(info.Size())
	res := result{quire: sample{wall: whole, peak: quire.memory("VmHWM")}}
	res.figure = fmt.Sprintf("first byte %.1f ms, whole %.2f s, %.1fx its size", milliseconds(first), whole.Seconds(), times)
	res.met = first <= 100*time.Millisecond && times <= 2
	return res, nil
}

// measureServer starts the platform on a data directory that exists, as every
// start but the first does, and looks at its memory when it has been idle.
func measureServer(ctx context.Context, cfg config) (result, error) {
	dir := filepath.Join(cfg.dir, "start")
	defer os.RemoveAll(dir)
	var starts []time.Duration
	var idle int64
	for i := range cfg.runs + 1 {
		quire, err := startQuire(ctx, cfg, dir)
		if err != nil {
			return result{}, err
		}
		if i > 0 {
			starts = append(starts, quire.ready)
		}
		if i == 0 || i == cfg.runs { // the sample runs after the first start
			if err := pause(ctx, 15*time.Second); err != nil {
				return result{}, errors.Join(err, quire.end())
			}
			idle = quire.memory("VmRSS")
		}
		if err := quire.end(); err != nil {
			return result{}, err
		}
	}
	slices.Sort(starts)
	res := result{quire: sample{wall: starts[len(starts)/2], peak: idle}}
	res.figure = fmt.Sprintf("%.0f ms, %d MB", milliseconds(res.quire.wall), idle/1e6)
	res.met = res.quire.wall <= 150*time.Millisecond && idle <= 50e6
	if cfg.jupyter != "" {
		jupyter, err := startJupyter(ctx, cfg, dir)
		if err != nil {
			return result{}, err
		}
		res.peer = sample{wall: jupyter.ready, peak: jupyter.memory("VmRSS")}
		return res, jupyter.end()
	}
	return res, nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

const hugeFolder = 100_000

func measureFolder(ctx context.Context, cfg config) (result, error) {
	dir := filepath.Join(cfg.dir, "folder")
	defer os.RemoveAll(dir)
	if err := writeNotebooks(filepath.Join(workspace(dir), "many"), hugeFolder); err != nil {
		return result{}, err
	}
	return measurePages(ctx, cfg, dir, "users/bench/many")
}

// measureBucket shows the folder through a real S3 server.
func measureBucket(ctx context.Context, cfg config) (result, error) {
	if cfg.versitygw == "" {
		return result{}, errors.New("versitygw is not here: run tools/test-env.sh s3 first")
	}
	dir := filepath.Join(cfg.dir, "bucket")
	defer os.RemoveAll(dir)
	if err := writeNotebooks(filepath.Join(dir, "s3", "bucket", "many"), hugeFolder); err != nil {
		return result{}, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return result{}, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	gateway := &service{http: client(), url: "http://" + address + "/", cmd: exec.CommandContext(ctx, cfg.versitygw,
		"--access", "bench", "--secret", benchToken, "--port", address, "--health", "/health", "posix", filepath.Join(dir, "s3"))}
	if err := gateway.begin(); err != nil {
		return result{}, err
	}
	defer func() { _ = gateway.end() }()
	if err := gateway.awaitFirst(ctx, "health", time.Now()); err != nil {
		return result{}, err
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": benchToken, "AWS_REGION": "us-east-1",
		"AWS_ENDPOINT_URL": "http://" + address,
	} {
		if err := os.Setenv(name, value); err != nil {
			return result{}, err
		}
	}
	file := filepath.Join(dir, "quire.yaml")
	if err := os.WriteFile(file, []byte("user: bench\nmounts:\n  lake: s3://bucket/\n"), 0o600); err != nil {
		return result{}, err
	}
	return measurePages(ctx, cfg, filepath.Join(dir, "data"), "mounts/lake/many", "--config", file)
}

// measurePages takes the first page of a folder, as people see it and as
// programs do.
func measurePages(ctx context.Context, cfg config, dir, path string, extra ...string) (result, error) {
	start := startQuire
	if len(extra) > 0 {
		start = serveQuire
	}
	quire, err := start(ctx, cfg, dir, extra...)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = quire.end() }()
	began := time.Now()
	if _, err := quire.get(ctx, "view/"+path+"/"); err != nil {
		return result{}, err
	}
	cold := time.Since(began)
	if len(extra) > 0 {
		if err := quire.awaitKept(ctx, "api/contents/"+path+"?limit=100"); err != nil {
			return result{}, err
		}
	}
	page, _, err := quire.latency(ctx, "view/"+path+"/", 4*cfg.runs)
	if err != nil {
		return result{}, err
	}
	listing, _, err := quire.latency(ctx, "api/contents/"+path+"?limit=100", 4*cfg.runs)
	if err != nil {
		return result{}, err
	}
	res := result{quire: sample{wall: page, peak: quire.memory("VmHWM")}}
	res.figure = fmt.Sprintf("page %.0f ms, API %.0f ms, cold %.2f s", milliseconds(page), milliseconds(listing), cold.Seconds())
	res.met = max(page, listing) <= 200*time.Millisecond
	return res, nil
}

// awaitKept waits until the server has read all of a folder that lies
// elsewhere: its answers then say how old they are.
func (s *service) awaitKept(ctx context.Context, path string) error {
	for range 60 {
		res, err := s.open(ctx, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil || res.Header.Get("Age") != "" {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return errors.New("the folder was not read within a minute")
}

// measureSubmit takes the time from the request to run a notebook to the start
// of its first cell, as the run's own record has it.
func measureSubmit(ctx context.Context, cfg config) (result, error) {
	dir := filepath.Join(cfg.dir, "submit")
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(workspace(dir), 0o700); err != nil {
		return result{}, err
	}
	if err := writeNotebook(filepath.Join(workspace(dir), "warm.ipynb"), trivial(1)); err != nil {
		return result{}, err
	}
	quire, err := startQuire(ctx, cfg, dir)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = quire.end() }()
	var times []time.Duration
	for range cfg.runs + 1 {
		if err := pause(ctx, 5*time.Second); err != nil { // the next kernel starts meanwhile
			return result{}, err
		}
		took, err := quire.submit(ctx, "users/bench/warm.ipynb")
		if err != nil {
			return result{}, err
		}
		times = append(times, took)
	}
	times = times[1:]
	slices.Sort(times)
	res := result{quire: sample{wall: times[len(times)/2]}}
	res.figure, res.met = fmt.Sprintf("%.0f ms", milliseconds(res.quire.wall)), res.quire.wall <= 200*time.Millisecond
	return res, nil
}

// submit runs a notebook and returns how long after the request its first cell
// began.
func (s *service) submit(ctx context.Context, notebook string) (time.Duration, error) {
	var r struct {
		ID      string    `json:"id"`
		State   string    `json:"state"`
		Reason  string    `json:"reason"`
		Started time.Time `json:"started"`
	}
	asked := time.Now()
	if err := s.call(ctx, http.MethodPost, "api/runs", map[string]any{"notebook": notebook}, http.StatusCreated, &r); err != nil {
		return 0, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := s.call(ctx, http.MethodGet, "api/runs/"+r.ID, nil, http.StatusOK, &r); err != nil {
			return 0, err
		}
		switch r.State {
		case "succeeded":
			return r.Started.Sub(asked), nil
		case "failed", "lost", "cancelled", "timed_out":
			return 0, fmt.Errorf("run %s: %s: %s", r.ID, r.State, r.Reason)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *service) call(ctx context.Context, method, path string, body any, status int, v any) error {
	res, err := s.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != status {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, res.Status, data)
	}
	return json.Unmarshal(data, v)
}
