package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quire/internal/problem"
)

// writeSpec stores a kernel.json under root/kernels/name.
func writeSpec(t *testing.T, root, name, text string) {
	t.Helper()
	dir := filepath.Join(root, "kernels", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kernel.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFinder(t *testing.T) {
	t.Parallel()
	a, b := t.TempDir(), t.TempDir()
	writeSpec(t, a, "Python3", `{"argv":["python","-m","ipykernel_launcher","-f","{connection_file}"],"display_name":"A","language":"python",
		"interrupt_mode":"message","env":{"X":"1"},"metadata":{"debugger":true},"kernel_protocol_version":"5.5","unknown":1}`)
	writeSpec(t, b, "python3", `{"argv":["other"],"display_name":"B","language":"python"}`)
	writeSpec(t, b, "plain", `{"argv":["x"]}`)
	writeSpec(t, b, "broken", "{\n \"argv\": [}")
	writeSpec(t, b, "wrong", `{"argv": "python"}`)
	writeSpec(t, b, "noargv", `{"display_name":"x"}`)
	writeSpec(t, b, "mode", `{"argv":["x"],"interrupt_mode":"shout"}`)
	writeSpec(t, b, "bad name", `{"argv":["x"]}`)
	if err := os.MkdirAll(filepath.Join(b, "kernels", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := Finder{Paths: []string{a, b, filepath.Join(b, "missing")}}
	specs, errs := f.List()
	want := []Spec{
		{Name: "plain", Dir: filepath.Join(b, "kernels", "plain"), Argv: []string{"x"}, DisplayName: "plain", InterruptMode: "signal"},
		{
			Name: "python3", Dir: filepath.Join(a, "kernels", "Python3"), DisplayName: "A", Language: "python", InterruptMode: "message",
			Argv: []string{"python", "-m", "ipykernel_launcher", "-f", "{connection_file}"},
			Env:  map[string]string{"X": "1"}, Metadata: map[string]any{"debugger": true}, KernelProtocolVersion: "5.5",
		},
	}
	if diff := cmp.Diff(want, specs); diff != "" {
		t.Error(diff)
	}
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
		if !problem.Is(err, problem.Invalid) {
			t.Errorf("%v is %v, want invalid", err, problem.KindOf(err))
		}
	}
	all := strings.Join(texts, "\n")
	for _, text := range []string{
		"broken", "kernel.json:2:12", "wrong", "argv is missing", `interrupt_mode "shout"`,
	} {
		if !strings.Contains(all, text) {
			t.Errorf("the errors do not say %q:\n%s", text, all)
		}
	}
	if len(errs) != 4 {
		t.Errorf("%d errors, want 4:\n%s", len(errs), all)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	a := t.TempDir()
	writeSpec(t, a, "ir", `{"argv":["R"],"language":"R"}`)
	writeSpec(t, a, "bad", `{`)
	f := Finder{Paths: []string{a}}
	if s, err := f.Find("IR"); err != nil || s.Name != "ir" {
		t.Errorf("IR: %+v, %v", s, err)
	}
	for _, tt := range []struct {
		name string
		kind problem.Kind
		text []string
	}{
		{"julia", problem.NotFound, []string{`kernel "julia" is not installed`, "installed are ir", filepath.Join(a, "kernels")}},
		{"bad", problem.Invalid, []string{"kernel bad", "kernel.json"}},
		{"../ir", problem.NotFound, []string{"not the name of a kernel"}},
		{"", problem.NotFound, []string{"not the name of a kernel"}},
	} {
		_, err := f.Find(tt.name)
		if !problem.Is(err, tt.kind) {
			t.Errorf("%q: %v, want kind %v", tt.name, err, tt.kind)
			continue
		}
		for _, text := range tt.text {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%q: %v does not say %q", tt.name, err, text)
			}
		}
	}
	if _, err := (Finder{Paths: []string{}}).Find("x"); err == nil || !strings.Contains(err.Error(), "no kernel is installed") {
		t.Errorf("nothing installed: %v", err)
	}
}

func TestSpecTooLarge(t *testing.T) {
	t.Parallel()
	a := t.TempDir()
	writeSpec(t, a, "large", `{"argv":["x"],"display_name":"`+strings.Repeat("x", maxSpecFile)+`"}`)
	_, err := ReadSpec(filepath.Join(a, "kernels", "large"))
	if !problem.Is(err, problem.TooLarge) {
		t.Errorf("got %v", err)
	}
}

// TestDefaultPaths sets the environment, so it and its cases run alone.
func TestDefaultPaths(t *testing.T) {
	base := t.TempDir()
	bin := filepath.Join(base, "pathenv", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "python3"), []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	user, venv, private := filepath.Join(base, "user"), filepath.Join(base, "venv"), filepath.Join(base, "private")
	share := func(p string) string { return filepath.Join(p, "share", "jupyter") }
	system := []string{"/usr/local/share/jupyter", "/usr/share/jupyter"}
	for _, tt := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{"plain", nil, []string{user, share(private), share(filepath.Dir(bin))}},
		{"path first", map[string]string{"JUPYTER_PATH": "/p1" + string(os.PathListSeparator) + "/p2"}, []string{"/p1", "/p2", user, share(private), share(filepath.Dir(bin))}},
		{"activated", map[string]string{"VIRTUAL_ENV": venv}, []string{share(venv), user, share(private), share(filepath.Dir(bin))}},
		{"activated but user first", map[string]string{"VIRTUAL_ENV": venv, "JUPYTER_PREFER_ENV_PATH": "0"}, []string{user, share(private), share(venv), share(filepath.Dir(bin))}},
		{"data home", map[string]string{"JUPYTER_DATA_DIR": "", "XDG_DATA_HOME": "/xdg"}, []string{"/xdg/jupyter", share(private), share(filepath.Dir(bin))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, value := range map[string]string{
				"JUPYTER_PATH": "", "VIRTUAL_ENV": "", "CONDA_PREFIX": "", "JUPYTER_PREFER_ENV_PATH": "", "PATH": bin,
				"JUPYTER_DATA_DIR": user, "QUIRE_ENV": private,
			} {
				t.Setenv(name, value)
			}
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			if diff := cmp.Diff(slices.Concat(tt.want, system), DefaultPaths()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	prefix := t.TempDir()
	dir := filepath.Join(prefix, "share", "jupyter", "kernels", "python3")
	if err := os.MkdirAll(filepath.Join(prefix, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	python := filepath.Join(prefix, "bin", "python3")
	if err := os.WriteFile(python, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		spec Spec
		want []string
	}{
		{"python of its environment", Spec{Dir: dir, Argv: []string{"python", "-f", "{connection_file}"}}, []string{python, "-f", "/c f"}},
		{"absolute", Spec{Dir: dir, Argv: []string{"/usr/bin/python3", "a={connection_file}"}}, []string{"/usr/bin/python3", "a=/c f"}},
		{"resources", Spec{Dir: dir, Argv: []string{"x", "{resource_dir}/a", "{prefix}"}}, []string{"x", dir + "/a", prefix}},
		{"elsewhere", Spec{Dir: "/opt/k", Argv: []string{"python"}}, []string{"python"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, command(tt.spec, "/c f")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIsIPykernel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		argv string
		want bool
	}{
		{"python -m ipykernel_launcher -f {connection_file}", true},
		{"/usr/bin/python3.11 -Xfrozen_modules=off -m ipykernel_launcher -f {connection_file}", true},
		{"python -m ipykernel -f {connection_file}", true},
		{"python -m ipykernel_launcher -f {connection_file} --profile x", false},
		{"python -m bash_kernel -f {connection_file}", false},
		{"wrapper python -m ipykernel_launcher -f {connection_file}", false},
		{"R --slave -e IRkernel::main() --args {connection_file}", false},
		{"", false},
	} {
		if got := isIPykernel(Spec{Argv: strings.Fields(tt.argv)}); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.argv, got, tt.want)
		}
	}
}

func FuzzReadSpec(f *testing.F) {
	f.Add(`{"argv":["x"],"env":{"A":"$B"},"interrupt_mode":"message"}`)
	f.Add(`{"argv":[""]}`)
	f.Add("[")
	f.Fuzz(func(t *testing.T, text string) {
		root := t.TempDir()
		writeSpec(t, root, "k", text)
		s, err := ReadSpec(filepath.Join(root, "kernels", "k"))
		if err == nil && (len(s.Argv) == 0 || s.Argv[0] == "" || s.InterruptMode == "" || s.DisplayName == "") {
			t.Fatalf("accepted %+v", s)
		}
	})
}

// The kernel for SQL is there without a Jupyter on the machine; one of that
// name that somebody installed comes first.
func TestBuiltIn(t *testing.T) {
	dir := t.TempDir()
	for name, value := range map[string]string{
		"JUPYTER_PATH": dir, "HOME": dir, "XDG_DATA_HOME": dir, "JUPYTER_DATA_DIR": dir, "QUIRE_ENV": dir, "PATH": dir, "VIRTUAL_ENV": "", "CONDA_PREFIX": "",
	} {
		t.Setenv(name, value)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want := Spec{Name: "sql", Argv: []string{exe, "kernel", "sql", "{connection_file}"}, DisplayName: "SQL", Language: "sql", InterruptMode: "message"}
	found, err := Finder{}.Find("SQL")
	if diff := cmp.Diff(want, found); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	specs, _ := Finder{}.List()
	if !slices.ContainsFunc(specs, func(s Spec) bool { return s.Name == "sql" }) {
		t.Errorf("the list has no sql: %+v", specs)
	}
	writeSpec(t, dir, "sql", `{"argv":["other"],"display_name":"Other","language":"sql"}`)
	specs, _ = Finder{}.List()
	n := 0
	for _, s := range specs {
		if s.Name == "sql" {
			n++
		}
	}
	if found, err := (Finder{}).Find("sql"); err != nil || found.DisplayName != "Other" || n != 1 {
		t.Errorf("installed: %+v, %v, %d in the list", found, err, n)
	}
}
