package job

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quire/internal/compute"
)

func fields(v compute.Violations) []string {
	var all []string
	for _, one := range v {
		all = append(all, one.Field)
	}
	return all
}

const goodBatch = `{"owner":{"teamEmail":"a@b.example"},"applicationName":"etl","container":{
	"resources":{"cpu":2,"memoryMB":"4096","diskMB":10240,"networkMbps":128.0,"efsMounts":[{"efsId":"quire","mountPoint":"/workspace"}]},
	"entryPoint":["sh","-c"],"command":["echo hi"],"env":{"A":"1"}},
	"batch":{"size":3,"runtimeLimitSec":"60","retryPolicy":{"delayed":{"delayMs":5,"retries":2}}}}`

func TestParseDescriptor(t *testing.T) {
	t.Parallel()
	d, wrong := ParseDescriptor([]byte(goodBatch))
	if wrong != nil {
		t.Fatal(wrong)
	}
	profile := compute.LaunchProfile()
	d = d.WithDefaults(profile)
	if wrong := d.Validate(profile); wrong != nil {
		t.Fatal(wrong)
	}
	want := compute.Resources{CPUMilli: 2000, MemoryBytes: 4 * compute.GiB, DiskBytes: 10 * compute.GiB, NetworkMbps: 128}
	if got := d.Container.Resources.Size(); got != want {
		t.Errorf("size: got %v, want %v", got, want)
	}
	if d.Batch.RuntimeLimitSec != 60 || d.Batch.RetryPolicy.Delayed.DelayMs != 5 || !slices.Equal(d.Container.argv(), []string{"sh", "-c", "echo hi"}) {
		t.Errorf("got %+v", d)
	}
	text, err := json.Marshal(d)
	if err != nil || !strings.Contains(string(text), `"runtimeLimitSec":"60"`) {
		t.Errorf("a number of 64 bits is a string in JSON: %s, %v", text, err)
	}
	again, wrong := ParseDescriptor(text)
	if wrong != nil || !cmp.Equal(d, again) {
		t.Errorf("written and read again: %v %s", wrong, cmp.Diff(d, again))
	}
}

func TestParseNamesEveryFault(t *testing.T) {
	t.Parallel()
	_, wrong := ParseDescriptor([]byte(`{"applicationName":7,"nme":"x","container":{"resources":{"cpu":"many","gpu":-1,"memoryMB":1.5},
		"command":"ls","env":{"A":"1","A":"2","B":3},"experimental":{"@type":"x"}},"batch":{"size":4294967296,"runtimeLimitSec":"18446744073709551616"},
		"service":null,"extraContainers":[{"name":"x"}]}`))
	want := []string{
		"applicationName", "nme", "container.resources.cpu", "container.resources.gpu", "container.resources.memoryMB",
		"container.command", "container.env.A", "container.env.B", "batch.size", "batch.runtimeLimitSec",
	}
	if diff := cmp.Diff(want, fields(wrong)); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "{", "[]", `"x"`, "{} {}", strings.Repeat("[", 100000)} {
		if _, wrong := ParseDescriptor([]byte(bad)); len(wrong) != 1 {
			t.Errorf("%.20q: %d faults, want 1", bad, len(wrong))
		}
	}
}

func TestValidateNamesEveryViolation(t *testing.T) {
	t.Parallel()
	profile := compute.LaunchProfile()
	d, wrong := ParseDescriptor([]byte(`{"owner":{"teamEmail":"nobody"},"applicationName":"` + strings.Repeat("ü", 76) + `","capacityGroup":"a b",
		"attributes":{"Titus.x":"1"},"jobGroupInfo":{"stack":"a/b"},"networkConfiguration":{"networkMode":"IPX"},
		"container":{"resources":{"cpu":9,"memoryMB":2000000,"diskMB":1024,"gpu":9,"networkMbps":1,"shmSizeMB":3000000,
		"efsMounts":[{"efsId":"x","mountPoint":"/proc/a","mountPerm":"WO","efsRelativeMountPoint":"users/../x"}]},
		"image":{"name":"a b"},"env":{"a":"1"},"attributes":{"titus.y":"1"},
		"hardConstraints":{"constraints":{"color":"red"},"expression":"x"}},
		"batch":{"size":1001,"runtimeLimitSec":864001,"retryPolicy":{"immediate":{"retries":1001},"delayed":{}}},
		"disruptionBudget":{},"volumes":[{}]}`))
	if wrong != nil {
		t.Fatal(wrong)
	}
	want := []string{
		"applicationName", "owner.teamEmail", "capacityGroup", "jobGroupInfo.stack", "attributes.Titus.x",
		"container.resources.cpu", "container.resources.memoryMB", "container.resources.diskMB", "container.resources.gpu",
		"container.resources.networkMbps", "container.resources.shmSizeMB",
		"container.resources.efsMounts[0].efsId", "container.resources.efsMounts[0].mountPoint",
		"container.resources.efsMounts[0].mountPerm", "container.resources.efsMounts[0].efsRelativeMountPoint",
		"container.image.name", "container.image.tag", "container.env", "container.attributes.titus.y",
		"container.hardConstraints.expression", "container.hardConstraints.constraints.color",
		"batch.size", "batch.runtimeLimitSec", "batch.retryPolicy.immediate.retries", "batch.retryPolicy",
		"disruptionBudget", "networkConfiguration.networkMode", "volumes",
	}
	if diff := cmp.Diff(want, fields(d.WithDefaults(profile).Validate(profile))); diff != "" {
		t.Error(diff)
	}
}

// TestTwoLayers: the engine's limits hold where a profile has none or wider
// ones, and of two broken limits the profile's is said.
func TestTwoLayers(t *testing.T) {
	t.Parallel()
	d := Descriptor{ApplicationName: "x", Container: Container{EntryPoint: []string{"true"}}, Service: &Service{Capacity: Capacity{0, 1, 1}}}
	wide := compute.LaunchProfile()
	wide.Limits = compute.Limits{
		CPUMilli: compute.Range{Min: 1, Max: 1 << 40}, MemoryBytes: compute.Range{Min: 1, Max: 1 << 60},
		DiskBytes: compute.Range{Min: 1, Max: 1 << 60}, GPUs: compute.Range{Max: 1 << 20}, NetworkMbps: compute.Range{Min: 1, Max: 1 << 40},
	}
	d = d.WithDefaults(wide)
	if wrong := d.Validate(wide); wrong != nil {
		t.Fatalf("the defaults: %v", wrong)
	}
	d.Container.Resources.CPU, d.Container.Resources.GPU = 97, 17
	want := compute.Violations{
		{Field: "container.resources.cpu", Message: "97 CPUs is above the maximum of 96 CPUs"},
		{Field: "container.resources.gpu", Message: "17 GPUs is above the maximum of 16 GPUs"},
	}
	if diff := cmp.Diff(want, d.Validate(wide)); diff != "" {
		t.Error(diff)
	}
	want[0].Message, want[1].Message = "97 CPUs is above the maximum of 8 CPUs", "17 GPUs is above the maximum of 8 GPUs"
	if diff := cmp.Diff(want, d.Validate(compute.LaunchProfile())); diff != "" {
		t.Error(diff)
	}
	for _, cpu := range []Double{-1, 1e300, 0.0001} {
		d.Container.Resources = ContainerResources{CPU: cpu, MemoryMB: 4096, DiskMB: 10240, NetworkMbps: 128}
		if wrong := d.Validate(compute.LaunchProfile()); len(wrong) != 1 {
			t.Errorf("%g CPUs: %v", cpu, wrong)
		}
	}
}

// FuzzParseDescriptor: what is read without a fault can be written and read
// again, and is the same.
func FuzzParseDescriptor(f *testing.F) {
	f.Add([]byte(goodBatch))
	f.Add([]byte(`{"service":{"capacity":{"min":0,"desired":"1","max":2.0}},"container":{"experimental":{}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, wrong := ParseDescriptor(data)
		if wrong != nil {
			return
		}
		d.WithDefaults(compute.LaunchProfile()).Validate(compute.LaunchProfile())
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again, wrong := ParseDescriptor(text)
		if wrong != nil {
			t.Fatalf("%s: %v", text, wrong)
		}
		if twice, err := json.Marshal(again); err != nil || string(twice) != string(text) {
			t.Errorf("%s became %s", text, twice)
		}
	})
}
