package server_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// liveKills is how often the server of a live notebook is killed.
const liveKills = 12

// A killedServer is `quire notebook` at one address, killed and started again.
type killedServer struct {
	t                    *testing.T
	address, files, data string
	cmd                  *exec.Cmd
	env                  []string // besides ours
	log                  strings.Builder
}

// start returns when the server answers, with its address.
func (s *killedServer) start() string {
	s.t.Helper()
	program, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(program, "notebook", s.files, "--listen", s.address, "--data", s.data, "--user", "ann")
	s.cmd.Env = append(append(os.Environ(), "QUIRE_TOKEN="+harnessToken), s.env...)
	s.cmd.Stderr = &s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = s.cmd.Wait()
		s.t.Fatalf("the server ended before it was ready: %v\n%s", err, s.log.String())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the server
	url, _, _ := strings.Cut(line, "?")
	return url
}

func (s *killedServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// TestLiveNotebookSurvivesKills lets two people type into one notebook, with
// JupyterLab's document model, while its server is killed with SIGKILL: what one
// typed and the other saw is never lost, and nothing is there twice.
func TestLiveNotebookSurvivesKills(t *testing.T) {
	t.Parallel()
	modules := os.Getenv("QUIRE_TEST_YDOC")
	if modules == "" {
		t.Log("QUIRE_TEST_YDOC is not set: there is no client to test with")
		return
	}
	// The same address for every start, as clients come back to it.
	s := &killedServer{t: t, address: freeAddress(t), files: t.TempDir(), data: filepath.Join(t.TempDir(), "data")}
	url := s.start()
	defer s.kill()
	cmd := exec.CommandContext(t.Context(), "node", "../../tools/ydoc/killed.mjs", modules, strconv.Itoa(liveKills))
	cmd.Env = append(os.Environ(), "SERVER_URL="+url, "SERVER_TOKEN="+harnessToken)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kills, said := 0, ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said = lines.Text(); said != "kill" {
			continue
		}
		s.kill()
		s.start()
		kills++
		if _, err := io.WriteString(in, "again\n"); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err != nil || !strings.HasPrefix(said, "done ") || kills != liveKills {
		t.Errorf("after %d kills: %v %q\n%s\nthe server's log:\n%s", kills, err, said, complaint.String(), s.log.String())
	}
	t.Logf("%d kills, %s", kills, said)
}
