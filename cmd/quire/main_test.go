package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"quire/internal/compute/computetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"quire": main})
}

// TestScript runs the scripts that need no kernel: one for each command and for
// each of its failures.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			setup(env)
			env.Setenv("JUPYTER_PATH", env.WorkDir+"/jupyter")
			return nil
		},
		Cmds:      commands,
		Condition: condition,
	})
}

// TestKernels runs the scripts that need a real Python kernel. They are
// registered where QUIRE_TEST_KERNELS names python3, and fail when it is not
// there.
func TestKernels(t *testing.T) {
	t.Parallel()
	var names []string
	if v := os.Getenv("QUIRE_TEST_KERNELS"); v != "" {
		names = strings.Split(v, ",")
	}
	for _, name := range names {
		if name != "python3" {
			continue
		}
		testscript.Run(t, testscript.Params{
			Dir:                 "testdata/kernels",
			RequireExplicitExec: true,
			Setup: func(env *testscript.Env) error {
				setup(env)
				for _, name := range []string{"JUPYTER_PATH", "QUIRE_ENV"} {
					env.Setenv(name, os.Getenv(name))
				}
				return nil
			},
			Cmds: commands,
		})
	}
}

// TestDocker runs the scripts that need a Docker host and a real Python kernel
// in it. They are registered where both are there.
func TestDocker(t *testing.T) {
	t.Parallel()
	python := os.Getenv("QUIRE_ENV")
	if os.Getenv(computetest.DockerVariable) == "" || python == "" {
		return
	}
	runDocker(t, "testdata/docker", python)
}

// TestDockerMany launches two hundred containers of a Docker host at once. It
// takes minutes and is asked for by name: make test-docker-many.
func TestDockerMany(t *testing.T) {
	if os.Getenv("QUIRE_TEST_DOCKER_MANY") == "" {
		return
	}
	runDocker(t, "testdata/dockermany", os.Getenv("QUIRE_ENV"))
}

// runDocker runs scripts with a Docker host of their own.
func runDocker(t *testing.T, dir, python string) {
	t.Helper()
	host := computetest.StartDocker(t)
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			setup(env)
			for name, value := range map[string]string{"JUPYTER_PATH": os.Getenv("JUPYTER_PATH"), "QUIRE_ENV": python, "DOCKER_HOST": host.Host, "IMAGE": host.Image} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: commands,
	})
}

// setup keeps what is the person's own away from a script.
func setup(env *testscript.Env) {
	env.Setenv("JUPYTER_DATA_DIR", env.WorkDir+"/jupyter-data")
	env.Setenv("XDG_RUNTIME_DIR", env.WorkDir)
	env.Setenv("TERM", "xterm")
	env.Setenv("LANG", "C.UTF-8")
}
