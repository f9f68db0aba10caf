package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"quire/internal/kernel"
)

var notebookRows = []row{
	{"notebook: round trip of x=1 over WebSocket", "<= 0.5 ms (p50), 3 ms (p99) above the raw kernel", measureRoundTrip},
	{"notebook: cell printing 200,000 lines over WebSocket", "<= 1.2x the raw kernel, server <= 100 MB", measurePrinting},
	{"notebook: 100 kernels idle, a client at each", "server <= 150 MB", measureIdleKernels},
	{"notebook: start a kernel that waits and run a cell", "<= 200 ms", measureFirstCell},
}

// trips is how many round trips a turn has.
const trips = 300

// A cellRunner executes code to its end and returns how long it took and how
// many bytes were printed.
type cellRunner func(ctx context.Context, code string) (time.Duration, int, error)

// rawKernel is the kernel without any server.
func rawKernel(ctx context.Context, cfg config) (cellRunner, func(), error) {
	k, err := kernel.Start(ctx, kernel.Config{Dir: cfg.dir, Spec: kernel.Spec{
		Name: "raw", Language: "python", Argv: []string{cfg.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"},
	}})
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, code string) (time.Duration, int, error) {
		start, printed := time.Now(), 0
		e, err := k.Execute(ctx, kernel.ExecuteRequest{Code: code})
		if err != nil {
			return 0, 0, err
		}
		for {
			m, err := e.Next(ctx)
			if errors.Is(err, io.EOF) {
				return time.Since(start), printed, nil
			}
			if err != nil {
				return 0, 0, err
			}
			if m.Type() == "stream" {
				printed += textOf(m.Content)
			}
		}
	}, func() { _ = k.Close() }, nil
}

func textOf(content []byte) int {
	var c struct{ Text string }
	_ = json.Unmarshal(content, &c)
	return len(c.Text)
}

// serverKernel starts a kernel on a Jupyter server and connects to its channels.
func serverKernel(ctx context.Context, s *service) (cellRunner, func(), error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"api/kernels", strings.NewReader("{}"))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "token "+benchToken)
	res, err := s.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	var k struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&k); err != nil {
		return nil, nil, err
	}
	conn, _, err := websocket.Dial(ctx, s.url+"api/kernels/"+k.ID+"/channels?session_id=bench&token="+benchToken, nil) //nolint:bodyclose // it has none
	if err != nil {
		return nil, nil, err
	}
	conn.SetReadLimit(-1)
	serial := 0
	return func(ctx context.Context, code string) (time.Duration, int, error) {
		serial++
		return overSocket(ctx, conn, fmt.Sprintf("m%d", serial), code)
	}, func() { _ = conn.CloseNow() }, nil
}

func overSocket(ctx context.Context, conn *websocket.Conn, id, code string) (time.Duration, int, error) {
	frame, err := json.Marshal(map[string]any{
		"channel": "shell", "parent_header": struct{}{}, "metadata": struct{}{}, "buffers": []any{},
		"header":  map[string]string{"msg_id": id, "msg_type": "execute_request", "session": "bench", "username": "", "version": "5.3", "date": time.Now().UTC().Format(time.RFC3339Nano)},
		"content": map[string]any{"code": code, "silent": false, "store_history": false, "user_expressions": struct{}{}, "allow_stdin": false, "stop_on_error": true},
	})
	if err != nil {
		return 0, 0, err
	}
	start, printed := time.Now(), 0
	if err := conn.Write(ctx, websocket.MessageText, frame); err != nil {
		return 0, 0, err
	}
	for reply, idle := false, false; !reply || !idle; {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			return 0, 0, err
		}
		var m struct {
			Type   string `json:"msg_type"`
			Parent struct {
				MsgID string `json:"msg_id"`
			} `json:"parent_header"`
			Content json.RawMessage
		}
		if err := json.Unmarshal(frame, &m); err != nil {
			return 0, 0, err
		}
		if m.Parent.MsgID != id {
			continue
		}
		switch m.Type {
		case "stream":
			printed += textOf(m.Content)
		case "execute_reply":
			reply = true
		case "status":
			idle = idle || bytes.Contains(m.Content, []byte(`"idle"`))
		}
	}
	return time.Since(start), printed, nil
}

// runners are the raw kernel, one on quire notebook and, when it is there, one
// on jupyter-server. What stops them all is never nil.
func runners(ctx context.Context, cfg config) (all []cellRunner, quire *service, stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range slices.Backward(stops) {
			f()
		}
	}
	add := func(run cellRunner, end func(), err error) error {
		if err == nil {
			all, stops = append(all, run), append(stops, end)
		}
		return err
	}
	if err = add(rawKernel(ctx, cfg)); err != nil {
		return nil, nil, stop, err
	}
	dir := filepath.Join(cfg.dir, "notebook")
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, stop, err
	}
	quire, err = launch(ctx, cfg, []string{"notebook", dir, "--listen", "127.0.0.1:0", "--data", filepath.Join(cfg.dir, "notebook-data")})
	if err != nil {
		return nil, nil, stop, err
	}
	stops = append(stops, func() { _ = quire.end() })
	if err = add(serverKernel(ctx, quire)); err != nil || cfg.jupyter == "" {
		return all, quire, stop, err
	}
	jupyter, err := startJupyter(ctx, cfg, dir)
	if err != nil {
		return nil, nil, stop, err
	}
	stops = append(stops, func() { _ = jupyter.end() })
	err = add(serverKernel(ctx, jupyter))
	return all, quire, stop, err
}

func measureRoundTrip(ctx context.Context, cfg config) (result, error) {
	all, _, stop, err := runners(ctx, cfg)
	defer stop()
	if err != nil {
		return result{}, err
	}
	times := make([][]time.Duration, len(all))
	for round := range cfg.runs + 1 {
		for i, run := range all {
			for range trips {
				took, _, err := run(ctx, "x=1")
				if err != nil {
					return result{}, err
				}
				if round > 0 {
					times[i] = append(times[i], took)
				}
			}
		}
	}
	var p50, p99 []time.Duration
	for _, t := range times {
		slices.Sort(t)
		p50, p99 = append(p50, t[len(t)/2]), append(p99, t[len(t)*99/100])
	}
	above50, above99 := p50[1]-p50[0], p99[1]-p99[0]
	res := result{
		floor: sample{wall: p50[0]}, quire: sample{wall: p50[1]},
		figure: fmt.Sprintf("%+.2f ms (p50), %+.2f ms (p99)", millis(above50), millis(above99)),
		met:    above50 <= 500*time.Microsecond && above99 <= 3*time.Millisecond,
	}
	if len(all) > 2 {
		res.peer = sample{wall: p50[2]}
	}
	return res, nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func measurePrinting(ctx context.Context, cfg config) (result, error) {
	const code, want = "for i in range(200_000): print(i)", 1288890
	all, quire, stop, err := runners(ctx, cfg)
	defer stop()
	if err != nil {
		return result{}, err
	}
	times := make([][]sample, len(all))
	for round := range cfg.runs + 1 {
		for i, run := range all {
			took, printed, err := run(ctx, code)
			if err != nil {
				return result{}, err
			}
			if i < 2 && printed != want {
				return result{}, fmt.Errorf("%d bytes of %d were printed", printed, want)
			}
			if round > 0 {
				times[i] = append(times[i], sample{wall: took})
			}
		}
	}
	res := result{floor: median(times[0]), quire: median(times[1])}
	if len(all) > 2 {
		res.peer = median(times[2])
	}
	res.quire.peak = quire.memory("VmHWM")
	ratio := float64(res.quire.wall) / float64(res.floor.wall)
	res.figure = fmt.Sprintf("%.2fx, %d MB", ratio, res.quire.peak/1e6)
	res.met = ratio <= 1.2 && res.quire.peak > 0 && res.quire.peak <= 100e6
	return res, nil
}

// idleKernels is how many kernels wait for their people in measureIdleKernels.
const idleKernels = 100

// measureIdleKernels takes the server's own memory, without its kernels', when
// each has run a cell and has a client.
func measureIdleKernels(ctx context.Context, cfg config) (result, error) {
	quire, err := launchNotebook(ctx, cfg, "idle", "-1")
	if err != nil {
		return result{}, err
	}
	defer func() { _ = quire.end() }()
	for range idleKernels {
		run, end, err := serverKernel(ctx, quire)
		if err != nil {
			return result{}, err
		}
		defer end()
		if _, printed, err := run(ctx, "print(1)"); err != nil || printed != 2 {
			return result{}, errors.Join(err, fmt.Errorf("a kernel printed %d bytes of 2", printed))
		}
	}
	res := result{quire: sample{peak: quire.memory("VmHWM")}}
	now := quire.memory("VmRSS")
	res.figure = fmt.Sprintf("%d MB, %d MB at most", now/1e6, res.quire.peak/1e6)
	res.met = now > 0 && res.quire.peak <= 150e6
	return res, nil
}

// launchNotebook starts quire notebook on a new folder of that name.
func launchNotebook(ctx context.Context, cfg config, name, warm string) (*service, error) {
	dir := filepath.Join(cfg.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return launch(ctx, cfg, []string{"notebook", dir, "--listen", "127.0.0.1:0", "--data", dir + "-data", "--warm", warm})
}

// measureFirstCell takes the time from the request for a kernel to the end of
// its first cell, when a started kernel waits for it; the pause between two is
// for the next one to start in.
func measureFirstCell(ctx context.Context, cfg config) (result, error) {
	quire, err := launchNotebook(ctx, cfg, "warm", "1")
	if err != nil {
		return result{}, err
	}
	defer func() { _ = quire.end() }()
	var samples []sample
	for range cfg.runs + 1 {
		if err := pause(ctx, 5*time.Second); err != nil {
			return result{}, err
		}
		start := time.Now()
		run, end, err := serverKernel(ctx, quire)
		if err != nil {
			return result{}, err
		}
		_, _, err = run(ctx, "print(1)")
		samples = append(samples, sample{wall: time.Since(start)})
		end()
		if err != nil {
			return result{}, err
		}
	}
	res := result{quire: median(samples[1:])}
	res.figure = fmt.Sprintf("%d ms", res.quire.wall.Milliseconds())
	res.met = res.quire.wall <= 200*time.Millisecond
	return res, nil
}
