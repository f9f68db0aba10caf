package jupyter

import "fmt"

// Busy says what would be lost if the server ended now: a kernel that runs a
// cell or starts anew. It is empty when nothing would. Who is connected is not
// looked at.
func (s *Server) Busy() string {
	for _, l := range s.allKernels() {
		if m := l.model(); m.State == stateBusy || m.State == stateRestarting || m.State == stateStarting {
			return fmt.Sprintf("kernel %s is %s", m.ID, m.State)
		}
	}
	return ""
}
