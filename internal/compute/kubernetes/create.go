package kubernetes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"quire/internal/compute"
	"quire/internal/problem"
)

// What a Pod carries.
const (
	labelPlace   = "quire.dev/place"
	labelID      = "quire.dev/id"
	labelNetwork = "quire.dev/network" // none, private or host: network policies select by it
	labelHas     = "has.quire.dev/"    // and a digest of a label of the spec: values need not be labels here
	noteSpec     = "quire.dev/spec"
	noteStop     = "quire.dev/stop"
	gateStart    = "quire.dev/start"
	finalizer    = "quire.dev/kept" // keeps the Pod, and how it ended, until Remove
	mainName     = "main"
	home         = "/home/quire"
)

// hasLabel is the label of a Pod whose spec has a label.
func hasLabel(name, value string) string {
	sum := sha256.Sum256([]byte(name + "=" + value))
	return labelHas + hex.EncodeToString(sum[:16])
}

// Create makes a Pod that waits for Start.
func (d *Driver) Create(ctx context.Context, spec compute.Spec) (compute.Handle, error) {
	if err := d.closed(); err != nil {
		return compute.Handle{}, err
	}
	if err := spec.Validate().Err("creating container %q", spec.ID); err != nil {
		return compute.Handle{}, err
	}
	pod, err := d.pod(spec)
	if err != nil {
		return compute.Handle{}, problem.Wrap(err, "creating container %s", spec.ID)
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	_, err = d.pods.Create(bound, pod, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if !apierrors.IsAlreadyExists(err) {
		return d.handle(spec.ID, ""), d.fault(ctx, err, "creating container %s", spec.ID)
	}
	have, err := d.find(ctx, spec.ID)
	if err == nil && have.Annotations[noteSpec] != pod.Annotations[noteSpec] {
		err = problem.New(problem.Exists, "container %s exists already, with another spec", spec.ID)
	}
	return d.handle(spec.ID, ""), err
}

// pod is a container as a Pod.
func (d *Driver) pod(spec compute.Spec) (*corev1.Pod, error) {
	words, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	var wrong compute.Violations
	image := spec.Image
	if image == "" {
		image = d.cfg.Image
	}
	if image == "" {
		wrong.Add("image", "an image is needed: name one, or configure kubernetes.image for those who name none")
	}
	if spec.Root != "" {
		wrong.Add("root", "the kubernetes driver runs images, not folders: give image")
	}
	if len(spec.Network.Allow) > 0 {
		wrong.Add("network.allow", "%s", noAllow)
	}
	volumes, mounts, err := d.mounts(spec, &wrong)
	if err := wrong.Err("planning"); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	labels := map[string]string{labelPlace: d.cfg.Place, labelID: spec.ID, labelNetwork: "none"}
	if spec.Network.Mode != compute.NetworkNone {
		labels[labelNetwork] = string(spec.Network.Mode)
	}
	for name, value := range spec.Labels {
		labels[hasLabel(name, value)] = "1"
	}
	notes := map[string]string{noteSpec: string(words)}
	if n := spec.Resources.NetworkMbps; n > 0 {
		rate := strconv.FormatInt(n, 10) + "M"
		notes["kubernetes.io/ingress-bandwidth"], notes["kubernetes.io/egress-bandwidth"] = rate, rate
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: d.native(spec.ID), Namespace: d.cfg.Namespace, Labels: labels, Annotations: notes, Finalizers: []string{finalizer},
		},
		Spec: d.podSpec(spec, image, volumes, mounts),
	}, nil
}

// podSpec is what a Pod runs: nothing in it has more rights than it needs.
func (d *Driver) podSpec(spec compute.Spec, image string, volumes []corev1.Volume, mounts []corev1.VolumeMount) corev1.PodSpec {
	no, yes := false, true
	uid, gid := user(spec)
	grace := int64((spec.GraceOrDefault() + 999_999_999) / 1_000_000_000)
	argv := make([]string, len(spec.Argv))
	for i, word := range spec.Argv {
		argv[i] = literal(word)
	}
	s := corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, SchedulingGates: []corev1.PodSchedulingGate{{Name: gateStart}},
		ShareProcessNamespace:        &yes, // else the command would be process 1, which signals do not end by themselves
		Hostname:                     strings.Trim("quire-"+spec.ID[:min(len(spec.ID), 40)], "-"),
		AutomountServiceAccountToken: &no, EnableServiceLinks: &no, TerminationGracePeriodSeconds: &grace,
		HostNetwork: spec.Network.Mode == compute.NetworkHost, NodeSelector: d.cfg.NodeSelector, Volumes: volumes,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsUser: &uid, RunAsGroup: &gid, FSGroup: &gid, RunAsNonRoot: &yes,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: mainName, Image: image, Command: argv, WorkingDir: workFolder(spec), Env: environment(spec),
			Resources: d.requirements(spec.Resources), VolumeMounts: mounts,
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, Privileged: &no, ReadOnlyRootFilesystem: &yes, RunAsNonRoot: &yes,
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
	}
	if d.cfg.RuntimeClass != "" {
		s.RuntimeClassName = &d.cfg.RuntimeClass
	}
	for _, name := range d.cfg.PullSecrets {
		s.ImagePullSecrets = append(s.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	return s
}

// user is who a container's processes are: who owns the workspaces on the
// volume, which is the server's own user where that is not root.
func user(spec compute.Spec) (uid, gid int64) {
	uid, gid = int64(spec.UID), int64(spec.GID)
	if uid == 0 {
		if uid = int64(os.Geteuid()); uid <= 0 {
			uid = compute.DefaultUID
		}
	}
	if gid == 0 {
		if gid = int64(os.Getegid()); gid <= 0 {
			gid = compute.DefaultUID
		}
	}
	return uid, gid
}

func workFolder(spec compute.Spec) string {
	if spec.Dir != "" {
		return spec.Dir
	}
	for _, m := range spec.Mounts {
		if !m.ReadOnly {
			return m.Target
		}
	}
	return home
}

// literal is a text that Kubernetes leaves as it is: in commands and variables
// it takes $(NAME) for another variable, and $$ for a dollar.
func literal(text string) string { return strings.ReplaceAll(text, "$", "$$") }

// environment are the variables, as they are.
func environment(spec compute.Spec) []corev1.EnvVar {
	env := map[string]string{"HOME": home, "USER": "quire", "LOGNAME": "quire", "LANG": "C.UTF-8"}
	maps.Copy(env, spec.Env)
	var all []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(env)) {
		all = append(all, corev1.EnvVar{Name: name, Value: literal(env[name])})
	}
	return all
}

// requirements are the limits, and as much is set aside: what a person is shown
// is theirs.
func (d *Driver) requirements(r compute.Resources) corev1.ResourceRequirements {
	list := make(corev1.ResourceList)
	if r.CPUMilli > 0 {
		list[corev1.ResourceCPU] = *resource.NewMilliQuantity(r.CPUMilli, resource.DecimalSI)
	}
	if r.MemoryBytes > 0 {
		list[corev1.ResourceMemory] = *resource.NewQuantity(r.MemoryBytes, resource.BinarySI)
	}
	if r.DiskBytes > 0 {
		list[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(r.DiskBytes, resource.BinarySI)
	}
	if r.GPUs > 0 {
		list[corev1.ResourceName(d.cfg.GPUResource)] = *resource.NewQuantity(r.GPUs, resource.DecimalSI)
	}
	return corev1.ResourceRequirements{Limits: list, Requests: list.DeepCopy()}
}

// mounts are the volumes of a Pod: scratch space, and what the spec mounts.
func (d *Driver) mounts(spec compute.Spec, wrong *compute.Violations) (volumes []corev1.Volume, mounts []corev1.VolumeMount, err error) {
	scratch := &corev1.EmptyDirVolumeSource{}
	if n := spec.Resources.DiskBytes; n > 0 {
		scratch.SizeLimit = resource.NewQuantity(n, resource.BinarySI)
	}
	volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: scratch}}}
	for name, target := range map[string]string{"tmp": "/tmp", "var-tmp": "/var/tmp", "home": home} {
		mounts = append(mounts, corev1.VolumeMount{Name: "scratch", MountPath: target, SubPath: name})
	}
	slices.SortFunc(mounts, func(a, b corev1.VolumeMount) int { return strings.Compare(a.MountPath, b.MountPath) })
	used := make(map[int]bool)
	for i, m := range spec.Mounts {
		n, sub, ok := d.volumeOf(m.Source)
		if !ok {
			wrong.Add("mounts["+strconv.Itoa(i)+"].source", "%s is on no volume that Pods have: configure kubernetes.volumes", m.Source)
			continue
		}
		if _, missing := os.Stat(m.Source); missing != nil && err == nil {
			err = problem.WrapAs(problem.NotFound, missing, "mount %s", m.Target)
		}
		name := "volume-" + strconv.Itoa(n)
		if !used[n] {
			used[n] = true
			volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: d.cfg.Volumes[n].source()})
		}
		mounts = append(mounts, corev1.VolumeMount{Name: name, MountPath: m.Target, SubPath: sub, ReadOnly: m.ReadOnly})
	}
	return volumes, mounts, err
}

// volumeOf finds the volume that a path of the server is on, the one with the
// longest path of all, and its path there.
func (d *Driver) volumeOf(source string) (n int, sub string, ok bool) {
	n = -1
	for i, v := range d.cfg.Volumes {
		if (source == v.Path || strings.HasPrefix(source, strings.TrimSuffix(v.Path, "/")+"/")) && (n < 0 || len(v.Path) > len(d.cfg.Volumes[n].Path)) {
			n = i
		}
	}
	if n < 0 {
		return n, "", false
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(source, d.cfg.Volumes[n].Path), "/")
	return n, path.Join(d.cfg.Volumes[n].SubPath, rest), true
}

func (v Volume) source() corev1.VolumeSource {
	switch {
	case v.Claim != "":
		return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: v.Claim}}
	case v.HostPath != "":
		return corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: v.HostPath}}
	}
	return corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: v.NFSServer, Path: v.NFSPath}}
}
