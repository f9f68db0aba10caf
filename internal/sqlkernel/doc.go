// Package sqlkernel is a Jupyter kernel for SQL: notebooks that need no Python.
// It executes nothing itself; each statement goes to the query gateway of a
// server, as a cell of kragle's would.
//
// A cell is statements that end at semicolons, and definitions of parameters:
//
//	-- connection: warehouse
//	-- Parameters
//	country = 'FR'
//	days: int = 7  -- how many
//
//	SELECT * FROM playback WHERE country = :country
//
// Definitions are what a parameters cell is made of, and what a run injects.
// Their values are bound to the statements that name them and are never pasted
// into the text.
package sqlkernel
