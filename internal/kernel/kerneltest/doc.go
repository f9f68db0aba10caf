// Package kerneltest has a fake kernel for tests, and a suite that every
// kernel passes, the fake and the real ones.
//
// The fake is a process of its own that speaks the real protocol on a real
// connection file, so that package kernel is used as it is. It is the test's
// own binary: the package's TestMain calls Main first.
//
//	func TestMain(m *testing.M) {
//		kerneltest.Main()
//		os.Exit(m.Run())
//	}
//
//	k, err := kernel.Start(ctx, kernel.Config{Spec: kerneltest.Spec(t, kerneltest.Options{})})
//
// The fake's language has one command a line; a line with another first word
// does nothing, so that assignments and comments of any language may stand:
//
//	print TEXT             a stream message on stdout, TEXT and a newline
//	stderr TEXT            the same on stderr
//	write TEXT             stdout without a newline
//	result TEXT            an execute_result with text/plain
//	display ID TEXT        a display_data with that display id ("-" for none)
//	update ID TEXT         an update_display_data
//	clear [wait]           a clear_output
//	error NAME VALUE       ends the cell with that error
//	input PROMPT           asks for input and prints the answer
//	password PROMPT        the same, not to be echoed
//	sleep DURATION         an interrupt ends it with KeyboardInterrupt
//	stubborn DURATION      sleeps and is not interrupted
//	flood N SIZE           N stream messages of SIZE bytes
//	env NAME, cwd          prints the variable, the working directory
//	exit CODE              ends the process at once
//	signal NAME            sends itself SIGNAME: KILL or TERM
//	words TEXT             writes to the process's own stderr
//	note FILE TEXT         appends TEXT to FILE; $NAME in it is a variable of the
//	                       environment, $PID the process, $NOW the time in nanoseconds
//	noreply, noidle        leave out the reply, the idle at the end
//	idleafter DURATION     sends the idle so long after the reply
//	idlefirst              sends the idle before the reply
//	late TEXT              prints so that it comes after the idle
//	orphan TEXT            prints without a parent
//	await PIPE             goes on when somebody has written to a named pipe
//	badsig, replay         a message with a wrong signature; one twice
//	garbage                frames that are no message, on iopub
//	iopub TYPE JSON        any message on iopub with this cell as its parent
//	buffers TEXT           a comm_msg with TEXT as its one buffer
//	payload JSON           the reply's payload, a list
//	abort                  replies with status "aborted"
//	child                  starts a process that holds the pipe and sleeps
package kerneltest
