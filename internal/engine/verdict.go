package engine

import (
	"errors"
	"fmt"
	"strings"

	"quire/internal/kernel"
	"quire/internal/notebook"
)

// The error names that the engine itself knows or makes.
const (
	stopEname       = "QuireStop"            // quire.stop(): the end of the run, as a success
	checkEname      = "CheckFailed"          // a cell tagged check whose value is false
	deadEname       = "DeadKernelError"      // the kernel's process is gone
	timeoutEname    = "CellTimeoutError"     // the cell took longer than it may
	interruptEname  = "RunInterrupted"       // somebody asked the run to stop
	noOutputEname   = "CellExecutionError"   // the kernel says "error" and shows none, as Papermill names it
	maxTracebackLen = 1 << 20                // bytes of a traceback kept in a result
	abortedEname    = "CellAborted"          // the kernel refused to run the cell
	exitEname       = "SystemExit"           // sys.exit
	falseValueText  = "its value is %s"      // why a check failed
	falseRecordText = "it recorded %s false" // why a check failed
)

// judge decides how an attempt ended. The caller holds r.mu.
func (r *run) judge(state *cellState, cause string, killed bool, err error) verdict {
	var dead *kernel.DeathError
	died := errors.As(err, &dead)
	switch {
	case cause == causeInterrupt:
		return r.unfinished(state, Interrupted, interruptEname, "interrupted"+r.howKilled(killed))
	case cause == causeTimeout:
		limit := r.cellOptions(state.cell).timeout
		return r.unfinished(state, TimedOut, timeoutEname, fmt.Sprintf("timed out after %s%s", limit, r.howKilled(killed)))
	case died:
		r.result.Death = r.mask.text(dead.Error())
		return r.unfinished(state, KernelDied, deadEname, "Kernel died: "+r.result.Death)
	case err != nil:
		return r.unfinished(state, KernelDied, deadEname, "The kernel cannot be reached: "+r.mask.text(err.Error()))
	case state.reply == nil:
		return r.unfinished(state, KernelDied, deadEname, "The kernel ended the cell without a reply")
	case state.reply.Status != "ok":
		return r.judgeError(state)
	}
	if state.errorOutput != nil {
		r.expected = state
	}
	return r.judgeCheck(state)
}

func (r *run) howKilled(killed bool) string {
	if !killed {
		return ""
	}
	return fmt.Sprintf("; the cell did not stop within %s and the kernel was killed", r.stop.grace)
}

// unfinished is the verdict on a cell that did not end by itself.
func (r *run) unfinished(state *cellState, status Status, ename, reason string) verdict {
	e := r.cellError(state)
	e.Ename, e.Evalue = ename, reason
	if state.errorOutput == nil {
		e.Traceback = []string{ename + ": " + reason}
	}
	return verdict{status: status, reason: reason, err: e}
}

// judgeError decides on a reply with status error.
func (r *run) judgeError(state *cellState) verdict {
	e := r.cellError(state)
	switch {
	case e.Ename == stopEname:
		return verdict{status: Stopped, reason: strings.TrimSpace("stopped early by quire.stop() " + quoted(e.Evalue))}
	case e.Ename == exitEname && (e.Evalue == "" || e.Evalue == "0" || e.Evalue == "None"):
		return verdict{status: Stopped, reason: "stopped early by " + strings.TrimSpace(exitEname+" "+e.Evalue)}
	case state.cell.HasTag(tagRaises):
		r.expected = state
		return verdict{status: Succeeded, reason: "raised " + e.Ename + ", as its tag says"}
	}
	return verdict{status: Failed, reason: "raised " + e.Ename, err: e}
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "(" + clip(s, 1000) + ")"
}

// cellError is what a cell failed with: its error output, or what the reply
// says.
func (r *run) cellError(state *cellState) *CellError {
	e := &CellError{Cell: r.numbers[state.index], Index: state.index, ExecutionCount: state.cell.ExecutionCount, Source: state.cell.Source, Traceback: []string{}}
	switch {
	case state.errorOutput != nil:
		o := state.errorOutput
		e.Ename, e.Evalue, e.Traceback = o.Ename, o.Evalue, o.Traceback
	case state.reply != nil && state.reply.Status == "error":
		e.Ename, e.Evalue, e.Traceback = state.reply.Ename, state.reply.Evalue, state.reply.Traceback
		if e.Ename == "" {
			e.Ename = noOutputEname
		}
	case state.reply != nil && state.reply.Status != "ok":
		e.Ename, e.Evalue = abortedEname, "the kernel answered "+clip(state.reply.Status, 64)
	}
	e.Traceback = boundLines(e.Traceback)
	return e
}

// boundLines keeps the end of a traceback, where the cause stands.
func boundLines(lines []string) []string {
	size, from := 0, len(lines)
	for from > 0 && size+len(lines[from-1]) <= maxTracebackLen {
		from--
		size += len(lines[from])
	}
	if from == len(lines) && len(lines) > 0 {
		return []string{clip(lines[len(lines)-1], maxTracebackLen)}
	}
	return lines[from:]
}

// causeOutput is the error output of a cell that the kernel showed none for:
// the cause of its end in words.
func causeOutput(v verdict) *notebook.Output {
	return &notebook.Output{
		Type: notebook.ErrorOutput, Ename: v.err.Ename, Evalue: v.err.Evalue,
		Traceback: []string{v.err.Ename + ": " + v.err.Evalue},
	}
}

// judgeCheck decides on a cell that ran to its end: one tagged check fails when
// its value, or a value it recorded, is false.
func (r *run) judgeCheck(state *cellState) verdict {
	if !state.cell.HasTag(tagCheck) {
		return verdict{status: Succeeded}
	}
	reason := ""
	for _, it := range state.items {
		if it.out.Type != notebook.ExecuteResult {
			continue
		}
		text, _ := it.out.Data["text/plain"].(string)
		if falseText(text) {
			reason = fmt.Sprintf(falseValueText, strings.TrimSpace(text))
		}
	}
	if len(state.falseChecks) > 0 {
		reason = fmt.Sprintf(falseRecordText, strings.Join(state.falseChecks, ", "))
	}
	if reason == "" {
		r.result.Checks = append(r.result.Checks, Check{Cell: r.numbers[state.index], Passed: true})
		return verdict{status: Succeeded}
	}
	r.result.Checks = append(r.result.Checks, Check{Cell: r.numbers[state.index], Reason: reason})
	e := r.cellError(state)
	e.Ename, e.Evalue = checkEname, reason
	e.Traceback = []string{checkEname + ": " + reason}
	return verdict{status: Failed, reason: "check failed: " + reason, err: e}
}

// falseText reports whether a shown value is false in the languages whose
// kernels we know: Python and NumPy, R, JavaScript and Julia.
func falseText(s string) bool {
	switch strings.TrimSpace(s) {
	case "False", "FALSE", "[1] FALSE", "false", "np.False_":
		return true
	}
	return false
}

// runChecks runs the check cells that follow a failed one without another code
// cell between them, so that all checks of the group are told at once. Nothing
// that comes after a failed check and is no check is run.
func (r *run) runChecks(from int) {
	for i := from; i < len(r.nb.Cells); i++ {
		c := r.nb.Cells[i]
		if c.Type == notebook.Code && !c.HasTag(tagCheck) || r.stop.ctx.Err() != nil {
			return
		}
		if v := r.runCell(i); v.status != Succeeded && (v.status != Failed || v.err == nil || v.err.Ename != checkEname) {
			return
		}
	}
}
