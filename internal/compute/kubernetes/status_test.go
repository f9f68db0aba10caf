package kubernetes

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/exec"

	"quire/internal/compute"
)

// made returns a Pod as the API server has it, changed by how.
func made(t *testing.T, how func(*corev1.Pod)) found {
	t.Helper()
	d := open(Config{Namespace: "ns", Place: "here", Image: "image"}, nil)
	pod, err := d.pod(compute.Spec{ID: "a", Argv: []string{"true"}, Resources: compute.Resources{MemoryBytes: 4 * compute.GiB}})
	if err != nil {
		t.Fatal(err)
	}
	pod.CreationTimestamp = metav1.NewTime(time.Unix(1_700_000_000, 0))
	pod.Spec.SchedulingGates = nil
	pod.Spec.NodeName = "n1"
	how(pod)
	f, err := d.read(pod)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func terminated(phase corev1.PodPhase, code int32, reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase = phase
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: mainName, State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, FinishedAt: metav1.NewTime(time.Unix(1_700_000_100, 0))},
		}}}
	}
}

func waiting(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodPending
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: mainName, State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
		}}}
	}
}

func and(all ...func(*corev1.Pod)) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		for _, one := range all {
			one(p)
		}
	}
}

func disrupted(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: message})
	}
}

func deleted(p *corev1.Pod) {
	now := metav1.NewTime(time.Unix(1_700_000_050, 0))
	p.DeletionTimestamp = &now
}

func evicted(message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", message
	}
}

func stopNoted(grace time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		note, _ := json.Marshal(stopNote{At: time.Unix(1_700_000_040, 0), Grace: grace})
		p.Annotations[noteStop] = string(note)
	}
}

// TestEnds: how a Pod ended, in our words. What is the user's fault, and what
// is not, is told apart.
func TestEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		pod    func(*corev1.Pod)
		code   int
		signal string
		cause  compute.Cause
		reason string // its beginning
	}{
		{"well", terminated(corev1.PodSucceeded, 0, "Completed"), 0, "", compute.CauseExited, "exited with code 0"},
		{"badly", terminated(corev1.PodFailed, 3, "Error"), 3, "", compute.CauseExited, "exited with code 3"},
		{"by a signal", terminated(corev1.PodFailed, 137, "Error"), 137, "SIGKILL", compute.CauseExited, "ended by signal SIGKILL"},
		{"out of memory", terminated(corev1.PodFailed, 137, "OOMKilled"), 137, "SIGKILL", compute.CauseOOM, "out of memory: limit 4 GiB"},
		{"out of disk", and(terminated(corev1.PodFailed, 137, "Error"), evicted("Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ")), 137, "SIGKILL", compute.CauseExited, "out of disk: Pod ephemeral"},
		{"evicted", and(terminated(corev1.PodFailed, 137, "Error"), evicted("The node was low on resource: memory."), disrupted("TerminationByKubelet", "The node was low on resource: memory.")), 137, "SIGKILL", compute.CauseSystem, "evicted: its node runs short or shuts down: The node was low"},
		{"evicted without a status", evicted("The node had condition: [DiskPressure]. "), 137, "SIGKILL", compute.CauseSystem, "evicted: Evicted: The node had condition"},
		{"drained", and(terminated(corev1.PodFailed, 143, "Error"), deleted, disrupted("EvictionByEvictionAPI", "")), 143, "SIGTERM", compute.CauseSystem, "evicted: its node was drained"},
		{"preempted", and(terminated(corev1.PodFailed, 143, "Error"), deleted, disrupted("PreemptionByScheduler", "")), 143, "SIGTERM", compute.CauseSystem, "evicted: another Pod of higher priority"},
		{"drained, and yet done", and(terminated(corev1.PodSucceeded, 0, "Completed"), deleted, disrupted("EvictionByEvictionAPI", "")), 0, "", compute.CauseExited, "exited with code 0"},
		{"node lost", and(deleted, disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }), 137, "SIGKILL", compute.CauseSystem, "its node is lost: Taint manager"},
		{"node gone", and(terminated(corev1.PodFailed, 137, "ContainerStatusUnknown"), disrupted("DeletionByPodGC", "PodGC: node no longer exists")), 137, "SIGKILL", compute.CauseSystem, "the node lost it"},
		{"node full", func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu"
		}, 137, "SIGKILL", compute.CauseSystem, "evicted: OutOfcpu: Pod was rejected"},
		{"deleted by somebody", and(terminated(corev1.PodFailed, 143, "Error"), deleted), 143, "SIGTERM", compute.CauseSystem, "the Pod was deleted by somebody else"},
		{"stopped", and(terminated(corev1.PodFailed, 143, "Error"), deleted, stopNoted(time.Minute)), 143, "SIGTERM", compute.CauseStopped, "stopped"},
		{"stopped and killed", and(terminated(corev1.PodFailed, 137, "Error"), deleted, stopNoted(2*time.Second)), 137, "SIGKILL", compute.CauseStopped, "stopped; killed, since it had not ended after 2s"},
		{"killed", and(terminated(corev1.PodFailed, 137, "Error"), deleted, stopNoted(0)), 137, "SIGKILL", compute.CauseStopped, "killed"},
		{"command missing", terminated(corev1.PodFailed, 128, "StartError"), 126, "", compute.CauseRejected, "StartError"},
		{"command missing, waiting", waiting("RunContainerError", `exec: "nope": executable file not found in $PATH`), 127, "", compute.CauseRejected, "RunContainerError: exec"},
		{"image missing", waiting("ErrImagePull", `rpc error: manifest for x:y not found`), 127, "", compute.CauseRejected, "ErrImagePull"},
		{"image wrong", waiting("InvalidImageName", `couldn't parse image name`), 126, "", compute.CauseRejected, "InvalidImageName"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := made(t, tt.pod)
			s := open(Config{Namespace: "ns", Place: "here"}, nil).status(f)
			if s.State != compute.Exited || s.Exit == nil {
				t.Fatalf("%+v", s)
			}
			e := *s.Exit
			if e.Code != tt.code || e.Signal != tt.signal || e.Cause != tt.cause || !strings.HasPrefix(e.Reason, tt.reason) || e.OOMKilled != (tt.cause == compute.CauseOOM) {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestStages: what a Pod that has not begun waits for.
func TestStages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		pod   func(*corev1.Pod)
		state compute.State
		stage string
	}{
		{"gated", func(p *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: gateStart}} }, compute.Created, ""},
		{"no room", func(p *corev1.Pod) {
			p.Spec.NodeName = ""
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes are available: 3 Insufficient cpu."}}
		}, compute.Starting, "waiting for a node: 0/3 nodes"},
		{"pulling", waiting("ContainerCreating", ""), compute.Starting, "pulling the image, and making"},
		{"registry away", waiting("ImagePullBackOff", "dial tcp: i/o timeout"), compute.Starting, "pulling the image: dial tcp"},
		{"running", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: mainName, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
		}, compute.Running, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open(Config{Namespace: "ns", Place: "here"}, nil).status(made(t, tt.pod))
			if s.State != tt.state || !strings.HasPrefix(s.Stage.Text, tt.stage) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestExecEnds: what was executed in a container ends in its own way, whatever
// the container does.
func TestExecEnds(t *testing.T) {
	t.Parallel()
	d, _ := onFake(t)
	for code, want := range map[int]string{1: "exited with code 1", 5: "exited with code 5", 143: "ended by signal SIGTERM"} {
		exit, err := d.execExit(t.Context(), "a", compute.Command{Argv: []string{"sh"}}, exec.CodeExitError{Err: errors.New("it ended"), Code: code})
		if err != nil || exit.Code != code || exit.Reason != want {
			t.Errorf("%+v, %v", exit, err)
		}
	}
}
