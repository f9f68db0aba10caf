package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"

	"quire/internal/notebook"
	"quire/internal/problem"
)

// blobDir is the folder of outputs that are too large for a document.
const blobDir = "outputs"

// LargeOutput is how large the data of one output may be before the document
// holds a reference to it, in bytes of JSON.
const LargeOutput = 2 << 20

var blobName = regexp.MustCompile(`^[0-9a-f]{64}$`)

// blobs keeps large outputs, each once, by the hash of its JSON. With nil they
// stay where they are.
type blobs struct{ root *os.Root }

// put keeps data and returns its hash. When it returns, data is on the disk.
func (b *blobs) put(data []byte) (string, error) {
	hash := hashOf(data)
	name := path.Join(blobDir, hash)
	if _, err := b.root.Stat(name); err == nil {
		return hash, nil
	}
	f, err := b.root.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(data)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = b.root.Rename(name+".new", name)
	}
	return hash, problem.WrapAs(problem.Unavailable, err, "keeping a large output")
}

// get returns what was kept under hash.
func (b *blobs) get(hash string) ([]byte, error) {
	if !blobName.MatchString(hash) {
		return nil, problem.New(problem.NotFound, "there is no output %.80q", hash)
	}
	f, err := b.root.Open(path.Join(blobDir, hash))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem.New(problem.NotFound, "there is no output %s", hash)
	}
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "reading a large output")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	return data, problem.WrapAs(problem.Unavailable, err, "reading a large output")
}

// shrink returns what the document holds of an output: itself, or a short one
// that refers to it when it is large.
func (b *blobs) shrink(o *notebook.Output) (*notebook.Output, error) {
	if b == nil || o.Type != notebook.DisplayData && o.Type != notebook.ExecuteResult {
		return o, nil
	}
	size := 0
	for _, v := range o.Data {
		switch v := v.(type) {
		case string:
			size += len(v)
		case notebook.Raw:
			size += len(v)
		}
	}
	if size <= LargeOutput {
		return o, nil
	}
	data, err := notebook.MarshalOutput(o)
	if err != nil {
		return nil, err
	}
	hash, err := b.put(data)
	if err != nil {
		return nil, err
	}
	url := "api/collaboration/outputs/" + hash
	short := *o
	short.Data = notebook.MimeBundle{
		"text/plain": fmt.Sprintf("[an output of %.1f MiB: %s]", float64(size)/(1<<20), url),
	}
	short.Metadata = notebook.Object{"quire": notebook.Object{"blob": hash, "bytes": int64(len(data))}, "url": url}
	return &short, nil
}

// reference returns the hash that an output refers to, "" when it does not.
func reference(o *notebook.Output) string {
	hash := o.Metadata.Object("quire").String("blob")
	if !blobName.MatchString(hash) {
		return ""
	}
	return hash
}

// expandAll returns the notebook with its large outputs in place.
func (b *blobs) expandAll(nb *notebook.Notebook) (*notebook.Notebook, error) {
	if b == nil {
		return nb, nil
	}
	full := *nb
	full.Cells = slices.Clone(nb.Cells)
	for i, c := range nb.Cells {
		if !slices.ContainsFunc(c.Outputs, func(o *notebook.Output) bool { return reference(o) != "" }) {
			continue
		}
		whole := *c
		whole.Outputs = slices.Clone(c.Outputs)
		for j, o := range c.Outputs {
			hash := reference(o)
			if hash == "" {
				continue
			}
			data, err := b.get(hash)
			if problem.Is(err, problem.NotFound) {
				continue // somebody wrote a reference of their own
			}
			if err != nil {
				return nil, err
			}
			if whole.Outputs[j], err = notebook.UnmarshalOutput(data); err != nil {
				return nil, err
			}
		}
		full.Cells[i] = &whole
	}
	return &full, nil
}

// Output returns a large output as JSON, by its hash.
func (s *Rooms) Output(hash string) (json.RawMessage, error) { return s.cfg.blobs.get(hash) }
