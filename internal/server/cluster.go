package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/klog/v2"

	"quire/internal/compute"
	"quire/internal/compute/kubernetes"
	"quire/internal/problem"
)

// A KubernetesConfig is the cluster of compute: kubernetes.
type KubernetesConfig struct {
	// Kubeconfig is a file that says where the cluster is. Default: the Pod's own
	// service account, else KUBECONFIG or ~/.kube/config.
	Kubeconfig string `yaml:"kubeconfig"`
	// Context is one of the file's. Default: its current one.
	Context string `yaml:"context"`
	// Namespace is where the Pods are. Required.
	Namespace string `yaml:"namespace"`
	// Image is the image of containers that name none, by reference with digest.
	// It has to hold what notebooks need: a Python with ipykernel. Default: none,
	// and such containers are refused.
	Image string `yaml:"image"`
	// Volumes are what the server and the Pods both have. The server's data
	// directory has to be on one of them. Required.
	Volumes []KubernetesVolume `yaml:"volumes"`
	// PullSecrets are secrets of the namespace with which images are pulled.
	PullSecrets []string `yaml:"pullSecrets"`
	// NodeSelector are labels of the nodes that Pods may be on.
	NodeSelector map[string]string `yaml:"nodeSelector"`
	// RuntimeClass is a stronger isolation, as gvisor. Default: the cluster's.
	RuntimeClass string `yaml:"runtimeClass"`
	// GPUResource is what nodes call their GPUs. Default nvidia.com/gpu.
	GPUResource string `yaml:"gpuResource"`
}

// A KubernetesVolume is a folder of the server, and what it is in a Pod: one of
// claim, hostPath and nfs.
type KubernetesVolume struct {
	Path     string `yaml:"path"`     // on the server
	Claim    string `yaml:"claim"`    // a persistent volume claim, ReadWriteMany
	HostPath string `yaml:"hostPath"` // a folder that every node has
	NFS      struct {
		Server string `yaml:"server"`
		Path   string `yaml:"path"`
	} `yaml:"nfs"`
	SubPath string `yaml:"subPath"` // the folder of it that path is. Default: all
}

func (c *KubernetesConfig) validate() (wrong []string) {
	if c.Namespace == "" || strings.ContainsAny(c.Namespace, "/ .") {
		wrong = append(wrong, "kubernetes: namespace: "+strconv.Quote(c.Namespace)+": want the namespace of the Pods")
	}
	if len(c.Volumes) == 0 {
		wrong = append(wrong, "kubernetes: volumes: want at least the volume that the data directory is on")
	}
	for i, v := range c.Volumes {
		at := "kubernetes: volumes[" + strconv.Itoa(i) + "]: "
		if !filepath.IsAbs(v.Path) || filepath.Clean(v.Path) != v.Path {
			wrong = append(wrong, at+"path: "+strconv.Quote(v.Path)+": want an absolute path without . and ..")
		}
		kinds := 0
		for _, set := range []bool{v.Claim != "", v.HostPath != "", v.NFS.Server != "" && v.NFS.Path != ""} {
			if set {
				kinds++
			}
		}
		if kinds != 1 {
			wrong = append(wrong, at+"want one of claim, hostPath, and nfs with server and path")
		}
		if v.SubPath != "" && !filepath.IsLocal(v.SubPath) {
			wrong = append(wrong, at+"subPath: "+strconv.Quote(v.SubPath)+": want a relative path without ..")
		}
	}
	return wrong
}

// openCluster opens a Kubernetes cluster. One that does not answer now may do
// later: that is said in the log, and by every container that is asked for.
func (s *Server) openCluster(ctx context.Context, install string) (compute.Driver, error) {
	c := s.cfg.Kubernetes
	cfg := kubernetes.Config{
		Kubeconfig: c.Kubeconfig, Context: c.Context, Namespace: c.Namespace, Place: install, Image: c.Image, PullSecrets: c.PullSecrets,
		NodeSelector: c.NodeSelector, RuntimeClass: c.RuntimeClass, GPUResource: c.GPUResource,
	}
	for _, v := range c.Volumes {
		cfg.Volumes = append(cfg.Volumes, kubernetes.Volume{
			Path: v.Path, Claim: v.Claim, HostPath: v.HostPath, NFSServer: v.NFS.Server, NFSPath: v.NFS.Path, SubPath: v.SubPath,
		})
	}
	klog.SetSlogLogger(s.log) // what the client says is a part of the log like any other
	driver, err := kubernetes.Open(cfg)
	if err != nil {
		return nil, err
	}
	s.tryPlace(ctx, driver)
	return driver, nil
}

// sharedBinary returns a copy of this program in the data directory, where Pods
// have it: their images need not hold Quire, and it is the same version.
func (s *Server) sharedBinary() string {
	name, err := copyBinary(s.data("bin"))
	if err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelError, "this program cannot be copied to where Pods have it", slog.String("error", err.Error()))
	}
	return name
}

// copyBinary copies this program into a folder, under a name that its content
// decides.
func copyBinary(dir string) (string, error) {
	const op = "copying this program"
	exe, err := os.Executable()
	if err != nil {
		return "", problem.WrapAs(problem.Unavailable, err, op)
	}
	from, err := os.Open(exe)
	if err != nil {
		return exe, problem.WrapAs(problem.Unavailable, err, op)
	}
	defer from.Close()
	sum := sha256.New()
	if err = os.MkdirAll(dir, 0o755); err == nil {
		_, err = io.Copy(sum, from)
	}
	if err == nil {
		_, err = from.Seek(0, io.SeekStart)
	}
	if err != nil {
		return exe, problem.WrapAs(problem.Unavailable, err, op)
	}
	name := filepath.Join(dir, "quire-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return name, problem.WrapAs(problem.Unavailable, err, op)
	}
	to, err := os.CreateTemp(dir, ".quire-")
	if err != nil {
		return exe, problem.WrapAs(problem.Unavailable, err, op)
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Chmod(0o755), to.Close()); err == nil {
		err = os.Rename(to.Name(), name)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(to.Name()))
	}
	return name, problem.WrapAs(problem.Unavailable, err, op)
}
