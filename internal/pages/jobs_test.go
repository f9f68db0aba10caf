package pages

import (
	"net/url"
	"testing"

	"quire/internal/compute"
)

// TestLaunchForm: every violation is beside its field, and what was typed stays.
func TestLaunchForm(t *testing.T) {
	t.Parallel()
	profile := compute.LaunchProfile()
	f := newLaunchForm(profile, profile.Defaults)
	typed := url.Values{
		"name": {""}, "cpus": {"99"}, "memory": {"lots"}, "disk": {"10.5"}, "gpus": {"9"}, "network": {"5"},
		"env": {"A=1\nbad\r\n"}, "command": {" "},
	}
	d := f.take(typed).WithDefaults(profile)
	f.blame(d.Validate(profile))
	want := map[string]string{
		"cpus": "Must be between 1 and 8", "memory": "Want a number", "disk": "Want a whole number",
		"gpus": "Must be between 0 and 8", "network": "Must be between 128 and 2000",
	}
	for _, one := range f.Sizes {
		if one.Problem != want[one.Name] || one.Value != typed.Get(one.Name) {
			t.Errorf("%s: %q beside %q", one.Name, one.Problem, one.Value)
		}
	}
	if f.NameProblem != "a name is needed" || f.CommandProblem == "" || f.EnvProblem != `line 2: there is no "="; write NAME=value` || f.Env != typed.Get("env") || !f.bad() {
		t.Errorf("got %+v", f)
	}

	f = newLaunchForm(profile, profile.Presets[1].Resources)
	good := url.Values{"name": {"x"}, "env": {"A=b=c"}, "command": {"echo hi"}, "mount": {"1"}}
	for _, one := range f.Sizes {
		good.Set(one.Name, one.Value)
	}
	d = f.take(good).WithDefaults(profile)
	f.blame(d.Validate(profile))
	if f.bad() || d.Container.Resources.Size() != profile.Presets[1].Resources || d.Container.Env["A"] != "b=c" || len(d.Container.Resources.EFSMounts) != 1 {
		t.Errorf("a preset as it is: %+v %+v", f, d)
	}
}
