// Command testsum reads the output of "go test -json" and writes what plain
// "go test" would: a line for each package, and the whole output of what failed.
// It ends with "N passed, N failed". A skipped test counts as failed, and so does
// a run without a single test.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// event is one line of go test -json, as documented by "go doc test2json".
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
}

type summary struct {
	out            io.Writer
	passed, failed int
	output         map[[2]string]*strings.Builder // by package and test
	failedIn       map[string]int                 // failures that were counted, by package
	skipped        []string
}

func main() {
	also := flag.Int("also", 0, "tests that passed before, to be counted")
	broken := flag.Int("broken", 0, "parts that failed before, to be counted")
	flag.Parse()
	s := summary{out: os.Stdout, passed: *also, failed: *broken, output: map[[2]string]*strings.Builder{}}
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	if !s.finish(*also, *broken) {
		os.Exit(1)
	}
}

func (s *summary) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil { // a line of the toolchain itself
				fmt.Fprint(s.out, string(line))
			} else {
				s.take(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) take(e event) {
	key := [2]string{e.Package + e.ImportPath, e.Test}
	switch e.Action {
	case "output", "build-output":
		s.keep(key, e)
	case "build-fail":
		s.fail(key)
	case "pass", "fail", "skip":
		s.end(key, e)
	}
}

// keep holds a test's output until its end is known; a package's own last lines
// ("ok ...", "FAIL ...") go out at once.
func (s *summary) keep(key [2]string, e event) {
	if e.Test == "" && e.Action == "output" {
		for _, own := range []string{"ok  \t", "FAIL\t", "---", "?   \t", "\t"} {
			if strings.HasPrefix(e.Output, own) {
				fmt.Fprint(s.out, e.Output)
				return
			}
		}
	}
	b := s.output[key]
	if b == nil {
		b = &strings.Builder{}
		s.output[key] = b
	}
	b.WriteString(e.Output)
}

func (s *summary) end(key [2]string, e event) {
	if e.Test == "" {
		if e.Action == "fail" { // a panic, a failed build or a failed TestMain
			s.show(key)
			s.failed += s.unfinished(key[0])
		}
		delete(s.output, key)
		return
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.fail(key)
	case "skip":
		s.fail(key)
		s.skipped = append(s.skipped, e.Package+" "+e.Test)
	}
	delete(s.output, key)
}

// unfinished shows and counts the tests of a failed package that never ended,
// which is what a panic or a time limit leaves; a package that failed with no
// test of its own failed counts as one.
func (s *summary) unfinished(pkg string) int {
	n := 0
	for key := range s.output {
		if key[0] == pkg && key[1] != "" {
			s.show(key)
			delete(s.output, key)
			n++
		}
	}
	if n == 0 && s.failedIn[pkg] == 0 {
		return 1
	}
	return n
}

// fail counts a failure and shows its output.
func (s *summary) fail(key [2]string) {
	s.failed++
	if s.failedIn == nil {
		s.failedIn = map[string]int{}
	}
	s.failedIn[key[0]]++
	s.show(key)
}

func (s *summary) show(key [2]string) {
	if b := s.output[key]; b != nil {
		fmt.Fprint(s.out, b.String())
		delete(s.output, key)
	}
}

// finish writes the closing lines and tells whether all is well.
func (s *summary) finish(also, broken int) bool {
	for _, name := range s.skipped {
		fmt.Fprintln(s.out, "--- SKIP:", name, "(a skipped test counts as failed)")
	}
	if s.passed == also && s.failed == broken {
		fmt.Fprintln(s.out, "no Go test ran")
		s.failed++
	}
	fmt.Fprintf(s.out, "%d passed, %d failed\n", s.passed, s.failed)
	return s.failed == 0
}
