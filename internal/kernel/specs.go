package kernel

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"quire/internal/problem"
)

// maxSpecFile is the size in bytes over which a kernel.json is refused.
const maxSpecFile = 1 << 20

// Spec is an installed kernel: what a kernel.json says and where it is.
type Spec struct {
	Name                  string            // the directory's name, such as "python3"
	Dir                   string            // the directory that holds kernel.json; empty for one that is in this program
	Argv                  []string          // the command; {connection_file} and {resource_dir} are replaced
	DisplayName           string            // for people
	Language              string            // such as "python" or "R"
	InterruptMode         string            // "signal" or "message"
	Env                   map[string]string // added to the environment; ${NAME} is expanded
	Metadata              map[string]any    // free; nil when absent
	KernelProtocolVersion string            // what the kernel claims; empty when it does not say
}

// Finder finds kernels. The zero value looks in DefaultPaths, and has the
// kernels that are in this program.
type Finder struct {
	Paths []string // directories that hold kernels/, first match wins; nil is DefaultPaths() and what is built in
}

// sqlArguments are what starts this program as its kernel for SQL, before the
// connection file.
var sqlArguments = []string{"kernel", "sql"}

// SQLConnectionFile returns the connection file when a program's arguments ask
// for the kernel for SQL.
func SQLConnectionFile(args []string) (file string, asked bool) {
	n := len(sqlArguments)
	if len(args) != n+1 || !slices.Equal(args[:n], sqlArguments) {
		return "", false
	}
	return args[n], true
}

// builtIn are the kernels that are in this program.
func (f Finder) builtIn() []Spec {
	exe, err := os.Executable()
	if err != nil || f.Paths != nil {
		return nil
	}
	return []Spec{{
		Name: "sql", Argv: append(append([]string{exe}, sqlArguments...), "{connection_file}"), DisplayName: "SQL", Language: "sql",
		InterruptMode: "message",
	}}
}

var specName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// paths yields the directories that hold kernel directories.
func (f Finder) paths(yield func(string) bool) {
	roots := iter.Seq[string](defaultPaths)
	if f.Paths != nil {
		roots = slices.Values(f.Paths)
	}
	seen := make(map[string]bool)
	for r := range roots {
		dir := filepath.Join(r, "kernels")
		if !seen[dir] && !yield(dir) {
			return
		}
		seen[dir] = true
	}
}

// List returns the installed kernels sorted by name; of two with one name the
// first path's is kept. A kernel.json that cannot be used is an error in the
// second result and hides no other kernel.
func (f Finder) List() ([]Spec, []error) {
	var specs []Spec
	var errs []error
	seen := make(map[string]bool)
	for dir := range f.paths {
		found, bad := readSpecs(dir, func(name string) bool { return !seen[name] })
		for _, spec := range found {
			seen[spec.Name] = true
		}
		specs, errs = append(specs, found...), append(errs, bad...)
	}
	for _, spec := range f.builtIn() {
		if !seen[spec.Name] {
			specs = append(specs, spec)
		}
	}
	slices.SortFunc(specs, func(a, b Spec) int { return strings.Compare(a.Name, b.Name) })
	return specs, errs
}

// readSpecs reads the kernels in dir whose names are wanted.
func readSpecs(dir string, want func(name string) bool) (specs []Spec, errs []error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, []error{problem.Wrap(err, "listing the kernels in %s", dir)}
	}
	for _, e := range entries {
		name := strings.ToLower(e.Name())
		if !specName.MatchString(e.Name()) || !want(name) {
			continue
		}
		spec, err := readSpec(filepath.Join(dir, e.Name()), name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		default:
			specs = append(specs, spec)
		}
	}
	return specs, errs
}

// Find returns the kernel of that name, without regard to case. The error for
// an unknown name is of kind NotFound and says what is installed and where it
// looked.
func (f Finder) Find(name string) (Spec, error) {
	if !specName.MatchString(name) {
		return Spec{}, problem.New(problem.NotFound,
			"%q is not the name of a kernel: a name is made of ASCII letters, digits, '.', '_' and '-'", name)
	}
	for dir := range f.paths {
		if found, _ := readSpecs(dir, func(n string) bool { return strings.EqualFold(n, name) }); len(found) > 0 {
			return found[0], nil
		}
	}
	for _, spec := range f.builtIn() {
		if strings.EqualFold(spec.Name, name) {
			return spec, nil
		}
	}
	specs, errs := f.List()
	var names []string
	for _, s := range specs {
		names = append(names, s.Name)
	}
	for _, err := range errs {
		var bad *specError
		if errors.As(err, &bad) && strings.EqualFold(bad.name, name) {
			return Spec{}, err
		}
	}
	found := "no kernel is installed"
	if len(names) > 0 {
		found = "installed are " + strings.Join(names, ", ")
	}
	return Spec{}, problem.New(problem.NotFound, "kernel %q is not installed: %s; looked in %s",
		name, found, strings.Join(slices.Collect(f.paths), ", "))
}

// specError marks the error of one kernel.json with the kernel's name.
type specError struct {
	name string
	err  error
}

func (e *specError) Error() string { return e.err.Error() }
func (e *specError) Unwrap() error { return e.err }

// ReadSpec reads the kernel.json in dir; the kernel's name is the directory's.
func ReadSpec(dir string) (Spec, error) {
	return readSpec(dir, strings.ToLower(filepath.Base(dir)))
}

func readSpec(dir, name string) (Spec, error) {
	file := filepath.Join(dir, "kernel.json")
	data, err := readBounded(file, maxSpecFile)
	if err != nil {
		return Spec{}, &specError{name, problem.Wrap(err, "reading kernel %s", name)}
	}
	var raw struct {
		Argv                  []string          `json:"argv"`
		DisplayName           string            `json:"display_name"`
		Language              string            `json:"language"`
		InterruptMode         string            `json:"interrupt_mode"`
		Env                   map[string]string `json:"env"`
		Metadata              map[string]any    `json:"metadata"`
		KernelProtocolVersion string            `json:"kernel_protocol_version"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return Spec{}, &specError{name, problem.WrapAs(problem.Invalid, err, "kernel %s: %s%s", name, file, offsetOf(data, err))}
	}
	bad := func(format string, args ...any) (Spec, error) {
		return Spec{}, &specError{name, problem.Wrap(problem.New(problem.Invalid, format, args...), "kernel %s: %s", name, file)}
	}
	if len(raw.Argv) == 0 || raw.Argv[0] == "" {
		return bad("argv is missing: want the command that starts the kernel")
	}
	switch raw.InterruptMode {
	case "":
		raw.InterruptMode = "signal"
	case "signal", "message":
	default:
		return bad(`interrupt_mode %q: want "signal" or "message"`, raw.InterruptMode)
	}
	if raw.DisplayName == "" {
		raw.DisplayName = name
	}
	return Spec{
		Name: name, Dir: dir, Argv: raw.Argv, DisplayName: raw.DisplayName, Language: raw.Language,
		InterruptMode: raw.InterruptMode, Env: raw.Env, Metadata: raw.Metadata,
		KernelProtocolVersion: raw.KernelProtocolVersion,
	}, nil
}

// offsetOf says where in data a JSON error lies: ":LINE:COLUMN".
func offsetOf(data []byte, err error) string {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	var off int64
	switch {
	case errors.As(err, &syntax):
		off = syntax.Offset
	case errors.As(err, &typ):
		off = typ.Offset
	default:
		return ""
	}
	before := string(data[:min(max(off, 0), int64(len(data)))])
	line := strings.Count(before, "\n") + 1
	return ":" + itoa(line) + ":" + itoa(len(before)-strings.LastIndex(before, "\n"))
}

func readBounded(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, problem.New(problem.Invalid, "%s is not a regular file", file)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, problem.New(problem.TooLarge, "%s is larger than %d bytes", file, limit)
	}
	return data, err
}
