package program

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of time in /proc (USER_HZ), the same on all of Go's architectures.
const tick = 10 * time.Millisecond

// Processor is how long the program has kept processors busy since it started, to a hundredth of a second: its own time and the kernel's for it. It is known
// on Linux alone.
func (s *Server) Processor() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Pid()))
	if err != nil {
		return 0, err
	}
	// The second field is a name in parentheses, which may hold blanks. From the third on they are numbers: the 14th and 15th are utime and stime.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("process %d tells no times", s.Pid())
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
