package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quire/internal/api"
	"quire/internal/compute"
	"quire/internal/job"
	"quire/internal/problem"
)

// Bounds of what the commands print and read.
const (
	maxJobsShown  = 1000
	maxDescriptor = 1 << 20
	jobPoll       = 250 * time.Millisecond
)

func newJobCommand(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "job",
		Short: "Run containers on the server: launch, list, look into, end",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, newCommand := range []func(Process) *cobra.Command{
		newJobRunCommand, newJobListCommand, newJobShowCommand, newJobLogsCommand, newJobExecCommand, newJobKillCommand, newJobStatsCommand, newJobUnpackCommand,
	} {
		cmd.AddCommand(newCommand(p))
	}
	return withExit(cmd, exitHelp)
}

type jobRunConfig struct {
	cpus                float64
	memory, disk        float64
	gpus, mbps          uint32
	size, service       uint32
	retries             uint32
	timeout             time.Duration
	env                 []string
	group, key, file    string
	workspace, image    string
	follow, asJSON, dry bool
}

func newJobRunCommand(p Process) *cobra.Command {
	c := &jobRunConfig{}
	cmd := &cobra.Command{
		Use:                   "run [flags] NAME -- COMMAND [ARG...]",
		DisableFlagsInUseLine: true,
		Short:                 "Launch a container, or several, and print the job's id",
		Long: `Launch containers that execute a command. What size is not said is the server's
default. Everything that is wrong is said at once, and then nothing is launched.
With --file the whole descriptor is read from a JSON file ("-" is standard
input) and the other flags are not used.`,
		Example: "  quire job run burn --cpus 2 --memory 8 -- python3 burn.py\n  quire job run --file descriptor.json",
		Args: usageArgs(func(cmd *cobra.Command, args []string) error {
			if c.file != "" {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.MinimumNArgs(2)(cmd, args)
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), p, args)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&c.cpus, "cpus", 0, "processors")
	f.Float64Var(&c.memory, "memory", 0, "memory in GB")
	f.Float64Var(&c.disk, "disk", 0, "disk space in GB")
	f.Uint32Var(&c.gpus, "gpus", 0, "GPUs")
	f.Uint32Var(&c.mbps, "network", 0, "network bandwidth in Mbps")
	f.StringArrayVarP(&c.env, "env", "e", nil, "environment variable, NAME=VALUE")
	f.StringVar(&c.workspace, "workspace", "", "path in the container where your workspace is mounted")
	f.Uint32Var(&c.size, "size", 1, "how many tasks the job has")
	f.Uint32Var(&c.retries, "retries", 0, "how often a task that failed is tried again")
	f.DurationVar(&c.timeout, "timeout", 0, "longest a task may run, as 90s or 2h")
	f.Uint32Var(&c.service, "service", 0, "keep this many tasks alive until the job is killed")
	f.StringVar(&c.group, "group", "", "capacity group")
	f.StringVar(&c.image, "image", "", "image to run in, NAME:TAG or NAME@sha256:DIGEST")
	f.StringVar(&c.key, "idempotency-key", "", "the same key again is the same job")
	f.StringVar(&c.file, "file", "", "JSON file with the job's descriptor")
	f.BoolVar(&c.follow, "follow", false, "wait until the job has finished; its failure is the exit status")
	f.BoolVar(&c.dry, "print", false, "print the descriptor and launch nothing")
	f.BoolVar(&c.asJSON, "json", false, "print the job as JSON")
	return withExit(cmd, exitHelp)
}

func (c *jobRunConfig) run(ctx context.Context, p Process, args []string) error {
	d, err := c.descriptor(p, args)
	if err != nil {
		return err
	}
	if c.dry {
		return printJSON(p.Stdout, d)
	}
	cl, err := client()
	if err != nil {
		return err
	}
	id, err := cl.Launch(ctx, d, c.key)
	if err != nil {
		return err
	}
	if !c.follow {
		if c.asJSON {
			j, err := cl.Job(ctx, id)
			if err != nil {
				return err
			}
			return printJSON(p.Stdout, j)
		}
		_, err = fmt.Fprintln(p.Stdout, id)
		return err
	}
	return c.wait(ctx, p, cl, id)
}

// wait returns when the job has finished, after its log.
func (c *jobRunConfig) wait(ctx context.Context, p Process, cl *api.Client, id string) error {
	j, err := finishedJob(ctx, p, cl, id, c.asJSON)
	if err != nil {
		return err
	}
	if c.asJSON {
		err = printJSON(p.Stdout, j)
	} else {
		err = copyLogs(ctx, p, cl, id, false)
	}
	if err == nil && j.Status.ReasonCode != job.Normal {
		return problem.New(problem.Invalid, "job %s: %s", id, statusText(j.Status))
	}
	return err
}

// finishedJob waits for the end of a job. Meanwhile it tells how the container of
// a job of one task starts.
func finishedJob(ctx context.Context, p Process, cl *api.Client, id string, quiet bool) (job.JobMessage, error) {
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	starts := newStartPrinter(p)
	for {
		j, err := cl.Job(ctx, id)
		if err != nil || j.Status.State == job.Finished {
			return j, err
		}
		if b := j.Descriptor.Batch; !quiet && !starts.over && b != nil && b.Size == 1 {
			tasks, err := jobTasks(ctx, cl, id)
			if err != nil {
				return j, err
			}
			if len(tasks) > 0 {
				starts.show(tasks[len(tasks)-1].Start)
			}
		}
		select {
		case <-ctx.Done():
			return j, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func statusText(s job.Status) string {
	if s.ReasonMessage == "" {
		return s.ReasonCode
	}
	return s.ReasonCode + ": " + printable(s.ReasonMessage)
}

// descriptor makes a descriptor of the flags, or reads it.
func (c *jobRunConfig) descriptor(p Process, args []string) (job.Descriptor, error) {
	if c.file != "" {
		return readDescriptor(p, c.file)
	}
	const gigabyte = 1024
	r := job.ContainerResources{
		CPU: job.Double(c.cpus), MemoryMB: job.Count(c.memory * gigabyte), DiskMB: job.Count(c.disk * gigabyte),
		GPU: job.Count(c.gpus), NetworkMbps: job.Count(c.mbps),
	}
	if c.cpus < 0 || c.memory < 0 || c.disk < 0 {
		return job.Descriptor{}, usageError{fmt.Errorf("--cpus, --memory and --disk: no number may be below 0")}
	}
	env, wrong := compute.ParseEnv(strings.Join(c.env, "\n"))
	if len(wrong) > 0 {
		return job.Descriptor{}, usageError{fmt.Errorf("--env: %s", wrong[0].Message)}
	}
	if c.workspace != "" {
		r.EFSMounts = []job.Mount{{EFSID: job.VolumeID, MountPoint: c.workspace}}
	}
	d := job.Descriptor{
		ApplicationName: args[0], CapacityGroup: c.group,
		Container: job.Container{Resources: r, EntryPoint: args[1:], Env: env},
	}
	if name, digest, ok := strings.Cut(c.image, "@"); ok {
		d.Container.Image = job.Image{Name: name, Digest: digest}
	} else if c.image != "" {
		name, tag, _ := strings.Cut(c.image, ":")
		d.Container.Image = job.Image{Name: name, Tag: tag}
	}
	policy := &job.RetryPolicy{Delayed: &job.Delayed{DelayMs: 1000, Retries: job.Count(c.retries)}}
	if c.service > 0 {
		n := job.Count(c.service)
		d.Service = &job.Service{Capacity: job.Capacity{Desired: n, Max: n}, RetryPolicy: policy}
		return d, nil
	}
	d.Batch = &job.Batch{Size: job.Count(c.size), RuntimeLimitSec: job.Long((c.timeout + time.Second - 1) / time.Second)}
	if c.retries > 0 {
		d.Batch.RetryPolicy = policy
	}
	return d, nil
}

func readDescriptor(p Process, name string) (job.Descriptor, error) {
	in := p.Stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return job.Descriptor{}, fileError(err, name)
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxDescriptor+1))
	if err != nil {
		return job.Descriptor{}, problem.WrapAs(problem.Unavailable, err, "reading %s", name)
	}
	if len(data) > maxDescriptor {
		return job.Descriptor{}, problem.New(problem.TooLarge, "%s is larger than %d bytes", name, maxDescriptor)
	}
	d, wrong := job.ParseDescriptor(data)
	return d, wrong.Err("reading %s", name)
}

func newJobListCommand(p Process) *cobra.Command {
	var state, group string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ls", Short: "List jobs that go on, newest first", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			filters := url.Values{}
			for name, value := range map[string]string{"jobState": state, "capacityGroup": group} {
				if value != "" {
					filters.Set(name, value)
				}
			}
			all, err := cl.Jobs(cmd.Context(), filters, maxJobsShown)
			if err != nil {
				return err
			}
			if asJSON {
				if all == nil {
					all = []job.JobMessage{}
				}
				return printJSON(p.Stdout, all)
			}
			w := tabwriter.NewWriter(p.Stdout, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "JOB\tSTATE\tTYPE\tNAME\tUSER\tREASON")
			for _, j := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", j.ID, j.Status.State, j.Descriptor.Type(), printable(j.Descriptor.ApplicationName), j.User, statusText(j.Status))
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "only jobs in this state: Accepted, KillInitiated or Finished")
	cmd.Flags().StringVar(&group, "group", "", "only jobs of this capacity group")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return withExit(cmd, exitHelp)
}

// jobTasks returns all tasks of a job, oldest first.
func jobTasks(ctx context.Context, cl *api.Client, id string) ([]job.TaskMessage, error) {
	states := []string{"Accepted", "Launched", "StartInitiated", "Started", "KillInitiated", "Disconnected", "Finished"}
	all, err := cl.Tasks(ctx, url.Values{"jobIds": {id}, "taskStates": {strings.Join(states, ",")}}, maxJobsShown)
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all, err
}

func newJobShowCommand(p Process) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show JOB", Short: "Show a job and its tasks", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			j, err := cl.Job(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			tasks, err := jobTasks(cmd.Context(), cl, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Stdout, struct {
					Job   job.JobMessage    `json:"job"`
					Tasks []job.TaskMessage `json:"tasks"`
				}{j, tasks})
			}
			return showJob(p.Stdout, j, tasks)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}

func showJob(out io.Writer, j job.JobMessage, tasks []job.TaskMessage) error {
	size := j.Descriptor.Container.Resources.Size()
	fmt.Fprintf(out, "%s  %s\n%s %s  %s\n", j.ID, printable(j.Descriptor.ApplicationName), j.Descriptor.Type(), j.Status.State, statusText(j.Status))
	fmt.Fprintf(out, "size: %s, %s of memory, %s of disk, %d GPUs, %d Mbps\n", compute.FormatCPU(size.CPUMilli),
		compute.FormatBytes(size.MemoryBytes), compute.FormatBytes(size.DiskBytes), size.GPUs, size.NetworkMbps)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "TASK\tINDEX\tSTATE\tPEAK MEMORY\tSTART\tREASON")
	for _, t := range tasks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Context["task.index"], t.Status.State, compute.FormatMeasured(t.Usage.PeakMemoryBytes), startText(t.Start), statusText(t.Status))
	}
	return w.Flush()
}

// copyLogs prints the log of a task, or those of all tasks of a job.
func copyLogs(ctx context.Context, p Process, cl *api.Client, id string, follow bool) error {
	ids := []string{id}
	if tasks, err := jobTasks(ctx, cl, id); err == nil && len(tasks) > 0 {
		ids = ids[:0]
		for _, t := range tasks {
			ids = append(ids, t.ID)
		}
	}
	for _, one := range ids {
		log, err := cl.TaskLog(ctx, one, follow)
		if err != nil {
			return err
		}
		_, err = io.Copy(p.Stdout, log)
		_ = log.Close()
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "reading the log of task %s", one)
		}
	}
	return nil
}

func newJobLogsCommand(p Process) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "logs JOB|TASK", Short: "Print what a job's tasks wrote", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			return copyLogs(cmd.Context(), p, cl, args[0], follow)
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "go on until the task has ended")
	return withExit(cmd, exitHelp)
}

// runningTask returns the id of a task: the argument, or the one running task
// of the job that it names.
func runningTask(ctx context.Context, cl *api.Client, id string) (string, error) {
	tasks, err := cl.Tasks(ctx, url.Values{"jobIds": {id}, "taskStates": {"Started"}}, maxJobsShown)
	switch {
	case err != nil:
		return "", err
	case len(tasks) == 1:
		return tasks[0].ID, nil
	case len(tasks) > 1:
		return "", problem.New(problem.Invalid, "job %s has %d running tasks: name one of them (quire job show %s)", id, len(tasks), id)
	}
	return id, nil
}

func newJobExecCommand(p Process) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "exec JOB|TASK -- COMMAND [ARG...]", Short: "Execute a command in a running task",
		Long: `Execute one more command in a running container, within its limits. What it
writes, up to 1 MiB, is printed when it has ended; its exit status is the
command's.`,
		Args: usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			id, err := runningTask(cmd.Context(), cl, args[0])
			if err != nil {
				return err
			}
			res, err := cl.Exec(cmd.Context(), id, api.ExecRequest{Argv: args[1:], TimeoutSeconds: job.Count(timeout / time.Second)})
			if err != nil {
				return err
			}
			_, _ = io.WriteString(p.Stdout, res.Stdout)
			_, _ = io.WriteString(p.Stderr, res.Stderr)
			if res.Exit.Code != 0 {
				return statusError{status: res.Exit.Code, silent: true}
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "longest the command may take; at most 10m")
	return withExit(cmd, exitHelp)
}

func newJobKillCommand(p Process) *cobra.Command {
	var task, shrink bool
	cmd := &cobra.Command{
		Use: "kill JOB", Short: "End a job, or with --task one of its tasks", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			if task || shrink {
				err = cl.KillTask(cmd.Context(), args[0], shrink)
			} else {
				err = cl.KillJob(cmd.Context(), args[0])
			}
			if err == nil {
				newConsole(p).Println(args[0] + " is asked to end")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&task, "task", false, "the id is a task's; its job may start another one")
	cmd.Flags().BoolVar(&shrink, "shrink", false, "the id is a task's, and its service job becomes one smaller")
	return withExit(cmd, exitHelp)
}

func newJobStatsCommand(p Process) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "stats JOB", Short: "Show what a job's tasks use", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			j, err := cl.Job(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			tasks, err := jobTasks(cmd.Context(), cl, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				usage := map[string]job.Usage{}
				for _, t := range tasks {
					usage[t.ID] = t.Usage
				}
				return printJSON(p.Stdout, usage)
			}
			limit := j.Descriptor.Container.Resources.Size()
			w := tabwriter.NewWriter(p.Stdout, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "TASK\tSTATE\tCPU TIME\tMEMORY\tPEAK\tLIMIT")
			for _, t := range tasks {
				fmt.Fprintf(w, "%s\t%s\t%v\t%s\t%s\t%s\n", t.ID, t.Status.State, measuredTime(t.Usage.CPU),
					compute.FormatMeasured(t.Usage.MemoryBytes), compute.FormatMeasured(t.Usage.PeakMemoryBytes), compute.FormatBytes(limit.MemoryBytes))
			}
			if err := w.Flush(); err != nil {
				return err
			}
			return printWarnings(cmd.Context(), p, cl, limit)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object: usage by task")
	return withExit(cmd, exitHelp)
}

// printWarnings says which limits are not kept on the server.
func printWarnings(ctx context.Context, p Process, cl *api.Client, size compute.Resources) error {
	all, err := cl.Compute(ctx)
	if err != nil {
		return err
	}
	console := newConsole(p)
	for _, line := range all.Probe.Warnings(size) {
		console.Println(printable(line))
	}
	return nil
}

// measuredTime is processor time that was measured, or "-".
func measuredTime(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.Round(10 * time.Millisecond).String()
}
