package engine

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"quire/internal/notebook"
	"quire/internal/problem"
)

// A Resume continues an earlier run from its output notebook.
//
// A cell that calls quire.checkpoint leaves files in Request.Checkpoints and
// their hashes in its output. The engine notes beside them, in the cell's
// metadata, the hash of everything that led there: the language and kernel, the
// parameters and every code cell up to it. A resumed run takes the last
// checkpoint whose hash is the same today and whose files are whole, restores
// the kept values, takes over the outputs of the cells before, and runs the
// rest.
//
// Kept values may be pickles, and loading a pickle runs code. Only files are
// loaded that lie in the folder beside the output, belong to this user, can be
// written by nobody else, and have the hash that the output says. Whoever can
// change both the output notebook and that folder can run code in a resumed
// run, as can whoever can change the source notebook: resume only outputs that
// you would run.
type Resume struct {
	// Previous is the output of the earlier run, as ReadFile gives it. It is not
	// changed.
	Previous *notebook.Notebook
}

// maxManifest bounds a checkpoint's manifest.
const maxManifest = 4 << 20

// CheckpointsBeside returns the usual folder for the checkpoints of an output.
func CheckpointsBeside(output string) string {
	return strings.TrimSuffix(output, ".ipynb") + ".checkpoints"
}

// A checkpointRef is what an output says of a checkpoint.
type checkpointRef struct {
	Names    []string            `json:"names"`
	Files    map[string]keptFile `json:"files"`
	Manifest struct {
		File   string `json:"file"`
		SHA256 string `json:"sha256"`
	} `json:"manifest"`
}

type keptFile struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// A resumePlan is where a run goes on.
type resumePlan struct {
	from     int    // the first cell to run
	manifest string // path of what to restore; "" for a run from the start
	count    int64  // the execution counter of the last cell taken over
	resumed  string // id of the earlier run
}

// chain returns, for each code cell, the hash of everything that leads to its
// end. Cells that do not run do not count.
func (r *run) chain() []string {
	head, _ := json.Marshal([]any{"quire resume 1", r.spec.Name, r.language(), r.params, r.secretNames()})
	sum := sha256.Sum256(head)
	chain := make([]string, len(r.nb.Cells))
	for i, c := range r.nb.Cells {
		if _, run := r.chosen(c); run {
			h := sha256.New()
			h.Write(sum[:])
			fmt.Fprintf(h, "%d:%t:", len(c.Source), c.HasTag(tagRaises))
			_, _ = io.WriteString(h, c.Source)
			h.Sum(sum[:0])
		}
		chain[i] = hex.EncodeToString(sum[:])
	}
	return chain
}

// planResume finds the checkpoint to go on from and takes over the cells before
// it.
func (r *run) planResume() error {
	r.identity = r.chain()
	if r.req.Resume == nil {
		return nil
	}
	if !strings.EqualFold(r.language(), "python") {
		return problem.New(problem.Invalid, "resuming a run needs a Python kernel: %s is for %s", r.spec.Name, r.language())
	}
	if r.req.Resume.Previous == nil || r.req.Checkpoints == "" {
		return problem.New(problem.Invalid, "resuming a run needs its output notebook and its checkpoints")
	}
	previous := r.req.Resume.Previous.Clone()
	removeMarkers(previous)
	r.plan = r.findCheckpoint(previous)
	if r.plan.manifest == "" {
		return nil
	}
	r.takeOver(previous)
	return nil
}

// findCheckpoint looks for the last usable checkpoint and says why others are
// not.
func (r *run) findCheckpoint(previous *notebook.Notebook) resumePlan {
	old, now := codeCells(previous), codeCells(r.nb)
	why := "the earlier run reached no checkpoint"
	for n := min(len(old), len(now)) - 1; n >= 0; n-- {
		was, is := previous.Cells[old[n]], now[n]
		own := lookup(lookup(was.Metadata, "quire"), "checkpoint")
		if own == nil || cellStatus(was) != cellCompleted {
			continue
		}
		if own["chain"] != r.identity[is] {
			if why == "" || !strings.HasPrefix(why, "the checkpoint") {
				why = fmt.Sprintf("since the checkpoint of %s, it or a cell before it, a parameter or the kernel has changed", r.label(is))
			}
			continue
		}
		path, err := r.verify(was)
		if err != nil {
			why = fmt.Sprintf("the checkpoint of %s cannot be used: %v", r.label(is), err)
			continue
		}
		plan := resumePlan{from: is + 1, manifest: path, resumed: runID(previous)}
		for _, k := range old[:n+1] {
			if c := previous.Cells[k].ExecutionCount; c != nil {
				plan.count = max(plan.count, *c)
			}
		}
		return plan
	}
	r.warn("the run starts at its first cell: " + why)
	return resumePlan{}
}

func codeCells(nb *notebook.Notebook) []int {
	var all []int
	for i, c := range nb.Cells {
		if c.Type == notebook.Code {
			all = append(all, i)
		}
	}
	return all
}

// checkpointOf reads the last checkpoint in a cell's outputs.
func checkpointOf(c *notebook.Cell) (ref checkpointRef, ok bool) {
	for _, o := range c.Outputs {
		if v, has := o.Data[checkpointMime]; has {
			var found checkpointRef
			if json.Unmarshal(jsonOf(v), &found) == nil && found.Manifest.File != "" {
				ref, ok = found, true
			}
		}
	}
	return ref, ok
}

// verify checks that a checkpoint's manifest and files are whole and ours, and
// returns the manifest's path.
func (r *run) verify(c *notebook.Cell) (string, error) {
	ref, ok := checkpointOf(c)
	if !ok {
		return "", problem.New(problem.Invalid, "the cell's output names no checkpoint")
	}
	dir, err := filepath.Abs(r.req.Checkpoints)
	if err != nil {
		return "", err
	}
	if err := verifyFile(dir, ref.Manifest.File, ref.Manifest.SHA256, -1); err != nil {
		return "", err
	}
	path := filepath.Join(dir, ref.Manifest.File)
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var manifest struct {
		Files map[string]keptFile `json:"files"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return "", problem.WrapAs(problem.Invalid, err, "reading %s", ref.Manifest.File)
	}
	for name, f := range manifest.Files {
		if err := verifyFile(dir, f.File, f.SHA256, f.Bytes); err != nil {
			return "", problem.Wrap(err, "variable %s", name)
		}
	}
	return path, nil
}

// verifyFile checks one file of a checkpoint: a plain file in the folder, of
// this user, written by nobody else, with the given hash. bytes is -1 for a
// manifest, whose size is bounded instead.
func verifyFile(dir, name, sum string, bytes int64) error {
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return problem.New(problem.Invalid, "%q is not a file of the checkpoint folder", clip(name, 100))
	}
	path := filepath.Join(dir, name)
	st, err := os.Lstat(path)
	if err != nil {
		return problem.WrapAs(fileKind(err), err, "checkpoint file")
	}
	switch {
	case !st.Mode().IsRegular():
		return problem.New(problem.Invalid, "%s is not a plain file", name)
	case !ownFile(st):
		return problem.New(problem.Denied, "%s belongs to another user", name)
	case st.Mode().Perm()&0o022 != 0:
		return problem.New(problem.Denied, "others may write %s", name)
	case bytes >= 0 && st.Size() != bytes, bytes < 0 && st.Size() > maxManifest:
		return problem.New(problem.Invalid, "%s has %d bytes, which is not what was kept", name, st.Size())
	}
	f, err := os.Open(path)
	if err != nil {
		return problem.WrapAs(fileKind(err), err, "checkpoint file")
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, bufio.NewReaderSize(f, 1<<20)); err != nil {
		return problem.Wrap(err, "reading %s", name)
	}
	if hex.EncodeToString(h.Sum(nil)) != sum {
		return problem.New(problem.Invalid, "%s has changed since it was kept", name)
	}
	return nil
}

// takeOver copies what the cells before the checkpoint have shown.
func (r *run) takeOver(previous *notebook.Notebook) {
	old := codeCells(previous)
	n := 0
	for i, c := range r.nb.Cells[:r.plan.from] {
		if c.Type != notebook.Code {
			c.Metadata["papermill"] = notebook.Object{
				"exception": false, "start_time": nil, "end_time": nil, "duration": nil, "status": cellCompleted,
			}
			continue
		}
		was := previous.Cells[old[n]]
		n++
		c.Outputs, c.ExecutionCount = was.Outputs, was.ExecutionCount
		for _, key := range []string{"papermill", "execution"} {
			if v, ok := was.Metadata[key]; ok {
				c.Metadata[key] = v
			}
		}
		if skipped := lookup(was.Metadata, "quire")["skipped"]; skipped != nil {
			setOwn(c, "skipped", skipped)
			continue
		}
		if cp := lookup(lookup(was.Metadata, "quire"), "checkpoint"); cp != nil {
			setOwn(c, "checkpoint", cp)
		}
		setOwn(c, "resumed", true)
		r.result.Cells.Resumed++
		state := &cellState{index: i, cell: c, done: true}
		for _, o := range c.Outputs {
			r.mask.output(o)
			r.observe(state, o)
			if o.Type == notebook.ErrorOutput {
				state.errorOutput, r.expected = o, state
			}
		}
	}
}

func (r *run) resumeFrom() int { return r.plan.from }

// restore puts the kept values back into the kernel.
func (r *run) restore() verdict {
	if r.plan.manifest == "" {
		return verdict{status: Succeeded}
	}
	for i, c := range r.nb.Cells[:r.plan.from] {
		// A checkpoint keeps what it names; the parameters are there in any case.
		if c.Type != notebook.Code || !c.HasTag(tagParameters) && !c.HasTag(tagInjected) {
			continue
		}
		if err := r.quietly(c.Source); err != nil {
			return r.quietFailure("setting the parameters of "+r.label(i)+" again", err)
		}
	}
	// The code names a file of ours; Go's quoting of a path is Python's too.
	code := fmt.Sprintf("__import__('quire').restore(%s)", pythonString(r.plan.manifest))
	if r.plan.count > 0 {
		code += fmt.Sprintf("\nget_ipython().execution_count = %d", r.plan.count+1)
	}
	if err := r.quietly(code); err != nil {
		return r.quietFailure("restoring the checkpoint before "+r.label(r.plan.from), err)
	}
	if len(r.req.Secrets) > 0 {
		return r.assignSecrets()
	}
	return verdict{status: Succeeded}
}

// pythonString is a Python literal of a path.
func pythonString(s string) string {
	text, _ := json.Marshal(s) // JSON's escapes are Python's
	return string(text)
}

// noteCheckpoint writes into a finished cell what a resumed run asks for.
func (r *run) noteCheckpoint(state *cellState) {
	if state.checkpoint && r.identity != nil {
		setOwn(state.cell, "checkpoint", notebook.Object{"chain": r.identity[state.index]})
	}
}

// concludeResume records where the run went on, and drops the files that no
// cell of the notebook needs any more.
func (r *run) concludeResume(own notebook.Object) {
	if r.plan.manifest != "" {
		own["resumed"] = notebook.Object{"run": r.plan.resumed, "cells": r.result.Cells.Resumed}
	}
	if r.req.Checkpoints == "" {
		return
	}
	used := map[string]bool{}
	for _, c := range r.nb.Cells {
		for _, o := range c.Outputs {
			v, ok := o.Data[checkpointMime]
			if !ok {
				continue
			}
			var ref checkpointRef
			if json.Unmarshal(jsonOf(v), &ref) != nil {
				return // do not guess what may go
			}
			used[ref.Manifest.File] = true
			for _, f := range ref.Files {
				used[f.File] = true
			}
		}
	}
	pruneCheckpoints(r.req.Checkpoints, used)
}

// pruneCheckpoints removes the files of older runs, and the folder when it is
// empty. Only names that the helper makes are touched.
func pruneCheckpoints(dir string, used map[string]bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name := e.Name()
		ours := strings.HasPrefix(name, ".part-")
		for _, suffix := range []string{".json", ".pickle", ".parquet"} {
			ours = ours || strings.HasSuffix(name, suffix) && strings.Contains(name, "-")
		}
		if ours && e.Type().IsRegular() && !used[name] {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
	_ = os.Remove(dir) // only when empty
}
