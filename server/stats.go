package server

import (
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
)

// counters count what the server did, for _stats.
type counters struct {
	requests atomic.Int64
	aborted  atomic.Int64
	methods  [8]atomic.Int64 // one for each of knownMethods, the last for all others
	statuses [600]atomic.Int64
	clients  atomic.Int64 // feeds that are open
	refused  atomic.Int64 // sign-ins
	lockouts atomic.Int64
}

// knownMethods are counted each for itself; what else a client may think of is counted as one, in the place after them.
var knownMethods = []string{"COPY", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"}

func (c *counters) request(method string, status int) {
	c.requests.Add(1)
	i := slices.Index(knownMethods, method)
	if i < 0 {
		i = len(knownMethods)
	}
	c.methods[i].Add(1)
	if status > 0 && status < len(c.statuses) {
		c.statuses[status].Add(1)
	}
}

// stat is one figure of _stats. Its path has no further structure than its segments.
type stat struct {
	path  []string
	value int64
	gauge bool // it can fall; CouchDB calls it a counter nevertheless
	desc  string
}

func (s *Server) figures() []stat {
	m := s.store.Metrics()
	figures := []stat{
		{[]string{"couchdb", "open_databases"}, int64(m.OpenDatabases), true, "number of open databases"},
		{[]string{"couchdb", "database_writes"}, int64(m.Documents), false, "number of times a database was changed"},
		{[]string{"couchdb", "commits"}, int64(m.Commits), false, "number of synced commits"},
		{[]string{"couchdb", "httpd", "requests"}, s.counters.requests.Load(), false, "number of HTTP requests"},
		{[]string{"couchdb", "httpd", "aborted_requests"}, s.counters.aborted.Load(), false, "number of aborted requests"},
		{[]string{"couchdb", "httpd", "clients_requesting_changes"}, s.counters.clients.Load(), true, "number of clients for continuous _changes"},
		{[]string{"parlor", "sign_ins_refused"}, s.counters.refused.Load(), false, "number of sign-ins that were refused"},
		{[]string{"parlor", "lockouts"}, s.counters.lockouts.Load(), false, "number of times a name was locked out at an address"},
	}
	for i, method := range knownMethods {
		n := s.counters.methods[i].Load()
		figures = append(figures, stat{[]string{"couchdb", "httpd_request_methods", method}, n, false, "number of HTTP " + method + " requests"})
	}
	for status := range s.counters.statuses {
		if n := s.counters.statuses[status].Load(); n > 0 {
			code := strconv.Itoa(status)
			figures = append(figures, stat{[]string{"couchdb", "httpd_status_codes", code}, n, false, "number of HTTP " + code + " responses"})
		}
	}
	return figures
}

// stats answers the figures below a path, as nested objects; null for none.
func (s *Server) stats(r *request) error {
	if err := r.node(); err != nil {
		return err
	}
	below := r.args[1:]
	tree := map[string]any{}
	for _, f := range s.figures() {
		at := tree
		for _, name := range f.path[:len(f.path)-1] {
			next, ok := at[name].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[name] = next
			}
			at = next
		}
		at[f.path[len(f.path)-1]] = f
	}
	var found any = tree
	for _, name := range below {
		branch, _ := found.(map[string]any)
		found = branch[name]
	}
	return r.send(http.StatusOK, appendStat(nil, found))
}

func appendStat(dst []byte, node any) []byte {
	switch node := node.(type) {
	case stat:
		dst = append(dst, `{"value":`...)
		dst = strconv.AppendInt(dst, node.value, 10)
		dst = append(dst, `,"type":"counter","desc":"`+node.desc+`"}`...)
	case map[string]any:
		dst = append(dst, '{')
		for _, name := range slices.Sorted(maps.Keys(node)) {
			dst = append(appendString(appendComma(dst), name), ':')
			dst = appendStat(dst, node[name])
		}
		dst = append(dst, '}')
	default:
		dst = append(dst, "null"...)
	}
	return dst
}

// system tells of the process: memory in bytes, uptime in seconds.
func (s *Server) system(r *request) error {
	if err := r.node(); err != nil {
		return err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	store := s.store.Metrics()
	body := []byte{'{'}
	number := func(name string, n uint64) {
		body = append(append(body, name...), strconv.FormatUint(n, 10)...)
	}
	number(`"uptime":`, uint64(s.now().Sub(s.started).Seconds()))
	number(`,"memory":{"processes":`, m.HeapInuse)
	number(`,"other":`, m.Sys-m.HeapInuse)
	number(`,"store":`, store.MemoryBytes)
	number(`},"run_queue":0,"process_count":`, uint64(runtime.NumGoroutine()))
	number(`,"garbage_collection_count":`, uint64(m.NumGC))
	number(`,"disk_bytes":`, store.DiskBytes)
	return r.send(http.StatusOK, append(body, '}'))
}
