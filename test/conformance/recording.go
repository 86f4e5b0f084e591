package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// settingPause is how long the recorder paused after each change of a setting. Parlor applies settings at once.
const settingPause = 0.15

// Request is what a step asks, with templates.
type Request struct {
	Method  string       `json:"method"`
	Path    string       `json:"path"`
	Headers [][2]*string `json:"headers"`
	Body    *string      `json:"body"`
	Base64  []byte       `json:"body_base64"`
	ReadFor float64      `json:"read_for"`
}

// Response is what CouchDB answered, with placeholders. Any is true for the status "4xx".
type Response struct {
	Status  int
	Any4xx  bool
	Headers map[string]string
	Body    any
}

// UnmarshalJSON reads a recorded response; numbers in its body stay json.Number.
func (r *Response) UnmarshalJSON(b []byte) error {
	var raw struct {
		Status  json.RawMessage   `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	r.Headers = raw.Headers
	if string(raw.Status) == `"4xx"` {
		r.Any4xx = true
		return nil
	}
	if err := json.Unmarshal(raw.Status, &r.Status); err != nil {
		return err
	}
	if raw.Body == nil {
		return nil
	}
	var ok bool
	if r.Body, ok = parseJSON(raw.Body); !ok {
		return fmt.Errorf("a body that is not JSON: %.40s", raw.Body)
	}
	return nil
}

// Step is one request and its recorded answer.
type Step struct {
	Title     string            `json:"title"`
	Request   Request           `json:"request"`
	Response  Response          `json:"response"`
	Check     bool              `json:"check"` // false: the step only prepares
	Save      map[string]string `json:"save"`
	Unordered []string          `json:"unordered"`
	Exact     bool              `json:"exact"`
	Patience  float64           `json:"patience"` // seconds
	Sleep     float64           `json:"sleep"`    // of the line before, once Load has read it

	Nth int `json:"-"` // 1 for the first step with this title in the file, and so on
}

func (s *Step) patience() time.Duration { return time.Duration(s.Patience * float64(time.Second)) }

// Load reads a recording.
func Load(path string) ([]Step, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var steps []Step
	seen := make(map[string]int)
	sleep := 0.0
	in := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var s Step
			if err := json.Unmarshal(line, &s); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, n, err)
			}
			if s.Title == "" {
				sleep = s.Sleep
				continue
			}
			if s.Request.Method == "GET" && sleep > settingPause {
				s.Patience = max(s.Patience, sleep)
			}
			sleep = 0
			seen[s.Title]++
			s.Nth = seen[s.Title]
			steps = append(steps, s)
		}
		if err == io.EOF {
			return steps, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// parseJSON reads exactly one JSON value; numbers stay json.Number.
func parseJSON(b []byte) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	return v, true
}
