// Package query is the way from a notebook to data: the gateway takes a
// statement for a connection by name, sends it to the connection's Source, and
// keeps what comes back as an Arrow stream on the disk, from which any number
// read while it is still being written. So a result of any size costs the
// gateway no memory, and a reader that is slow holds up no engine.
//
// Every statement is recorded: who, what, where, how long, how many rows.
// Values of parameters are bound by the engine and are never pasted into text.
package query
