//go:build torture

package server_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"quire/internal/fault"
)

// catchers names the test of the harness that each fault must turn red.
var catchers = map[fault.Name]string{
	fault.SkipFileSync:    "TestPowerLoss",
	fault.SkipDirSync:     "TestPowerLoss",
	fault.SyncOff:         "TestPowerLoss",
	fault.SyncNormal:      "TestPowerLoss",
	fault.SwallowError:    "TestInjectedErrors",
	fault.RenameFirst:     historyTest,
	fault.BelieveAnyFence: historyTest,
	fault.CheckOutside:    historyTest,
	fault.AckSaveEarly:    historyTest,
	fault.AckRunEarly:     historyTest,
	fault.JournalHeldBack: historyTest,
	fault.PublishEarly:    historyTest,
	fault.LoseCancel:      historyTest,
	fault.IgnoreKey:       historyTest,
	fault.NoTrash:         historyTest,
	fault.NeverLost:       historyTest,
	fault.DeleteBlobEarly: historyTest,
	fault.LaunchTwice:     historyTest,
	fault.ForgetUnapplied: historyTest,
	fault.FreeUnasked:     historyTest,
}

const (
	historyTest = "TestSavesAndRunsSurviveKills"
	// faultRounds is how many rounds the harness may need to see a fault.
	faultRounds = 320
)

// TestPlantedFaults runs the harness against a server with each fault planted,
// with more and more rounds until it is red. A fault that it does not see fails
// the test. The binary to test must be built with the tag "torture";
// QUIRE_TEST_FAULTS names the faults to plant, comma-separated, else all.
func TestPlantedFaults(t *testing.T) {
	chosen := os.Getenv("QUIRE_TEST_FAULTS")
	var table strings.Builder
	for _, name := range fault.All() {
		if chosen != "" && !strings.Contains(","+chosen+",", ","+string(name)+",") {
			continue
		}
		test, ok := catchers[name]
		if !ok {
			t.Errorf("nothing is named that catches %s", name)
			continue
		}
		n, why, took := catch(t, name, test)
		if n == 0 {
			t.Errorf("%s: %s is green after %d rounds", name, test, faultRounds)
			fmt.Fprintf(&table, "%-20s %-30s NOT CAUGHT in %d rounds\n", name, test, faultRounds)
			continue
		}
		fmt.Fprintf(&table, "%-20s %-30s %3d rounds %6.1f s  %s\n", name, test, n, took.Seconds(), why)
		t.Logf("%s: caught by %s in %d rounds: %s", name, test, n, why)
	}
	t.Logf("fault, caught by, after:\n%s", table.String())
}

// catch returns after how many rounds test was red, 0 for never, and its first
// words.
func catch(t *testing.T, name fault.Name, test string) (rounds int, why string, took time.Duration) {
	t.Helper()
	begin := time.Now()
	first := 5
	if test == "TestPowerLoss" {
		first = 40 // it ends at the first loss
	}
	for n := first; n <= faultRounds; n *= 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.v", "-test.timeout=10m")
		cmd.Env = append(os.Environ(), "QUIRE_FAULT="+string(name), "QUIRE_TEST_ROUNDS="+strconv.Itoa(n))
		out, err := cmd.CombinedOutput()
		if err == nil {
			continue
		}
		why, rounds := firstComplaint(out), n
		if why == "" && strings.Contains(string(out), testsNothing) {
			continue // too slow a machine for so few rounds
		}
		if _, err := fmt.Sscanf(after(string(out), "lost in round "), "%d", &rounds); err != nil {
			rounds = n
		}
		if why == "" {
			t.Errorf("%s: %s ended without a complaint: %v\n%s", name, test, err, out[max(0, len(out)-2000):])
		}
		return rounds, why, time.Since(begin)
	}
	return 0, "", time.Since(begin)
}

func after(text, mark string) string {
	_, rest, _ := strings.Cut(text, mark)
	return rest
}

// testsNothing is what the harness says when too little happened in it.
const testsNothing = "the harness tests nothing"

// firstComplaint is the first line that a test of the harness logged.
func firstComplaint(out []byte) string {
	for line := range bytes.Lines(out) {
		file, text, ok := strings.Cut(strings.TrimSpace(string(line)), ": ")
		if ok && strings.Contains(file, "_test.go:") && !strings.Contains(text, "rounds,") && !strings.Contains(text, "saves acknowledged") && !strings.Contains(text, "did not start") && !strings.Contains(text, testsNothing) && !strings.Contains(text, "the server's log ends with") {
			return text[:min(len(text), 160)]
		}
	}
	return ""
}
