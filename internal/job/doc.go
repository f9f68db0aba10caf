// Package job runs containers for people: batch jobs, which end when their
// tasks have, and service jobs, which keep a number of tasks alive. Its words,
// states and reason codes are those of the Titus v3 job API.
//
// # What a job is
//
// A Descriptor says what is wanted; ParseDescriptor reads it strictly and
// Validate finds everything that is wrong with it at once. A Job is a
// descriptor and what became of it, a Task is one container of it. A task that
// ends is never started again: another one takes its place, with the same index
// and a count of the tries before it.
//
// # How a job survives
//
// What shall happen is decided by pure functions (machine.go) on a Whole: a job
// and the tasks that count. Jobs carries it out: a decision is in the Store
// before it is acted on and before anybody is told of it. A container is not a
// child of the server and has the id of its task, so that a server that starts
// again finds it, and one that died between a decision and its execution
// executes it again without doing it twice.
package job
