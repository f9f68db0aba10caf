package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A row is one line of the table: a piece of work and what it must reach.
type row struct {
	name    string
	must    string
	measure func(context.Context, config) (result, error)
}

// A result is what a row's measurement gave.
type result struct {
	row
	quire, floor, peer sample
	peerOver           bool   // the peer did not end within its time limit
	figure             string // what is held against must
	met                bool
}

var rows = []row{
	{"1000 trivial cells, each durable", "<= 1.15x floor", ratioRow(trivial(1000), 1.15, 0, 1)},
	{"1 cell, cold kernel", "<= 1.15x floor", ratioRow(trivial(1), 1.15, 0, 3)},
	{"start of the engine itself", "<= 30 ms", measureStart},
	{"1 cell, warm kernel from a pool", "<= 100 ms", measureWarm},
	{"one cell printing 200,000 lines", "<= 1.2x floor, engine <= 64 MiB", linesRow},
	{"200 cells of 1,000 lines", "<= 1.3x floor", ratioRow(printing(200, 1000), 1.3, 0, 1)},
	{"sweep of 20 ten-cell notebooks, --jobs 2", ">= 5x faster than Papermill one after another", measureSweep},
	{"200 MB notebook: read, validate, write", "<= 3 s, <= 3x its size in memory", measureBig},
}

// ratioRow measures sources as a notebook against the floor. peerRuns is how
// often Papermill runs it; runsLess takes that many runs off the usual number.
func ratioRow(sources []string, limit float64, runsLess, peerRuns int) func(context.Context, config) (result, error) {
	return func(ctx context.Context, cfg config) (result, error) {
		return measureRatio(ctx, cfg, sources, limit, max(cfg.runs-runsLess, 1), peerRuns)
	}
}

func measureRatio(ctx context.Context, cfg config, sources []string, limit float64, runs, peerRuns int) (result, error) {
	nb := filepath.Join(cfg.dir, "in.ipynb")
	if err := writeNotebook(nb, sources); err != nil {
		return result{}, err
	}
	medians, err := alternate(ctx, runs,
		func(ctx context.Context) (sample, error) { return quireRun(ctx, cfg, nb) },
		func(ctx context.Context) (sample, error) { return floorRun(ctx, cfg, nb) })
	if err != nil {
		return result{}, err
	}
	res := result{quire: medians[0], floor: medians[1]}
	ratio := res.quire.wall.Seconds() / res.floor.wall.Seconds()
	res.figure, res.met = fmt.Sprintf("%.2fx floor", ratio), ratio <= limit
	if cfg.papermill == "" {
		return res, nil
	}
	var peers []sample
	for range peerRuns {
		s, over, err := peer(ctx, cfg, func(ctx context.Context) (sample, error) { return papermillRun(ctx, cfg, nb) })
		if err != nil {
			return result{}, err
		}
		res.peerOver = over
		peers = append(peers, s)
	}
	res.peer = median(peers)
	return res, nil
}

func linesRow(ctx context.Context, cfg config) (result, error) {
	res, err := measureRatio(ctx, cfg, printing(1, 200_000), 1.2, cfg.runs, 1)
	if err != nil {
		return res, err
	}
	const limit = 64 << 20
	res.met = res.met && res.quire.peak <= limit
	res.figure += fmt.Sprintf(", engine %d MiB", res.quire.peak>>20)
	return res, nil
}

func measureStart(ctx context.Context, cfg config) (result, error) {
	medians, err := alternate(ctx, 4*cfg.runs, func(ctx context.Context) (sample, error) {
		return measure(ctx, nil, cfg.quire, "version")
	})
	if err != nil {
		return result{}, err
	}
	res := result{quire: medians[0]}
	res.figure = fmt.Sprintf("%d ms", res.quire.wall.Milliseconds())
	res.met = res.quire.wall <= 30*time.Millisecond
	if cfg.papermill != "" {
		res.peer, err = measure(ctx, nil, cfg.papermill, "--version")
	}
	return res, err
}

func measureSweep(ctx context.Context, cfg config) (result, error) {
	nb := filepath.Join(cfg.dir, "sweep.ipynb")
	if err := writeNotebook(nb, append([]string{"i = 0"}, trivial(9)...)); err != nil {
		return result{}, err
	}
	grid := filepath.Join(cfg.dir, "grid.yaml")
	numbers := make([]string, 20)
	for i := range numbers {
		numbers[i] = fmt.Sprint(i)
	}
	if err := os.WriteFile(grid, []byte("i: ["+strings.Join(numbers, ", ")+"]\n"), 0o600); err != nil {
		return result{}, err
	}
	out := filepath.Join(cfg.dir, "sweep", "out-{i}.ipynb")
	if err := os.MkdirAll(filepath.Dir(out), 0o700); err != nil {
		return result{}, err
	}
	medians, err := alternate(ctx, min(cfg.runs, 3), func(ctx context.Context) (sample, error) {
		return measure(ctx, kernelEnv(cfg), cfg.quire, "run", nb, out, "--sweep", grid, "--jobs", "2", "--no-progress-bar")
	})
	if err != nil {
		return result{}, err
	}
	res := result{quire: medians[0]}
	res.figure = fmt.Sprintf("%.1f s", res.quire.wall.Seconds())
	if cfg.papermill == "" {
		return res, nil
	}
	start := time.Now()
	for i := range 20 {
		s, err := measure(ctx, kernelEnv(cfg), cfg.papermill, nb, filepath.Join(cfg.dir, "peer.ipynb"), "-p", "i", fmt.Sprint(i), "--no-progress-bar")
		if err != nil {
			return result{}, err
		}
		res.peer.cpu += s.cpu
	}
	res.peer.wall = time.Since(start)
	ratio := res.peer.wall.Seconds() / res.quire.wall.Seconds()
	res.figure, res.met = fmt.Sprintf("%.1fx faster", ratio), ratio >= 5
	return res, nil
}

func measureBig(ctx context.Context, cfg config) (result, error) {
	const size = 200 << 20
	nb := filepath.Join(cfg.dir, "big.ipynb")
	if err := writeBigNotebook(nb, size); err != nil {
		return result{}, err
	}
	defer os.Remove(nb)
	before, err := os.ReadFile(nb)
	if err != nil {
		return result{}, err
	}
	medians, err := alternate(ctx, min(cfg.runs, 3), func(ctx context.Context) (sample, error) {
		// Each run reads the file as it was: fmt brings it into another form.
		if err := os.WriteFile(nb, before, 0o600); err != nil {
			return sample{}, err
		}
		return measure(ctx, nil, cfg.quire, "fmt", nb)
	})
	if err != nil {
		return result{}, err
	}
	res := result{quire: medians[0]}
	times := float64(res.quire.peak) / float64(len(before))
	res.figure = fmt.Sprintf("%.2f s, %.1fx its size", res.quire.wall.Seconds(), times)
	res.met = res.quire.wall <= 3*time.Second && times <= 3
	return res, nil
}

// kernelEnv points every side at the same kernel.
func kernelEnv(cfg config) []string {
	env := filepath.Dir(filepath.Dir(cfg.python))
	return []string{"JUPYTER_PATH=" + filepath.Join(env, "share", "jupyter"), "QUIRE_ENV=" + env}
}

func quireRun(ctx context.Context, cfg config, nb string) (sample, error) {
	return measure(ctx, kernelEnv(cfg), cfg.quire, "run", nb, filepath.Join(cfg.dir, "out.ipynb"), "--no-progress-bar")
}

func papermillRun(ctx context.Context, cfg config, nb string) (sample, error) {
	return measure(ctx, kernelEnv(cfg), cfg.papermill, nb, filepath.Join(cfg.dir, "peer.ipynb"), "--no-progress-bar")
}

func floorRun(ctx context.Context, cfg config, nb string) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	return measure(ctx, kernelEnv(cfg), self, "floor", cfg.python, nb)
}
