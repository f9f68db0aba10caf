package run

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

// TestServerAwayWhileSecretsAreAsked: one that is started again is waited for, one that
// says no is believed, and one that stays away is the platform's fault.
func TestServerAwayWhileSecretsAreAsked(t *testing.T) {
	t.Parallel()
	gone := problem.New(problem.Unavailable, "away")
	for _, tt := range []struct {
		name  string
		err   error
		away  time.Duration // how long
		final bool
		fails bool
		took  time.Duration // at most
	}{
		{"back soon", gone, 20 * time.Second, false, false, 30 * time.Second},
		{"stays away", gone, time.Hour, false, true, secretsWithin + time.Second},
		{"is gone", problem.New(problem.NotFound, "gone"), time.Hour, true, true, time.Millisecond},
		{"is not given", problem.New(problem.Denied, "no"), time.Hour, true, true, time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := (auth.Pass{URL: "http://127.0.0.1:1/", Token: "t"}).Write(dir); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				opt := AttemptOptions{Secrets: func(_ context.Context, pass auth.Pass, spec Spec) (map[string]string, error) {
					if pass.Token != "t" || spec.Run != "r" {
						t.Errorf("asked with %+v, %+v", pass, spec)
					}
					if time.Since(began) < tt.away {
						return nil, tt.err
					}
					return map[string]string{"token": "value"}, nil
				}}
				values, final, err := secretsOf(t.Context(), dir, Spec{Run: "r", Secrets: []string{"token"}}, opt)
				if (err != nil) != tt.fails || final != tt.final || err == nil && values["token"] != "value" || time.Since(began) > tt.took {
					t.Errorf("%v, final %t, %v after %s", values, final, err, time.Since(began))
				}
				if !tt.fails {
					return
				}
				if r := withoutSecrets(t.Context(), err, final); (r.State == Lost) == tt.final || r.Final != tt.final {
					t.Errorf("the attempt is %+v", r)
				}
			})
		})
	}
	// What the server leaves out is not done without.
	dir := t.TempDir()
	if err := (auth.Pass{}).Write(dir); err != nil {
		t.Fatal(err)
	}
	_, _, err := secretsOf(t.Context(), dir, Spec{Secrets: []string{"token"}}, AttemptOptions{Secrets: func(context.Context, auth.Pass, Spec) (map[string]string, error) { return map[string]string{}, nil }})
	if err == nil {
		t.Error("a run began without its secret")
	}
}
