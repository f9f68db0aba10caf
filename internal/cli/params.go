package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/server"
	"quire/internal/storage"
)

// Bounds of what is read besides the notebook.
const (
	maxParametersFile = 64 << 20 // bytes of a -f file
	maxSecret         = 1 << 20  // bytes of one secret
)

// gather returns the parameters that the command line gives, each source
// overriding the ones before it, in papermill's order: paths, -b, -f, -y, -p, -r.
func (c *runConfig) gather(ctx context.Context, paths runPaths) (parameter.Set, error) {
	var set parameter.Set
	if c.injectInput || c.injectPaths {
		set.Put("PAPERMILL_INPUT_PATH", parameter.String(publicPath(paths.input)))
	}
	if c.injectOutput || c.injectPaths {
		set.Put("PAPERMILL_OUTPUT_PATH", parameter.String(publicPath(paths.output)))
	}
	for _, text := range c.base64s {
		more, err := parameter.FromBase64(text)
		if err != nil {
			return set, err
		}
		set.Merge(more)
	}
	for _, file := range c.files {
		data, err := readPath(ctx, file, maxParametersFile)
		if err != nil {
			return set, problem.Wrap(err, "reading parameters from %s", publicPath(file))
		}
		more, err := parameter.FromFile(publicPath(file), data)
		if err != nil {
			return set, err
		}
		set.Merge(more)
	}
	for _, text := range c.yamls {
		more, err := parameter.FromYAML("--parameters_yaml", []byte(text))
		if err != nil {
			return set, err
		}
		set.Merge(more)
	}
	for _, p := range c.parameters {
		set.Put(p.name, parameter.FromFlag(p.value))
	}
	for _, p := range c.raw {
		set.Put(p.name, parameter.FromRaw(p.value))
	}
	return set, nil
}

// parameterFileWarnings says, as papermill does, which parameter files do not
// look like one.
func (c *runConfig) parameterFileWarnings() []string {
	var warnings []string
	for _, file := range c.files {
		switch strings.ToLower(path.Ext(file)) {
		case ".json", ".yaml", ".yml":
		default:
			warnings = append(warnings, fmt.Sprintf("the parameters file %s does not end in .json, .yaml or .yml", publicPath(file)))
		}
	}
	return warnings
}

// readSecrets returns the values of the secrets that refs name. An error never
// holds a value. One line end at the end of a file is not part of the secret.
func readSecrets(refs []string) (map[string]string, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	secrets := make(map[string]string, len(refs))
	for _, ref := range refs {
		name, source, ok := strings.Cut(ref, "=")
		kind, from, typed := strings.Cut(source, ":")
		if !ok || name == "" {
			// The whole of it may be a secret that was given by mistake.
			return nil, usageError{errors.New("--secret: want NAME=env:VAR or NAME=file:PATH")}
		}
		if !typed || from == "" || kind != "env" && kind != "file" {
			return nil, usageError{fmt.Errorf("--secret %s: want %s=env:VAR or %s=file:PATH; the value itself is never given on the command line", name, name, name)}
		}
		if _, twice := secrets[name]; twice {
			return nil, usageError{fmt.Errorf("--secret %s: it is given twice", name)}
		}
		value, err := readSecret(kind, from)
		if err != nil {
			return nil, problem.Wrap(err, "reading secret %s", name)
		}
		secrets[name] = value
	}
	return secrets, nil
}

func readSecret(kind, from string) (string, error) {
	if kind == "env" {
		value, ok := os.LookupEnv(from)
		if !ok {
			return "", problem.New(problem.NotFound, "the environment variable %s is not set", from)
		}
		return value, nil
	}
	f, err := os.Open(from)
	if err != nil {
		return "", fileError(err, from)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fileError(err, from)
	}
	if len(data) > maxSecret {
		return "", problem.New(problem.TooLarge, "%s holds more than %d bytes", from, maxSecret)
	}
	text := strings.TrimSuffix(string(data), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}

// fileError gives an error of the file system its kind, and says it in words.
func fileError(err error, name string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return problem.New(problem.NotFound, "%s does not exist", name)
	case errors.Is(err, fs.ErrPermission):
		return problem.New(problem.Denied, "%s may not be read", name)
	}
	return problem.WrapAs(problem.Unavailable, err, "%s", name)
}

// readPath returns the bytes at a path or URL, or of standard input for "-". Its
// error does not name them.
func readPath(ctx context.Context, name string, maxBytes int64) ([]byte, error) {
	store, at, err := server.OpenPath(ctx, name)
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // nothing was written
	data, _, err := storage.ReadAll(ctx, store, at, maxBytes)
	return data, unnamed(err, store, at)
}

// unnamed is an error of reading from a store without the words that its caller
// says as well: what is read.
func unnamed(err error, store storage.Store, at string) error {
	var e *problem.Error
	if errors.As(err, &e) && e.Op == "reading "+store.Location(at) {
		return &problem.Error{Kind: e.Kind, Msg: e.Msg, Err: e.Err}
	}
	return err
}
