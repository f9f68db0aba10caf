package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"quire/internal/engine"
	"quire/internal/kernel"
	"quire/internal/notebook"
)

// measureWarm takes, in this process, what a server does when a run finds a
// started kernel: from the request to the output notebook on the disk. The
// kernel's own end, for which nobody waits, comes after.
func measureWarm(ctx context.Context, cfg config) (result, error) {
	for _, pair := range kernelEnv(cfg) {
		name, value := splitPair(pair)
		if err := os.Setenv(name, value); err != nil {
			return result{}, err
		}
	}
	path := filepath.Join(cfg.dir, "warm.ipynb")
	if err := writeNotebook(path, trivial(1)); err != nil {
		return result{}, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return result{}, err
	}
	spec, err := kernel.Finder{}.Find("python3")
	if err != nil {
		return result{}, err
	}
	pool, err := kernel.NewPool(kernel.Config{Spec: spec}, 1)
	if err != nil {
		return result{}, err
	}
	defer pool.Close()
	medians, err := alternate(ctx, 2*cfg.runs, func(ctx context.Context) (sample, error) {
		if err := awaitReady(ctx, pool); err != nil {
			return sample{}, err
		}
		return warmRun(ctx, cfg, pool, data)
	})
	if err != nil {
		return result{}, err
	}
	res := result{quire: medians[0]}
	res.figure = fmt.Sprintf("%d ms", res.quire.wall.Milliseconds())
	res.met = res.quire.wall <= 100*time.Millisecond
	return res, nil
}

func warmRun(ctx context.Context, cfg config, pool *kernel.Pool, data []byte) (sample, error) {
	start := time.Now()
	nb, err := notebook.Parse(data)
	if err != nil {
		return sample{}, err
	}
	out := engine.NewFile(filepath.Join(cfg.dir, "warm-out.ipynb"), engine.FileOptions{})
	var wall time.Duration
	res, err := engine.Run(ctx, engine.Request{Source: nb, Output: out, StartKernel: pool.Get, Events: func(e engine.Event) {
		if e.Type == engine.EventSaved {
			wall = time.Since(start)
		}
	}})
	if err = errors.Join(err, out.Close()); err == nil {
		err = res.Err()
	}
	if err == nil && wall == 0 {
		err = errors.New("the run did not say when its output was saved")
	}
	return sample{wall: wall}, err
}

// awaitReady waits until a kernel is there and the machine has had a moment of
// quiet: the pool starts the next one in the background.
func awaitReady(ctx context.Context, pool *kernel.Pool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for pool.Ready() == 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
