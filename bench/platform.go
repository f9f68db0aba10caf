package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// benchToken opens every server that a benchmark starts.
const benchToken = "benchmark-0123456789abcdef"

// A service is a server under measurement.
type service struct {
	url   string
	cmd   *exec.Cmd
	ready time.Duration // from its start to the first 200
	http  *http.Client
}

// startQuire starts the platform on dir.
func startQuire(ctx context.Context, cfg config, dir string, extra ...string) (*service, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return launch(ctx, cfg, append([]string{"up", "--listen", "127.0.0.1:0", "--data", dir, "--user", "bench"}, extra...))
}

// serveQuire starts the platform from a configuration file.
func serveQuire(ctx context.Context, cfg config, dir string, extra ...string) (*service, error) {
	return launch(ctx, cfg, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", dir}, extra...))
}

func launch(ctx context.Context, cfg config, argv []string) (*service, error) {
	cmd := exec.CommandContext(ctx, cfg.quire, argv...)
	cmd.Env = append(append(os.Environ(), kernelEnv(cfg)...), "QUIRE_TOKEN="+benchToken)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s := &service{cmd: cmd, http: client()}
	start := time.Now()
	if err := s.begin(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server said no address: %w", err), s.end())
	}
	s.url, _, _ = strings.Cut(strings.TrimSpace(line), "?")
	return s, s.awaitFirst(ctx, "healthz", start)
}

// workspace is where startQuire's user keeps files.
func workspace(dir string) string { return filepath.Join(dir, "files", "users", "bench") }

// startJupyter starts the peer on the folder root.
func startJupyter(ctx context.Context, cfg config, root string) (*service, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, cfg.jupyter, "--ServerApp.ip=127.0.0.1", "--ServerApp.port="+strconv.Itoa(port),
		"--ServerApp.port_retries=0", "--ServerApp.open_browser=False", "--ServerApp.root_dir="+root, "--allow-root")
	cmd.Env = append(os.Environ(), "JUPYTER_TOKEN="+benchToken, "HOME="+cfg.dir, "JUPYTER_RUNTIME_DIR="+filepath.Join(cfg.dir, "jupyter"))
	s := &service{cmd: cmd, http: client(), url: fmt.Sprintf("http://127.0.0.1:%d/", port)}
	start := time.Now()
	if err := s.begin(); err != nil {
		return nil, err
	}
	return s, s.awaitFirst(ctx, "api/status", start)
}

func client() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}}
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (s *service) begin() error {
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.Cancel = func() error { return syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) }
	return s.cmd.Start()
}

// end asks the server to stop and waits until it has.
func (s *service) end() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	gone := make(chan struct{})
	go func() {
		_ = s.cmd.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Cancel()
		<-gone
	}
	s.http.CloseIdleConnections()
	return nil
}

func (s *service) awaitFirst(ctx context.Context, path string, start time.Time) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for time.Since(start) < time.Minute {
		if _, err := s.get(ctx, path); err == nil {
			s.ready = time.Since(start)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return errors.Join(errors.New("the server did not answer within a minute"), s.end())
}

// get reads an answer to its end and returns its size; anything but 200 is an
// error.
func (s *service) get(ctx context.Context, path string) (int64, error) {
	res, err := s.open(ctx, http.MethodGet, path, nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", path, res.Status)
	}
	return n, err
}

func (s *service) open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "token "+benchToken)
	req.Header.Set("Accept-Encoding", "gzip") // as browsers do; what comes is counted, not unpacked
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return s.http.Do(req)
}

// rate returns requests a second over connections that ask again at once.
func (s *service) rate(ctx context.Context, path string, connections int, length time.Duration) (float64, error) {
	if _, err := s.get(ctx, path); err != nil { // warm
		return 0, err
	}
	var count atomic.Int64
	errs := make(chan error, connections)
	start := time.Now()
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for time.Since(start) < length {
				if _, err := s.get(ctx, path); err != nil {
					errs <- err
					return
				}
				count.Add(1)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
	}
	return float64(count.Load()) / time.Since(start).Seconds(), nil
}

// latency returns the median time to the end of an answer, and to its first
// byte, after one that is not counted.
func (s *service) latency(ctx context.Context, path string, runs int) (whole, first time.Duration, err error) {
	var wholes, firsts []time.Duration
	for i := range runs + 1 {
		start := time.Now()
		res, err := s.open(ctx, http.MethodGet, path, nil)
		if err != nil {
			return 0, 0, err
		}
		one := make([]byte, 1)
		_, err = io.ReadFull(res.Body, one)
		f := time.Since(start)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
		}
		w := time.Since(start)
		_ = res.Body.Close()
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("GET %s: %s", path, res.Status)
		}
		if err != nil {
			return 0, 0, err
		}
		if i > 0 {
			wholes, firsts = append(wholes, w), append(firsts, f)
		}
	}
	slices.Sort(wholes)
	slices.Sort(firsts)
	return wholes[len(wholes)/2], firsts[len(firsts)/2], nil
}

// memory returns a line of the server's own /proc status in bytes: VmRSS or
// VmHWM.
func (s *service) memory(line string) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(data), line+":")
	if !ok {
		return 0
	}
	kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kib << 10
}

// forgetPeak sets the high-water mark of the server's memory to what it uses now.
func (s *service) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0)
}

// writeNotebooks fills dir with n small notebooks.
func writeNotebooks(dir string, n int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	first := filepath.Join(dir, "notebook-000000.ipynb")
	if err := writeNotebook(first, trivial(3)); err != nil {
		return err
	}
	data, err := os.ReadFile(first)
	if err != nil {
		return err
	}
	for i := 1; i < n; i++ {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("notebook-%06d.ipynb", i)), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeMixedNotebook writes a notebook of about size bytes as people keep them:
// prose, code, printed lines, tables and pictures.
func writeMixedNotebook(path string, size int) error {
	code := "import pandas as pd\n\ndef clean(frame: pd.DataFrame, days: int = 30) -> pd.DataFrame:\n" +
		"    \"\"\"Keep the last days.\"\"\"\n    recent = frame[frame['day'] >= frame['day'].max() - days]\n" +
		"    return recent.groupby('device')['hours'].sum().reset_index()\n\nclean(plays).head(10)\n"
	prose := "## Hours by device\n\nThe table shows *hours* per **device**, see [the source](https://example.org).\n\n- tv\n- phone\n- `web`\n"
	table := "<table><thead><tr><th>device</th><th>hours</th></tr></thead><tbody>" +
		strings.Repeat("<tr><td>tv</td><td>12345.678</td></tr>", 40) + "</tbody></table>"
	image := strings.Repeat("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ", 400)
	lines := strings.Repeat("2018-05-08 FR tv 12345.678\n", 60)
	var cells []any
	for written := 0; written < size; {
		n := len(cells)
		outputs := []any{
			map[string]any{"output_type": "stream", "name": "stdout", "text": lines},
			map[string]any{
				"output_type": "execute_result", "execution_count": n, "metadata": map[string]any{},
				"data": map[string]any{"text/html": table, "text/plain": "a table"},
			},
			map[string]any{"output_type": "display_data", "metadata": map[string]any{}, "data": map[string]any{"image/png": image, "text/plain": "<Figure>"}},
		}
		source := code + fmt.Sprintf("# part %d\n", n)
		cells = append(cells,
			map[string]any{"cell_type": "markdown", "id": fmt.Sprintf("m%d", n), "metadata": map[string]any{}, "source": prose},
			map[string]any{"cell_type": "code", "id": fmt.Sprintf("c%d", n), "metadata": map[string]any{}, "execution_count": n, "source": source, "outputs": outputs})
		written += len(source) + len(prose) + len(table) + len(image) + len(lines)
	}
	data, err := json.Marshal(map[string]any{
		"cells": cells, "nbformat": 4, "nbformat_minor": 5,
		"metadata": map[string]any{
			"kernelspec":    map[string]any{"name": "python3", "display_name": "Python 3", "language": "python"},
			"language_info": map[string]any{"name": "python"},
		},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
