package run_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/problem"
	"quire/internal/run"
)

// vault has secrets by owner and name.
type vault map[string]map[string]string

func (v vault) Check(_ context.Context, u auth.User, bound map[string]string) error {
	for parameter, name := range bound {
		if _, ok := v[u.Name][name]; !ok {
			return problem.New(problem.NotFound, "secret %s: you have no secret named %s", parameter, name)
		}
	}
	return nil
}

func (v vault) Give(ctx context.Context, u auth.User, bound map[string]string) (map[string]string, error) {
	values := map[string]string{}
	for parameter, name := range bound {
		values[parameter] = v[u.Name][name]
	}
	return values, v.Check(ctx, u, bound)
}

// withSecrets is a server on which ann and bob have a secret of the same name.
func withSecrets(t *testing.T, script func(a *actor)) *bundle {
	t.Helper()
	b := setup(t, script)
	b.Stop()
	b.cfg.Secrets = vault{"ann": {"api": "canary-of-ann"}, "bob": {"api": "canary-of-bob"}}
	b.start(t)
	return b
}

// TestSecretsOfAnAttempt: only the live attempt gets the values, and no file has them.
func TestSecretsOfAnAttempt(t *testing.T) {
	t.Parallel()
	var b *bundle
	pass := auth.User{Name: "ann", Pass: true}
	type answer struct {
		values map[string]string
		err    error
	}
	got, specs := make(chan answer, 10), make(chan run.Spec, 1)
	b = withSecrets(t, func(a *actor) {
		for _, ask := range []struct {
			u       auth.User
			attempt int
			fence   string
		}{
			{ann, 1, a.spec.Fence},
			{auth.User{Name: "bob", Pass: true}, 1, a.spec.Fence},
			{pass, 1, "guessed"},
			{pass, 1, ""},
			{pass, 2, a.spec.Fence},
			{pass, 1, a.spec.Fence},
		} {
			values, err := b.SecretsFor(b.ctx, ask.u, a.spec.Run, ask.attempt, ask.fence)
			got <- answer{values, err}
		}
		specs <- a.spec
		a.result(run.Succeeded, "")
	})
	r := b.submit(t, run.Request{Secrets: map[string]string{"token": "api"}})
	r = b.await(t, r.ID, ended)
	for i := range 5 {
		if a := <-got; !problem.Is(a.err, problem.Denied) || a.values != nil {
			t.Errorf("%d: was given %v, %v", i, a.values, a.err)
		}
	}
	if a := <-got; a.err != nil || len(a.values) != 1 || a.values["token"] != "canary-of-ann" {
		t.Errorf("the attempt got %v, %v", a.values, a.err)
	}
	spec := <-specs
	if _, err := b.SecretsFor(b.ctx, pass, r.ID, 1, spec.Fence); !problem.Is(err, problem.Denied) {
		t.Errorf("after its end: %v", err)
	}
	if r.Secrets["token"] != "api" || len(spec.Secrets) != 1 || spec.Secrets[0] != "token" {
		t.Errorf("kept are %v, %v", r.Secrets, spec.Secrets)
	}
	_ = filepath.WalkDir(filepath.Dir(b.cfg.Spool), func(path string, d os.DirEntry, _ error) error {
		if d != nil && d.Type().IsRegular() {
			if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), "canary-of") {
				t.Errorf("%s has the value", path)
			}
		}
		return nil
	})
}

// TestSecretsAreBoundByTheirOwner: nobody binds another's, and nothing that runs with a
// pass binds any.
func TestSecretsAreBoundByTheirOwner(t *testing.T) {
	t.Parallel()
	b := withSecrets(t, func(a *actor) { a.result(run.Succeeded, "") })
	req := run.Request{Notebook: "users/ann/a.ipynb", Secrets: map[string]string{"token": "api"}}
	for _, tt := range []struct {
		u    auth.User
		kind problem.Kind
	}{{auth.User{Name: "ann", Pass: true}, problem.Denied}, {auth.User{Name: "root", Admin: true}, problem.Invalid}} {
		if _, err := b.Submit(b.ctx, tt.u, req); !problem.Is(err, tt.kind) {
			t.Errorf("%v bound one: %v", tt.u, err)
		}
		if _, err := b.Check(b.ctx, tt.u, req); !problem.Is(err, tt.kind) {
			t.Errorf("%v may bind one: %v", tt.u, err)
		}
	}
	for _, name := range []string{"", "../x", "1a", "a b"} {
		bad := req
		bad.Secrets = map[string]string{name: "api"}
		if _, err := b.Submit(b.ctx, ann, bad); !problem.Is(err, problem.Invalid) {
			t.Errorf("parameter %q: %v", name, err)
		}
	}
	strict := req
	strict.Strict = true
	if _, err := b.Submit(b.ctx, ann, strict); !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "token: no such parameter") {
		t.Errorf("one that is not declared: %v", err)
	}
	r, err := b.Submit(b.ctx, ann, req)
	if err != nil {
		t.Fatal(err)
	}
	b.await(t, r.ID, ended)
	// bob's run, which binds bob's, is not run again with those of whoever asks.
	for _, u := range []auth.User{{Name: "root", Admin: true}, {Name: "ann", Pass: true}} {
		if _, err := b.Retry(b.ctx, u, r.ID); !problem.Is(err, problem.Denied) {
			t.Errorf("%v ran it again: %v", u, err)
		}
	}
	again, err := b.Retry(b.ctx, ann, r.ID)
	if err != nil || again.Secrets["token"] != "api" {
		t.Errorf("%v, %v", again.Secrets, err)
	}
	// The same key with other secrets is another run.
	req.IdempotencyKey = "k"
	first, err1 := b.Submit(b.ctx, ann, req)
	same, err2 := b.Submit(b.ctx, ann, req)
	req.Secrets = map[string]string{"other": "api"}
	other, err3 := b.Submit(b.ctx, ann, req)
	if err1 != nil || err2 != nil || err3 != nil || first.ID != same.ID || first.ID == other.ID {
		t.Errorf("%s, %s, %s: %v, %v, %v", first.ID, same.ID, other.ID, err1, err2, err3)
	}
}

// TestMissingSecretIsNotTriedAgain: what is gone does not come by itself.
func TestMissingSecretIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	b := withSecrets(t, func(a *actor) {
		_ = auth.Pass{URL: "http://127.0.0.1:1/"}.Write(a.dir)
		_, _ = run.RunAttempt(context.Background(), a.dir, run.AttemptOptions{Secrets: func(context.Context, auth.Pass, run.Spec) (map[string]string, error) {
			return nil, problem.New(problem.NotFound, "run: secret token: you have no secret named api; set it with quire secret set api")
		}})
	})
	b.launcher.bare = true
	r := b.await(t, b.submit(t, run.Request{Secrets: map[string]string{"token": "api"}, Retries: 3}).ID, ended)
	if r.State != run.Failed || r.Attempt != 1 || r.Reason != "run: secret token: you have no secret named api; set it with quire secret set api" {
		t.Errorf("%s after %d attempts: %s", r.State, r.Attempt, r.Reason)
	}
}

// TestContainersApart: where a container does not reach the server, nothing is begun
// that would wait for its secrets.
func TestContainersApart(t *testing.T) {
	t.Parallel()
	b := withSecrets(t, func(*actor) {})
	b.Stop()
	b.cfg.Containers = &run.Containers{Apart: true}
	_, err := run.New(b.cfg).Submit(b.ctx, ann, run.Request{Notebook: "users/ann/a.ipynb", Secrets: map[string]string{"token": "api"}, Container: &compute.Resources{CPUMilli: 1000}})
	if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "do not reach this server") {
		t.Errorf("%v", err)
	}
}
