package kernel

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// DefaultPaths returns the directories in which Jupyter keeps its data, the
// most important first: JUPYTER_PATH, then the user's directory and the
// Python environments (an activated environment comes before the user's
// directory, as in Jupyter; JUPYTER_PREFER_ENV_PATH decides it by hand), then
// the system's. Quire's private environment is QUIRE_ENV, or else
// .quire/python beside the directory of this program.
func DefaultPaths() []string { return slices.Collect(defaultPaths) }

// defaultPaths yields DefaultPaths one by one. Where the python on PATH belongs
// can cost a process of its own: that is found out only when it is asked for.
func defaultPaths(yield func(string) bool) {
	seen := make(map[string]bool)
	add := func(paths ...string) bool {
		for _, dir := range paths {
			if dir == "" || seen[dir] {
				continue
			}
			seen[dir] = true
			if !yield(dir) {
				return false
			}
		}
		return true
	}
	var active []string
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if prefix := os.Getenv(name); prefix != "" {
			active = append(active, shareOf(prefix))
		}
	}
	first := append(filepath.SplitList(os.Getenv("JUPYTER_PATH")), userData())
	if preferEnv(len(active) > 0) {
		first = slices.Insert(first, len(first)-1, active...)
	}
	if !add(first...) || !add(privateEnv()) || !add(active...) || !add(pathPython()) {
		return
	}
	if runtime.GOOS != "windows" {
		add("/usr/local/share/jupyter", "/usr/share/jupyter")
	}
}

func shareOf(prefix string) string { return filepath.Join(prefix, "share", "jupyter") }

func preferEnv(active bool) bool {
	switch v := strings.ToLower(os.Getenv("JUPYTER_PREFER_ENV_PATH")); v {
	case "":
		return active
	case "no", "n", "false", "off", "0", "0.0":
		return false
	}
	return true
}

// userData is the user's own Jupyter data directory.
func userData() string {
	if dir := os.Getenv("JUPYTER_DATA_DIR"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Jupyter")
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "jupyter")
	}
	return filepath.Join(home, ".local", "share", "jupyter")
}

// privateEnv is the data directory of the Python environment that "make up"
// builds.
func privateEnv() string {
	if prefix := os.Getenv("QUIRE_ENV"); prefix != "" {
		return shareOf(prefix)
	}
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	dir := filepath.Join(filepath.Dir(filepath.Dir(exe)), ".quire", "python")
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return ""
	}
	return shareOf(dir)
}

var prefixes sync.Map // path of a python shim -> its sys.prefix

// pathPython is the data directory of the environment whose python is on PATH.
func pathPython() string {
	exe, err := exec.LookPath("python3")
	if err != nil {
		if exe, err = exec.LookPath("python"); err != nil {
			return ""
		}
	}
	if isScript(exe) { // a shim of pyenv or asdf: only it knows the environment
		return shareOf(shimPrefix(exe))
	}
	return shareOf(filepath.Dir(filepath.Dir(exe)))
}

func isScript(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [2]byte
	n, _ := f.Read(b[:])
	return n == 2 && string(b[:]) == "#!"
}

func shimPrefix(exe string) string {
	if p, ok := prefixes.Load(exe); ok {
		s, _ := p.(string)
		return s
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	prefix := filepath.Dir(filepath.Dir(exe))
	out, err := exec.CommandContext(ctx, exe, "-I", "-S", "-c", "import sys; print(sys.prefix)").Output()
	if line := strings.TrimSpace(string(out)); err == nil && filepath.IsAbs(line) {
		prefix = line
	}
	prefixes.Store(exe, prefix)
	return prefix
}
