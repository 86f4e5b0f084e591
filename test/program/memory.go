package program

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is a figure of the program's memory in bytes, by its name in /proc: "VmRSS" is what it holds now, "VmHWM" the most that it has held. There
// are such figures on Linux alone.
func (s *Server) Memory(name string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name+":" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d tells no %s", s.Pid(), name)
}
