// Package schedule decides when runs start, and starts them: definitions with
// triggers, the record of every time that was due, backfills, and notebooks that
// depend on each other.
//
// # Each slot once
//
// A slot is an instant at which a trigger says that something is to happen. The
// record of a slot, a Fire, is added in the transaction that moves the cursor of
// its schedule past it, and (schedule, slot, lane) is unique: whichever server
// looks first records the slot, after any crash, and nobody records it again. A
// slot that is not to run is recorded too, as skipped, with the reason.
//
// A run is prepared outside of the records (its source is copied), and added to
// them in the transaction that notes it with its task. Its idempotency key is made
// of the fire, the task and the try, with the version of the notebook noted
// before. The run itself is executed at least once, see package run.
//
// # Decisions
//
// What happens next to a schedule is computed by pure functions of records and
// the time (slots.go, decide.go, steps.go); Schedules reads the records, applies
// them in one transaction, and then does what they ask for. So the simulation
// drives the same code as the server.
package schedule
