// Command bench measures Quire against its peers and against the raw floor, in
// one run on one machine, and prints the table that docs/bench.md holds.
//
//	go run ./bench [-runs N] [-only NAME] [-out docs/bench.md]
//
// A row's figures are medians of runs that alternate between the two sides, so
// that a machine whose speed drifts does not favour one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

type config struct {
	quire, python, papermill string
	jupyter, nbconvert       string
	versitygw                string
	runs                     int
	only                     string
	out                      string
	dir                      string
	peerTimeout              time.Duration
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "floor" {
		exit(floorCommand(os.Args[2], os.Args[3]))
	}
	var cfg config
	flag.StringVar(&cfg.quire, "quire", "bin/quire", "the binary to measure")
	flag.StringVar(&cfg.python, "python", ".quire/python/bin/python", "the interpreter whose ipykernel both sides use")
	flag.StringVar(&cfg.papermill, "papermill", os.Getenv("QUIRE_TEST_PAPERMILL"), "Papermill's command; empty leaves its column out")
	flag.StringVar(&cfg.jupyter, "jupyter", found("jupyter-server"), "jupyter-server's command; empty leaves its figures out")
	flag.StringVar(&cfg.nbconvert, "nbconvert", withNbconvert("/usr/bin/python3"), "an interpreter that has nbconvert; empty leaves its figures out")
	flag.StringVar(&cfg.versitygw, "versitygw", os.Getenv("QUIRE_TEST_S3_SERVER"), "a versitygw, for the rows on S3")
	flag.IntVar(&cfg.runs, "runs", 5, "counted runs of each side")
	flag.StringVar(&cfg.only, "only", "", "measure only the rows whose name holds this")
	flag.StringVar(&cfg.out, "out", "", "also write the table to this file")
	flag.DurationVar(&cfg.peerTimeout, "peer-timeout", 5*time.Minute, "longest a run of a peer may take")
	flag.Parse()
	exit(run(cfg))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(cfg config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, path := range []*string{&cfg.quire, &cfg.python, &cfg.papermill, &cfg.jupyter, &cfg.nbconvert, &cfg.versitygw} {
		if *path == "" {
			continue
		}
		full, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		if _, err := os.Stat(full); err != nil {
			return fmt.Errorf("%w: run make build and make up first", err)
		}
		*path = full
	}
	dir, err := os.MkdirTemp("", "quire-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg.dir = dir
	var results []result
	for _, row := range slices.Concat(rows, platformRows, notebookRows, frameRows) {
		if !strings.Contains(row.name, cfg.only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring: %s\n", row.name)
		res, err := row.measure(ctx, cfg)
		if err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
		res.row = row
		results = append(results, res)
		fmt.Fprintln(os.Stderr, "  "+res.line())
	}
	table := report(cfg, results)
	fmt.Print(table)
	if cfg.out != "" {
		return os.WriteFile(cfg.out, []byte(table), 0o644)
	}
	return nil
}

// found returns the path of a command, empty when it is not there.
func found(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return path
}

// withNbconvert returns the interpreter when it has nbconvert.
func withNbconvert(python string) string {
	if exec.Command(python, "-c", "import nbconvert").Run() != nil {
		return ""
	}
	return python
}

// floorCommand runs the floor over the code cells of a notebook, in a process
// of its own so that it is measured as its peers are.
func floorCommand(python, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var nb struct {
		Cells []struct {
			Source string `json:"source"`
		} `json:"cells"`
	}
	if err := json.Unmarshal(data, &nb); err != nil {
		return err
	}
	sources := make([]string, len(nb.Cells))
	for i, c := range nb.Cells {
		sources[i] = c.Source
	}
	return runFloor(context.Background(), python, sources)
}

// alternate measures the commands in turn, runs times after one round that is
// not counted, and returns a median for each.
func alternate(ctx context.Context, runs int, commands ...func(context.Context) (sample, error)) ([]sample, error) {
	all := make([][]sample, len(commands))
	for round := range runs + 1 {
		for i, command := range commands {
			s, err := command(ctx)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				all[i] = append(all[i], s)
			}
		}
	}
	medians := make([]sample, len(commands))
	for i := range all {
		medians[i] = median(all[i])
	}
	return medians, nil
}

// peer measures one run of a peer; a run over the time limit is reported as
// such and not as an error.
func peer(ctx context.Context, cfg config, command func(context.Context) (sample, error)) (sample, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.peerTimeout)
	defer cancel()
	s, err := command(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return sample{wall: cfg.peerTimeout}, true, nil
	}
	return s, false, err
}
