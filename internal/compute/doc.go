// Package compute is the seam between what Quire runs and where it runs: how
// much a container may use, what it executes, and the Driver that executes it.
//
// The package knows no jobs and no users. Whoever decides that something runs
// makes a Spec, gives it to a Driver and keeps the Spec's ID; everything else
// about the container can be asked for with that ID, also by another process
// and after the server was started again.
//
// There are two layers of limits. Limits are what the engine itself accepts
// (EngineLimits); a Profile is the policy on top of them, which a launch form
// shows (LaunchProfile). Both answer with every Violation at once, by field.
package compute
