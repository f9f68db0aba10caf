package kubernetes

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/gentype"
	testing2 "k8s.io/client-go/testing"

	"quire/internal/compute"
	"quire/internal/problem"
)

// client is a client of Pods that can also play the node.
type client interface {
	pods
	UpdateStatus(ctx context.Context, pod *corev1.Pod, opts metav1.UpdateOptions) (*corev1.Pod, error)
}

// newFake returns client-go's fake API server, with Pods alone: its clientset
// of everything takes minutes to build.
func newFake() client {
	scheme := newScheme()
	tracker := testing2.NewObjectTracker(scheme, serializer.NewCodecFactory(scheme).UniversalDecoder())
	all := &testing2.Fake{}
	all.AddReactor("*", "*", testing2.ObjectReaction(tracker))
	all.AddWatchReactor("*", func(action testing2.Action) (bool, watch.Interface, error) {
		var opts metav1.ListOptions
		if w, ok := action.(testing2.WatchActionImpl); ok {
			opts = w.ListOptions
		}
		w, err := tracker.Watch(action.GetResource(), action.GetNamespace(), opts)
		return err == nil, w, err
	})
	return gentype.NewFakeClientWithList(all, "ns", group.WithResource("pods"), group.WithKind("Pod"),
		func() *corev1.Pod { return &corev1.Pod{} }, func() *corev1.PodList { return &corev1.PodList{} },
		func(to, from *corev1.PodList) { to.ListMeta = from.ListMeta },
		func(list *corev1.PodList) []*corev1.Pod { return gentype.ToPointerSlice(list.Items) },
		func(list *corev1.PodList, items []*corev1.Pod) { list.Items = gentype.FromPointerSlice(items) },
	)
}

func onFake(t *testing.T, volumes ...Volume) (*Driver, client) {
	t.Helper()
	c := newFake()
	d := open(Config{Namespace: "ns", Place: "here", Image: "registry/notebook@sha256:0", Volumes: volumes}, c)
	d.lookAgain = 50 * time.Millisecond // the fake forgets what happens between a list and its watch
	t.Cleanup(func() { d.Close() })
	return d, c
}

func asked(id string) compute.Spec {
	return compute.Spec{ID: id, Argv: []string{"true"}, Labels: map[string]string{"user": "ann@example.org"}}
}

// TestPod: what is asked for is in the Pod, and no right that is not needed.
func TestPod(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	work := filepath.Join(folder, "files", "ann")
	if err := os.MkdirAll(work, 0o755); err != nil {
		t.Fatal(err)
	}
	d, client := onFake(t, Volume{Path: folder, Claim: "quire", SubPath: "data"}, Volume{Path: "/", HostPath: "/"})
	spec := asked("a")
	spec.Resources = compute.Resources{CPUMilli: 1500, MemoryBytes: 4 * compute.GiB, DiskBytes: 10 * compute.GiB, GPUs: 2, NetworkMbps: 128}
	spec.Mounts = []compute.Mount{{Source: work, Target: "/workspace"}, {Source: folder, Target: "/all", ReadOnly: true}}
	spec.Env = map[string]string{"A": "$(HOME) $x"}
	spec.Argv = []string{"sh", "-c", "kill $$ $(HOME)"}
	if _, err := d.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	pod, err := client.Get(t.Context(), "quire-here-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := pod.Spec.Containers[0]
	for name, want := range map[corev1.ResourceName]string{"cpu": "1500m", "memory": "4Gi", "ephemeral-storage": "10Gi", "nvidia.com/gpu": "2"} {
		limit, request := c.Resources.Limits[name], c.Resources.Requests[name]
		if limit.String() != want || request.String() != want {
			t.Errorf("%s: limit %s, request %s", name, &limit, &request)
		}
	}
	if pod.Annotations["kubernetes.io/egress-bandwidth"] != "128M" || pod.Annotations["kubernetes.io/ingress-bandwidth"] != "128M" {
		t.Errorf("%v", pod.Annotations)
	}
	s := c.SecurityContext
	if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !*s.RunAsNonRoot || len(s.Capabilities.Drop) != 1 || s.Capabilities.Drop[0] != "ALL" ||
		*pod.Spec.AutomountServiceAccountToken || *pod.Spec.SecurityContext.RunAsUser == 0 || pod.Spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%+v, %+v", s, pod.Spec.SecurityContext)
	}
	var mounts []string
	for _, m := range c.VolumeMounts {
		mounts = append(mounts, m.Name+" "+m.SubPath+" "+m.MountPath)
	}
	want := "scratch home /home/quire|scratch tmp /tmp|scratch var-tmp /var/tmp|volume-0 data/files/ann /workspace|volume-0 data /all"
	if got := strings.Join(mounts, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if v := pod.Spec.Volumes[1].PersistentVolumeClaim; v == nil || v.ClaimName != "quire" || pod.Spec.Volumes[0].EmptyDir.SizeLimit.String() != "10Gi" {
		t.Errorf("%+v", pod.Spec.Volumes)
	}
	if c.WorkingDir != "/workspace" || c.Env[0].Value != "$$(HOME) $$x" || c.Command[2] != "kill $$$$ $$(HOME)" || pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("%+v", c)
	}
}

// TestCreatedOnce: many at once, and after another driver on the same place.
func TestCreatedOnce(t *testing.T) {
	t.Parallel()
	d, client := onFake(t)
	again := open(d.cfg, client)
	defer again.Close()
	var wg sync.WaitGroup
	for _, one := range []*Driver{d, again, d, again} {
		wg.Go(func() {
			if _, err := one.Create(t.Context(), asked("a")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	other := asked("a")
	other.Argv = []string{"false"}
	if _, err := d.Create(t.Context(), other); !problem.Is(err, problem.Exists) {
		t.Errorf("another spec: %v", err)
	}
	for labels, want := range map[string]int{"ann@example.org": 1, "bob": 0} {
		if all, err := d.List(t.Context(), map[string]string{"user": labels}); err != nil || len(all) != want {
			t.Errorf("%s: %v, %v", labels, all, err)
		}
	}
}

// TestRefused: every reason at once, and nothing made.
func TestRefused(t *testing.T) {
	t.Parallel()
	d, _ := onFake(t)
	d.cfg.Image = ""
	spec := asked("a")
	spec.Mounts = []compute.Mount{{Source: "/somewhere", Target: "/workspace"}}
	_, err := d.Create(t.Context(), spec)
	if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "kubernetes.volumes") || !strings.Contains(err.Error(), "kubernetes.image") {
		t.Errorf("%v", err)
	}
	if all, err := d.List(t.Context(), nil); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestStartAndWait: Start opens the gate once, waits for the node, and Wait is
// told of the end by the watch.
func TestStartAndWait(t *testing.T) {
	t.Parallel()
	d, client := onFake(t)
	if _, err := d.Create(t.Context(), asked("a")); err != nil {
		t.Fatal(err)
	}
	go func() {
		for t.Context().Err() == nil {
			pod, err := client.Get(t.Context(), "quire-here-a", metav1.GetOptions{})
			if err == nil && len(pod.Spec.SchedulingGates) == 0 {
				pod.Status.Phase = corev1.PodRunning
				pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: mainName, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
				client.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}) //nolint:errcheck // the test fails otherwise
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if err := d.Start(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan compute.Exit, 1)
	go func() {
		exit, _ := d.Wait(t.Context(), "a")
		ended <- exit
	}()
	pod, err := client.Get(t.Context(), "quire-here-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	terminated(corev1.PodFailed, 4, "Error")(pod)
	if _, err := client.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if exit := <-ended; exit.Code != 4 || exit.Cause != compute.CauseExited {
		t.Errorf("%+v", exit)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := d.Start(short, "a"); err != nil {
		t.Errorf("starting it again: %v", err)
	}
}

// TestStopCreated: what was stopped before it was started never is.
func TestStopCreated(t *testing.T) {
	t.Parallel()
	d, client := onFake(t)
	if _, err := d.Create(t.Context(), asked("a")); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(t.Context(), "a", -1); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if exit, err := d.Wait(t.Context(), "a"); err != nil || exit.Cause != compute.CauseStopped {
		t.Errorf("%+v, %v", exit, err)
	}
	if pod, err := client.Get(t.Context(), "quire-here-a", metav1.GetOptions{}); err != nil || len(pod.Spec.SchedulingGates) != 1 {
		t.Errorf("its gate was opened: %v", err)
	}
	if err := d.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Status(t.Context(), "a"); !problem.Is(err, problem.NotFound) {
		t.Errorf("%v", err)
	}
}
