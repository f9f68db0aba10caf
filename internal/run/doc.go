// Package run makes a notebook and its parameters a durable run: it is queued,
// executed once at a time by an attempt that outlives the server, and ends in
// one state with a reason and a write-once output notebook.
//
// # How a run survives
//
// The record of a run and its attempts is in a Store, committed before anything
// is acknowledged. An attempt is a process of its own (RunAttempt) that owns a
// directory, its spool: what to do (spec.json), the source as it was, the output
// with the engine's journal, the events, and at the end result.json, written
// whole or not at all. The attempt holds a lock on the spool for as long as it
// lives, so that a server that starts again can tell the living from the dead
// without trusting a process id.
//
// # Why nothing is completed twice
//
// Each attempt has a number and a random fence. Complete changes a run only
// when both are those of its newest attempt and the run has not ended, in one
// transaction. What an older attempt says later changes nothing.
package run
