package server

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/parlordb/parlor/auth"
)

// couchVersion is the CouchDB whose protocol this is.
const couchVersion = "3.5.2"

// welcome answers GET /. The uuid names this server for good: replicators make their checkpoints' ids from it.
func (s *Server) welcome(r *request) error {
	body := []byte(`{"couchdb":"Welcome","version":"` + couchVersion + `","git_sha":"parlor","uuid":`)
	body = appendString(body, r.set.uuid)
	body = append(body, `,"features":[],"vendor":{"name":"Parlor","version":`...)
	body = appendString(body, s.version)
	return r.send(http.StatusOK, append(body, "}}"...))
}

// favicon is an empty picture: browsers ask for one.
func (s *Server) favicon(r *request) error {
	h := r.w.Header()
	h.Set("Content-Type", "image/x-icon")
	h.Set("Cache-Control", "public, max-age=31536000")
	r.w.WriteHeader(http.StatusNoContent)
	return nil
}

// utils stands where CouchDB has its admin pages, of which there are none yet.
func (s *Server) utils(r *request) error {
	h := r.w.Header()
	if len(r.args) == 0 && !strings.HasSuffix(r.URL.Path, "/") {
		h.Del("Content-Type")
		h.Set("Location", r.absolute("/_utils/"))
		r.w.WriteHeader(http.StatusMovedPermanently)
		return nil
	}
	h.Set("Content-Type", "text/plain")
	h.Set("Cache-Control", "private, must-revalidate")
	if r.set.pagePolicy != "" {
		h.Set("Content-Security-Policy", r.set.pagePolicy)
	}
	r.w.WriteHeader(http.StatusNotFound)
	_, err := r.w.Write([]byte("Not found.\n"))
	return err
}

// up is for load balancers: 200 while requests are served. A full disk shows, but reads go on.
func (s *Server) up(r *request) error {
	status := "ok"
	if s.store.Full() {
		status = "disk_full"
	}
	return r.send(http.StatusOK, []byte(`{"status":"`+status+`","seeds":{}}`))
}

func (s *Server) uuids(r *request) error {
	count := int64(1)
	if r.hasParam("count") {
		n, err := strconv.ParseInt(r.param("count"), 10, 64)
		if err != nil || n < 0 {
			return badRequest("count must be a positive integer")
		}
		count = n
	}
	if count > r.set.maxUUIDs {
		return badRequest("count parameter too large")
	}
	body := []byte(`{"uuids":[`)
	for range count {
		body = appendString(appendComma(body), newUUID())
	}
	h := r.w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "Fri, 01 Jan 1990 00:00:00 GMT")
	h.Set("Etag", etag(body))
	return r.send(http.StatusOK, append(body, "]}"...))
}

// newUUID is 32 random hex digits, as CouchDB names documents.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// etag is a validator made from the answer itself.
func etag(body []byte) string {
	sum := md5.Sum(body)
	return `"` + base64.RawStdEncoding.EncodeToString(sum[:]) + `"`
}

// sendTagged answers 200 with an ETag made from the body, or 304 when the client has it already.
func (r *request) sendTagged(body []byte) error {
	tag := etag(body)
	r.w.Header().Set("Etag", tag)
	if r.matches(tag) {
		return r.notModified()
	}
	return r.send(http.StatusOK, body)
}

// matches reports whether If-None-Match names a validator.
func (r *request) matches(tag string) bool {
	for item := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimSpace(item) == tag {
			return true
		}
	}
	return false
}

// notModified answers 304.
func (r *request) notModified() error {
	h := r.w.Header()
	h.Del("Content-Type")
	h.Del("Cache-Control")
	r.w.WriteHeader(http.StatusNotModified)
	return nil
}

func (s *Server) activeTasks(r *request) error {
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	body := []byte{'['}
	for name, since := range s.tasks.running {
		body = append(appendComma(body), `{"type":"database_compaction","database":`...)
		body = appendString(body, name)
		body = append(body, `,"node":`...)
		body = appendString(body, r.set.nodeName)
		body = append(appendUnix(append(body, `,"started_on":`...), since), '}')
	}
	return r.send(http.StatusOK, append(body, ']'))
}

// appendUnix writes a time as whole seconds.
func appendUnix(dst []byte, t time.Time) []byte { return strconv.AppendInt(dst, t.Unix(), 10) }

func (s *Server) membership(r *request) error {
	node := append(appendString([]byte{'['}, r.set.nodeName), ']')
	body := append([]byte(`{"all_nodes":`), node...)
	body = append(append(body, `,"cluster_nodes":`...), node...)
	return r.send(http.StatusOK, append(body, '}'))
}

func (s *Server) schedulerJobs(r *request) error {
	return r.send(http.StatusOK, []byte(`{"total_rows":0,"offset":0,"jobs":[]}`))
}

func (s *Server) schedulerDocs(r *request) error {
	return r.send(http.StatusOK, []byte(`{"total_rows":0,"offset":0,"docs":[]}`))
}

func (s *Server) missing(*request) error { return errMissing }

func (s *Server) nodeIncomplete(*request) error {
	return badRequest("Incomplete path to _node request")
}

func (s *Server) nodeName(r *request) error {
	if err := r.node(); err != nil {
		return err
	}
	return r.send(http.StatusOK, append(appendString([]byte(`{"name":`), r.set.nodeName), '}'))
}

// nodeExtra serves what the program itself adds below /_node/{node}/.
func (s *Server) nodeExtra(r *request) error {
	if err := r.node(); err != nil {
		return err
	}
	extra, ok := s.adminOnly[strings.Join(r.args[1:], "/")]
	if !ok {
		return errMissing
	}
	extra.ServeHTTP(&r.w, r.Request)
	return nil
}

// versions tells of what CouchDB would: its JavaScript engine, its collation and its hashes.
func (s *Server) versions(r *request) error {
	if err := r.node(); err != nil {
		return err
	}
	body := fmt.Appendf(nil, `{"go":{"version":%q},"parlor":{"version":%q},"collation_driver":{"name":"x/text","library_version":"CLDR"},`+
		`"javascript_engine":{"name":"quickjs"},"supported_hashes":`, runtime.Version(), s.version)
	return r.send(http.StatusOK, append(appendStrings(body, auth.DigestNames()), '}'))
}
