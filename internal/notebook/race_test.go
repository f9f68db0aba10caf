//go:build race

package notebook

// raceEnabled: the race detector's own memory would be measured.
const raceEnabled = true
