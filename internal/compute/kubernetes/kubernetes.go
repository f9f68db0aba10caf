package kubernetes

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"quire/internal/compute"
	"quire/internal/problem"
)

// Name is the driver's name.
const Name = "kubernetes"

// Config is what the driver needs.
type Config struct {
	Kubeconfig   string            // "" is the Pod's own service account, else KUBECONFIG or ~/.kube/config
	Context      string            // of the kubeconfig; "" is its current one
	Namespace    string            // where the Pods are; required
	Place        string            // tells the Pods of this installation from others in the namespace; required
	Image        string            // of containers whose spec names none; "" refuses those
	Volumes      []Volume          // what mounts can be of
	PullSecrets  []string          // names of secrets of the namespace, for registries
	NodeSelector map[string]string // labels of the nodes that Pods may be on
	RuntimeClass string            // as gvisor; "" is the cluster's default
	GPUResource  string            // "" is nvidia.com/gpu
}

// Volume is something that the server and the Pods both have: the folder Path
// of the server is in Pods the claim, the folder of the node or the export.
type Volume struct {
	Path      string // of the server: absolute, clean
	Claim     string // a persistent volume claim of the namespace
	HostPath  string // or a folder of every node
	NFSServer string // or an export
	NFSPath   string
	SubPath   string // the folder of it that Path is; "" is all
}

// pods is what the driver needs of a client of Pods; the typed client of
// client-go and its fake are one.
type pods interface {
	Create(ctx context.Context, pod *corev1.Pod, opts metav1.CreateOptions) (*corev1.Pod, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*corev1.Pod, error)
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*corev1.Pod, error)
	List(ctx context.Context, opts metav1.ListOptions) (*corev1.PodList, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

// Driver runs containers as Pods.
type Driver struct {
	cfg  Config
	pods pods
	rest *rest.Config     // nil in tests on a fake
	core *rest.RESTClient // the same

	lookAgain time.Duration // how long somebody who waits relies on being told

	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup // goroutines that outlive the call that started them; they end with life

	watching sync.Once
	mu       sync.Mutex
	changes  map[string]chan struct{} // by Pod: closed at its next change
	peaks    map[string]int64         // the most memory that was seen in use, by Pod
}

var _ compute.Driver = (*Driver)(nil)

// group is the part of the API that the driver speaks: with all of it the
// program would be twice as large.
var group = schema.GroupVersion{Version: "v1"}

// newScheme returns the kinds of that part.
func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	s.AddKnownTypes(group, &corev1.Pod{}, &corev1.PodList{}, &corev1.NodeList{}, &corev1.PodExecOptions{}, &corev1.PodLogOptions{})
	metav1.AddToGroupVersion(s, group)
	return s
}

// Open opens the driver; the cluster need not answer yet. The caller closes it.
func Open(cfg Config) (*Driver, error) {
	config, err := restConfig(cfg)
	if err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "finding the Kubernetes cluster")
	}
	scheme := newScheme()
	config.APIPath, config.GroupVersion = "/api", &group
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.QPS, config.Burst = 100, 400                                  // its own default is that of a person at a terminal
	config.UserAgent, config.WarningHandler = "quire", rest.NoWarnings{} // they are about how a Pod is written, for who writes one
	core, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "finding the Kubernetes cluster")
	}
	client := gentype.NewClientWithList[*corev1.Pod, *corev1.PodList]("pods", core, runtime.NewParameterCodec(scheme), cfg.Namespace,
		func() *corev1.Pod { return &corev1.Pod{} }, func() *corev1.PodList { return &corev1.PodList{} })
	d := open(cfg, client)
	d.rest, d.core = config, core
	return d, nil
}

// restConfig says where the cluster is, and who we are there.
func restConfig(cfg Config) (*rest.Config, error) {
	if cfg.Kubeconfig == "" && cfg.Context == "" && os.Getenv("KUBECONFIG") == "" {
		if config, err := rest.InClusterConfig(); err == nil {
			return config, nil
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = cfg.Kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: cfg.Context}).ClientConfig()
}

func open(cfg Config, client pods) *Driver {
	if cfg.GPUResource == "" {
		cfg.GPUResource = "nvidia.com/gpu"
	}
	life, end := context.WithCancel(context.Background())
	return &Driver{
		cfg: cfg, pods: client, life: life, end: end, lookAgain: 30 * time.Second,
		changes: make(map[string]chan struct{}), peaks: make(map[string]int64),
	}
}

// Close lets go of what the driver holds; Pods go on.
func (d *Driver) Close() error {
	d.end()
	d.work.Wait()
	return nil
}

// within returns a context that ends with the driver too.
func (d *Driver) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(d.life, cancel)
	return ctx, func() { stop(); cancel() }
}

func (d *Driver) closed() error {
	if d.life.Err() != nil {
		return problem.New(problem.Canceled, "the kubernetes driver is closed")
	}
	return nil
}

// fault gives an answer of the API server its kind.
func (d *Driver) fault(ctx context.Context, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return problem.Wrap(ctx.Err(), format, args...)
	}
	if err := d.closed(); err != nil {
		return err
	}
	kind := problem.Unavailable
	var status apierrors.APIStatus
	if s, ok := err.(apierrors.APIStatus); ok { //nolint:errorlint // client-go does not wrap it
		status = s
	}
	switch {
	case apierrors.IsNotFound(err):
		kind = problem.NotFound
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		kind = problem.Invalid
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		kind = problem.Conflict
	case apierrors.IsUnauthorized(err):
		kind = problem.Denied
	case apierrors.IsForbidden(err):
		kind = problem.Denied
		if status != nil && quotaForm().MatchString(status.Status().Message) {
			kind = problem.Unavailable // there is room later
		}
	}
	return problem.WrapAs(kind, err, format, args...)
}

var (
	// quotaForm is how the API server refuses what the namespace has no room for.
	quotaForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`exceeded quota`) })
	// idForm is what an id may be: everything else is not asked for.
	idForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`) })
)

// native is the name of a container's Pod.
func (d *Driver) native(id string) string { return "quire-" + d.cfg.Place + "-" + id }

func (d *Driver) handle(id, node string) compute.Handle {
	return compute.Handle{ID: id, Driver: Name, Native: d.cfg.Namespace + "/" + d.native(id), Node: node}
}

// found is a Pod with the spec that it was made of.
type found struct {
	*corev1.Pod
	spec compute.Spec
}

// find asks the API server for a container.
func (d *Driver) find(ctx context.Context, id string) (found, error) {
	if err := d.closed(); err != nil {
		return found{}, err
	}
	if !idForm().MatchString(id) {
		return found{}, problem.New(problem.NotFound, "there is no container %q", id)
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	pod, err := d.pods.Get(bound, d.native(id), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return found{}, problem.New(problem.NotFound, "there is no container %s", id)
	}
	if err != nil {
		return found{}, d.fault(ctx, err, "looking at container %s", id)
	}
	return d.read(pod)
}

func (d *Driver) read(pod *corev1.Pod) (found, error) {
	f := found{Pod: pod}
	if pod.Labels[labelPlace] != d.cfg.Place {
		return f, problem.New(problem.NotFound, "Pod %s is not of this installation", pod.Name)
	}
	err := json.Unmarshal([]byte(pod.Annotations[noteSpec]), &f.spec)
	return f, problem.WrapAs(problem.Internal, err, "reading Pod %s", pod.Name)
}

// watch watches the Pods of this place, from the first time that somebody
// waits until Close. client-go lists again whatever it missed.
func (d *Driver) watch() {
	d.watching.Do(func() {
		selector := labelPlace + "=" + d.cfg.Place
		informer := cache.NewSharedIndexInformerWithOptions(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
				opts.LabelSelector = selector
				return d.pods.List(ctx, opts)
			},
			WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
				opts.LabelSelector = selector
				return d.pods.Watch(ctx, opts)
			},
		}, &corev1.Pod{}, cache.SharedIndexInformerOptions{})
		changed := func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			if pod, ok := object.(*corev1.Pod); ok {
				d.announce(pod.Name)
			}
		}
		// What the informer keeps is only compared by it: the driver asks again.
		informer.SetTransform(func(object any) (any, error) { //nolint:errcheck // it does not run yet
			if pod, ok := object.(*corev1.Pod); ok {
				return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion}}, nil
			}
			return object, nil
		})
		informer.AddEventHandler(cache.ResourceEventHandlerFuncs{ //nolint:errcheck // the same
			AddFunc: changed, DeleteFunc: changed, UpdateFunc: func(_, now any) { changed(now) },
		})
		d.work.Go(func() { informer.RunWithContext(d.life) })
	})
}

// change returns a channel that is closed when a Pod changes.
func (d *Driver) change(pod string) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.changes[pod]
	if c == nil {
		c = make(chan struct{})
		d.changes[pod] = c
	}
	return c
}

func (d *Driver) announce(pod string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.changes[pod]; c != nil {
		close(c)
		delete(d.changes, pod)
	}
}

// until looks at a container now and at every change, until ok says so.
func (d *Driver) until(ctx context.Context, id string, ok func(compute.Status) bool) (compute.Status, error) {
	d.watch()
	for {
		changed := d.change(d.native(id))
		s, err := d.Status(ctx, id)
		if err != nil || ok(s) {
			return s, err
		}
		timer := time.NewTimer(d.lookAgain)
		select {
		case <-ctx.Done():
			err = problem.Wrap(ctx.Err(), "waiting for container %s", id)
		case <-d.life.Done():
			err = d.closed()
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
		if err != nil {
			return s, err
		}
	}
}

// statusOf returns the HTTP status of an answer, or 0.
func statusOf(err error) int {
	if s, ok := err.(apierrors.APIStatus); ok { //nolint:errorlint // client-go does not wrap it
		return int(s.Status().Code)
	}
	return 0
}

// notReady tells that a Pod's container has not begun.
func notReady(err error) bool { return statusOf(err) == http.StatusBadRequest }
