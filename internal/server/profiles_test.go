package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/internal/auth"
	"quire/internal/compute"
)

// profilesOf reads profiles as a configuration file has them.
func profilesOf(t *testing.T, yaml string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "quire.yaml")
	if err := os.WriteFile(file, []byte("data: "+t.TempDir()+"\nlisten: 127.0.0.1:0\nuser: ann\n"+yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(file)
	if err != nil {
		return nil, err
	}
	return &c, c.Validate()
}

const research = `
userGroups:
  team: {members: [kim, bob]}
profiles:
  small:
    groups: [team]
    limits: {memoryGB: [4, 8]}
  research:
    members: [ann, bob]
    maxName: 20
    limits: {cpus: [1, 16], memoryGB: [8, 512], gpus: [0, 0]}
    defaults: {cpus: 2}
    presets:
      - {name: huge, cpus: 16, memoryGB: 512}
  rest:
    members: ["*"]
    limits: {memoryGB: [4, 16]}
`

func TestProfiles(t *testing.T) {
	t.Parallel()
	c, err := profilesOf(t, research)
	if err != nil {
		t.Fatal(err)
	}
	of := c.profiles(func(user string) []string {
		return map[string][]string{"kim": {"other", "team"}, "bob": {"team"}}[user]
	})
	ann, eve := of(auth.User{Name: "ann"}), of(auth.User{Name: "eve"})
	want := compute.Resources{CPUMilli: 2000, MemoryBytes: 8 * compute.GiB, DiskBytes: 10 * compute.GiB, NetworkMbps: 128}
	if ann.Name != "research" || ann.Defaults != want || len(ann.Presets) != 1 || ann.Presets[0].Title != "huge: 16 CPUs, 512 GiB" {
		t.Errorf("%+v", ann)
	}
	wrong := ann.Validate(compute.Launch{Name: strings.Repeat("n", 21), Resources: compute.Resources{CPUMilli: 17_000, MemoryBytes: 4 * compute.GiB, DiskBytes: 10 * compute.GiB, GPUs: 1, NetworkMbps: 128}})
	fields := make([]string, len(wrong))
	for i, v := range wrong {
		fields[i] = v.Field
	}
	if got := strings.Join(fields, " "); got != "name resources.cpuMilli resources.memoryBytes resources.gpus" {
		t.Errorf("violations of: %s", got)
	}
	// A group's members have its profile, but who is named in another one.
	if kim, bob := of(auth.User{Name: "kim"}), of(auth.User{Name: "bob"}); kim.Name != "small" || bob.Name != "research" {
		t.Errorf("kim has %s and bob %s", kim.Name, bob.Name)
	}
	// The presets of everybody else that fit are left.
	if eve.Name != "rest" || len(eve.Presets) != 1 || eve.Presets[0].Name != "small" || eve.Defaults != compute.LaunchProfile().Defaults {
		t.Errorf("%+v", eve)
	}
	// One that has no profile of theirs has the launch form of the deck.
	c.Profiles = nil
	if got := c.profiles(nil)(auth.User{Name: "ann"}); got.Name != "default" || got.Limits != compute.LaunchProfile().Limits {
		t.Errorf("%+v", got)
	}
}

func TestProfilesThatAreWrong(t *testing.T) {
	t.Parallel()
	_, err := profilesOf(t, `
profiles:
  one:
    members: [ann, "Not A Name"]
    limits: {cpus: [8, 1], memoryGB: [4], networkMbps: [0, 900000]}
  two:
    members: [ann]
    defaults: {cpus: 9}
    presets: [{name: big, memoryGB: 1000}, {name: big}]
  three: {}
`)
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{
		`one: members: "Not A Name" is no user's name`, "one: limits.cpus: want the least and the most, as [1, 8]", "one: limits.memoryGB", "one: limits.networkMbps",
		"two: members: ann is in one already", "two: defaults.cpuMilli: 9 CPUs", "two: presets: big: memoryBytes", `two: presets: "big": want a name of its own`,
		"three: members: name the users",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q:\n%v", want, err)
		}
	}
}
