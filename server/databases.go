package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/store"
)

// databaseName is what CouchDB takes for the name of a database.
var databaseName = regexp.MustCompile(`^[a-z][a-z0-9_$()+/-]*$`)

// maxDatabaseName bounds a name's length in bytes, as CouchDB's file names do.
const maxDatabaseName = 238

func checkDatabaseName(name string) error {
	if isSystemDatabase(name) {
		return nil
	}
	if len(name) > maxDatabaseName {
		return &Error{Status: 400, Kind: "database_name_too_long", Reason: "At least one path segment of `" + name[:60] + "…` is too long."}
	}
	if !databaseName.MatchString(name) {
		return &Error{Status: 400, Kind: "illegal_database_name", Reason: "Name: '" + name + "'. Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), +, -, and / are allowed. Must begin with a letter."}
	}
	return nil
}

// putDatabase creates a database. q and n are read and judged, though there are no shards.
func (s *Server) putDatabase(r *request) error {
	name := r.segments[0]
	for _, param := range []string{"q", "n"} {
		if n, err := strconv.Atoi(r.param(param)); r.hasParam(param) && (err != nil || n < 1) {
			return badRequest("The `" + param + "` value should be a positive integer.")
		}
	}
	if r.isTrue("partitioned") {
		return badRequest("Partitioned databases are not supported.")
	}
	if err := checkDatabaseName(name); err != nil {
		return err
	}
	if err := s.makeDatabase(r, name); err != nil {
		return err
	}
	if err := s.furnish(r.Context(), name); err != nil {
		return err
	}
	r.w.Header().Set("Location", r.absolute("/"+pathEscape(name)))
	return r.ok(http.StatusCreated)
}

// pathEscape writes one segment of a path as CouchDB's Location headers do.
func pathEscape(segment string) string {
	return strings.ReplaceAll(url.QueryEscape(segment), "+", "%20")
}

func (s *Server) deleteDatabase(r *request) error {
	if r.hasParam("rev") {
		return badRequest("You tried to DELETE a database with a ?=rev parameter. Did you mean to DELETE a document instead?")
	}
	if err := s.removeDatabase(r); err != nil {
		return err
	}
	s.revocations.Recheck(auth.Match{Database: r.segments[0]})
	if r.segments[0] == usersDatabase {
		s.audit(r, "all users removed")
		if err := s.orphanStrangers(r.set, true); err != nil {
			return err
		}
		if err := s.endStrays(context.WithoutCancel(r.Context())); err != nil {
			return err
		}
	}
	return r.ok(http.StatusOK)
}

func (s *Server) getDatabase(r *request) error {
	info, err := r.db.Info()
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, appendInfo(nil, r.db, info))
}

// appendInfo renders what GET /{db} tells, members in CouchDB's order.
func appendInfo(dst []byte, db *store.DB, info store.Info) []byte {
	number := func(name string, n uint64) {
		dst = append(dst, name...)
		dst = strconv.AppendUint(dst, n, 10)
	}
	dst = append(dst, `{"instance_start_time":"`...)
	dst = strconv.AppendInt(dst, info.Created.Unix(), 10)
	dst = append(dst, `","db_name":`...)
	dst = appendString(dst, info.Name)
	dst = append(dst, `,"purge_seq":`...)
	dst = appendString(dst, db.FormatSeq(info.PurgeSeq))
	dst = append(dst, `,"update_seq":`...)
	dst = appendString(dst, db.FormatSeq(info.UpdateSeq))
	number(`,"sizes":{"file":`, info.FileBytes)
	number(`,"external":`, info.ActiveBytes)
	number(`,"active":`, info.ActiveBytes)
	number(`},"props":{},"doc_del_count":`, info.DelCount)
	number(`,"doc_count":`, info.DocCount)
	dst = append(dst, `,"disk_format_version":8,"compact_running":`...)
	dst = strconv.AppendBool(dst, info.Compacting)
	return append(dst, `,"cluster":{"q":1,"n":1,"w":1,"r":1}}`...)
}

// nameRange is what _all_dbs and _dbs_info take to select names.
type nameRange struct {
	from, to    string
	hasTo       bool
	inclusive   bool
	descending  bool
	skip, limit int
}

func (r *request) nameRange() (nameRange, error) {
	n := nameRange{inclusive: r.param("inclusive_end") != "false", descending: r.isTrue("descending"), limit: -1}
	var hasFrom bool
	for _, p := range []struct {
		names []string
		to    *string
		has   *bool
	}{{[]string{"startkey", "start_key", "key"}, &n.from, &hasFrom}, {[]string{"endkey", "end_key", "key"}, &n.to, &n.hasTo}} {
		for _, name := range p.names {
			if !r.hasParam(name) {
				continue
			}
			value, err := checkJSON([]byte(r.param(name)))
			if err != nil {
				return n, err
			}
			key, ok := text(value)
			if !ok {
				return n, badRequest("`" + name + "` should be a JSON string.")
			}
			*p.to, *p.has = key, true
		}
	}
	for name, to := range map[string]*int{"limit": &n.limit, "skip": &n.skip} {
		if !r.hasParam(name) {
			continue
		}
		i, err := strconv.Atoi(r.param(name))
		if err != nil {
			return n, queryError("Invalid value for integer: \"" + r.param(name) + "\"")
		}
		if i < 0 {
			return n, queryError("Invalid value for positive integer: \"" + r.param(name) + "\"")
		}
		*to = i
	}
	if n.descending {
		// A listing that runs backwards starts at the higher key.
		n.from, n.to = n.to, n.from
		n.hasTo, hasFrom = hasFrom, n.hasTo
	}
	return n, nil
}

// namesPage is how many names are read from the store at a time.
const namesPage = 1000

// names calls fn for the names in a range, in order.
func (s *Server) names(n nameRange, fn func(name string) error) error {
	var all []string
	from, after := n.from, false
	for {
		page, err := s.store.Names(from, after, namesPage)
		if err != nil {
			return err
		}
		for _, name := range page {
			if isHidden(name) {
				continue
			}
			over := n.hasTo && name > n.to
			// inclusive_end concerns where the listing ends, which is the lower key when it runs backwards.
			if n.hasTo && !n.inclusive && !n.descending && name == n.to || !n.inclusive && n.descending && n.from != "" && name == n.from {
				continue
			}
			if over {
				page = nil
				break
			}
			all = append(all, name)
		}
		if len(page) < namesPage || !n.descending && n.limit >= 0 && len(all) >= n.skip+n.limit {
			break
		}
		from, after = page[len(page)-1], true
	}
	if n.descending {
		for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
			all[i], all[j] = all[j], all[i]
		}
	}
	all = all[min(n.skip, len(all)):]
	if n.limit >= 0 {
		all = all[:min(n.limit, len(all))]
	}
	for _, name := range all {
		if err := fn(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) allDatabases(r *request) error {
	if r.hasParam("keys") {
		return badRequest("`keys` is not supported here; POST /_dbs_info takes them.")
	}
	n, err := r.nameRange()
	if err != nil {
		return err
	}
	body := []byte{'['}
	err = s.names(n, func(name string) error {
		body = appendString(appendComma(body), name)
		return nil
	})
	if err != nil {
		return err
	}
	return r.sendTagged(append(body, ']'))
}

// databasesInfo answers _dbs_info: of a range of names, or of those in a body.
func (s *Server) databasesInfo(r *request) error {
	body := []byte{'['}
	entry := func(name string) error {
		body = append(appendComma(body), `{"key":`...)
		body = appendString(body, name)
		db, err := s.store.DB(name)
		var info store.Info
		if err == nil {
			info, err = db.Info()
		}
		if err != nil || isHidden(name) {
			body = append(body, `,"error":"not_found"}`...)
			return nil
		}
		body = append(appendInfo(append(body, `,"info":`...), db, info), '}')
		return nil
	}
	if r.Method != http.MethodPost {
		n, err := r.nameRange()
		if err != nil {
			return err
		}
		if err := s.names(n, entry); err != nil {
			return err
		}
		return r.sendTagged(append(body, ']'))
	}
	names, err := s.postedNames(r)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := entry(name); err != nil {
			return err
		}
	}
	return r.send(http.StatusOK, append(body, ']'))
}

// maxPostedNames is CouchDB's [chttpd] max_db_number_for_dbs_info_req.
const maxPostedNames = 100

func (s *Server) postedNames(r *request) (names []string, err error) {
	object, release, err := s.posted(r)
	if err != nil {
		return nil, err
	}
	defer release()
	keys := objectMember(object, "keys")
	switch {
	case keys == nil:
		return nil, badRequest("`keys` member must exist.")
	case keys[0] != '[':
		return nil, badRequest("`keys` member must be an array.")
	}
	err = elements(keys, func(v jsontext.Value) error {
		name, ok := text(v)
		if !ok {
			return badRequest("`keys` member must be an array of strings.")
		}
		names = append(names, name)
		if limit := r.set.snap.Int(maxPostedNames, "max_db_number_for_dbs_info_req", "chttpd"); int64(len(names)) > limit {
			return badRequest("`keys` exceeds the allowed number of " + strconv.FormatInt(limit, 10))
		}
		return nil
	})
	return names, err
}

// appendComma separates elements: it adds a comma unless an array or object has just begun.
func appendComma(dst []byte) []byte {
	if c := dst[len(dst)-1]; c == '[' || c == '{' {
		return dst
	}
	return append(dst, ',')
}

func (s *Server) noSuchDatabase(r *request) error { return errNoDatabase }

// integerBody reads a request whose body is one JSON integer from 1: _revs_limit and _purged_infos_limit.
func (s *Server) integerBody(r *request, otherwise string) (int, error) {
	data, release, err := s.body(r, 1024)
	if err != nil {
		return 0, err
	}
	defer release()
	value, err := checkJSON(data)
	if err != nil {
		return 0, err
	}
	var n int
	if err := json.Unmarshal(value, &n); err != nil || n < 1 {
		return 0, badRequest(otherwise)
	}
	return n, nil
}

func (s *Server) getRevsLimit(r *request) error {
	info, err := r.db.Info()
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, strconv.AppendInt(nil, int64(info.RevsLimit), 10))
}

func (s *Server) putRevsLimit(r *request) error {
	n, err := s.integerBody(r, "`_revs_limit` must be a positive integer")
	if err != nil {
		return err
	}
	if err := r.db.SetRevsLimit(r.Context(), n); err != nil {
		return err
	}
	return r.ok(http.StatusOK)
}

func (s *Server) getPurgedLimit(r *request) error {
	info, err := r.db.Info()
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, strconv.AppendInt(nil, int64(info.PurgedLimit), 10))
}

func (s *Server) putPurgedLimit(r *request) error {
	n, err := s.integerBody(r, "`purge_infos_limit` must be positive integer")
	if err != nil {
		return err
	}
	if err := r.db.SetPurgedLimit(r.Context(), n); err != nil {
		return err
	}
	return r.ok(http.StatusOK)
}
