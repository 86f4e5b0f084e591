package server

import (
	"net/http"
	"strings"
)

// handler answers a request that may do what it asks. What it returns is answered by refuse.
type handler func(s *Server, r *request) error

// action is one method of a route.
type action struct {
	need   need
	writes bool    // it changes something, as far as Scopes are concerned
	handle handler // nil: the method is not allowed
	allow  string  // of a route whose method is not allowed
}

// endpoint is a path and what its methods do. A pattern's segments are literal, "*" for any one, or a last "**" for any number from one.
type endpoint struct {
	pattern string
	need    need // of every method that has none of its own
	allow   string
	methods map[string]handler
	needs   map[string]need
}

// on is what an endpoint does on each method; HEAD is GET with the body left out.
type on = map[string]handler

// serverRoutes are the paths whose first segment begins with an underscore and names no database.
func serverRoutes() []endpoint {
	return []endpoint{
		{"", nobody, "GET,HEAD", on{"GET": (*Server).welcome}, nil},
		{"favicon.ico", nobody, "GET,HEAD", on{"GET": (*Server).favicon}, nil},
		{"_session", nobody, "GET,HEAD,POST,DELETE", on{"GET": (*Server).getSession, "POST": (*Server).postSession, "DELETE": (*Server).deleteSession},
			map[string]need{"POST": unscoped}},
		{"_sessions", signedIn, "GET,HEAD,DELETE", on{"GET": (*Server).getSessions, "DELETE": (*Server).deleteSessions}, nil},
		{"_sessions/*", signedIn, "DELETE", on{"DELETE": (*Server).endSession}, nil},
		{"_tokens", signedIn, "GET,HEAD,POST,DELETE", on{"GET": (*Server).getTokens, "POST": (*Server).postToken, "DELETE": (*Server).deleteTokens}, nil},
		{"_tokens/*", signedIn, "GET,HEAD,DELETE", on{"GET": (*Server).getToken, "DELETE": (*Server).deleteToken}, nil},
		{"_vaults", signedIn, "GET,HEAD", on{"GET": (*Server).getVaults}, nil},
		{"_vaults/*", signedIn, "DELETE,POST", on{"POST": (*Server).postVault, "DELETE": (*Server).deleteVault}, nil},
		{"_oidc", nobody, "GET,HEAD", on{"GET": (*Server).getProviders}, nil},
		{"_oidc/*/login", nobody, "GET", on{"GET": (*Server).getLogin}, nil},
		{"_oidc/*/callback", nobody, "GET", on{"GET": (*Server).getCallback}, nil},
		{"_oidc/*/refresh", nobody, "POST", on{"POST": (*Server).postRefresh}, nil},
		{"_oidc/*/logout", nobody, "GET", on{"GET": (*Server).getLogout}, nil},
		{"_oidc/*/backchannel_logout", nobody, "POST", on{"POST": (*Server).postBackchannelLogout}, nil},
		{"_lockouts", serverAdmin, "GET,HEAD,DELETE", on{"GET": (*Server).getLockouts, "DELETE": (*Server).deleteLockouts}, nil},
		{"_up", nobody, "GET,HEAD", on{"GET": (*Server).up}, nil},
		{"_uuids", nobody, "GET", on{"GET": (*Server).uuids}, nil},
		{"_all_dbs", allDBs, "GET,HEAD", on{"GET": (*Server).allDatabases}, nil},
		{"_dbs_info", allDBs, "GET,HEAD,POST", on{"GET": (*Server).databasesInfo, "POST": (*Server).databasesInfo}, nil},
		{"_active_tasks", serverAdmin, "GET,HEAD", on{"GET": (*Server).activeTasks}, nil},
		{"_membership", serverAdmin, "GET,HEAD", on{"GET": (*Server).membership}, nil},
		{"_db_updates", serverAdmin, "GET,HEAD", on{"GET": (*Server).databaseUpdates}, nil},
		{"_scheduler/jobs", serverAdmin, "GET,HEAD", on{"GET": (*Server).schedulerJobs}, nil},
		{"_scheduler/docs", serverAdmin, "GET,HEAD", on{"GET": (*Server).schedulerDocs}, nil},
		{"_scheduler/docs/*", serverAdmin, "GET,HEAD", on{"GET": (*Server).schedulerDocs}, nil},
		{"_scheduler/**", serverAdmin, "GET,HEAD", on{"GET": (*Server).missing}, nil},
		{"_node", serverAdmin, "GET", on{"GET": (*Server).nodeIncomplete}, nil},
		{"_node/*", serverAdmin, "GET", on{"GET": (*Server).nodeName}, nil},
		{"_node/*/_stats", metrics, "GET", on{"GET": (*Server).stats}, nil},
		{"_node/*/_stats/**", metrics, "GET", on{"GET": (*Server).stats}, nil},
		{"_node/*/_prometheus", metrics, "GET", on{"GET": (*Server).prometheus}, nil},
		{"_node/*/_system", metrics, "GET", on{"GET": (*Server).system}, nil},
		{"_node/*/_versions", serverAdmin, "GET", on{"GET": (*Server).versions}, nil},
		{"_node/*/_config", checked, "GET", on{"GET": (*Server).getConfig}, nil},
		{"_node/*/_config/_reload", serverAdmin, "POST", on{"POST": (*Server).reloadConfig}, nil},
		{"_node/*/_config/*", serverAdmin, "GET", on{"GET": (*Server).getConfigSection}, nil},
		{"_node/*/_config/*/*", serverAdmin, "GET,PUT,DELETE", on{"GET": (*Server).getConfigKey, "PUT": (*Server).putConfigKey, "DELETE": (*Server).deleteConfigKey},
			map[string]need{"PUT": checked}},
		{"_node/*/**", serverAdmin, "GET", on{"GET": (*Server).nodeExtra, "POST": (*Server).nodeExtra, "PUT": (*Server).nodeExtra, "DELETE": (*Server).nodeExtra}, nil},
		{"_utils", nobody, "GET,HEAD", on{"GET": (*Server).utils}, nil},
		{"_utils/**", nobody, "GET,HEAD", on{"GET": (*Server).utils}, nil},
		// Any other name is that of a database that cannot exist, which only an admin may learn.
		{"**", serverAdmin, "DELETE,GET,HEAD,POST", on{"GET": (*Server).noSuchDatabase, "POST": (*Server).noSuchDatabase, "DELETE": (*Server).noSuchDatabase, "PUT": (*Server).putDatabase}, nil},
	}
}

// databaseRoutes are the paths below /{db}; the pattern begins after the database's name.
func databaseRoutes() []endpoint {
	document := on{"GET": (*Server).getDocument, "PUT": (*Server).putDocument, "POST": (*Server).postDocument, "DELETE": (*Server).deleteDocument, "COPY": (*Server).copyDocument}
	attachment := on{"GET": (*Server).getAttachment, "PUT": (*Server).putAttachment, "DELETE": (*Server).deleteAttachment}
	const documentMethods, attachmentMethods = "DELETE,GET,HEAD,POST,PUT,COPY", "DELETE,GET,HEAD,PUT"
	return []endpoint{
		{"", member, "DELETE,GET,HEAD,POST", on{"GET": (*Server).getDatabase, "PUT": (*Server).putDatabase, "DELETE": (*Server).deleteDatabase, "POST": (*Server).createDocument},
			map[string]need{"PUT": maker, "DELETE": owner}},
		{"_vault", owner, "GET,HEAD,PUT", on{"GET": (*Server).getVault, "PUT": (*Server).putVault}, nil},
		{"_vault/shares/*", owner, "DELETE,PUT", on{"PUT": (*Server).putShare, "DELETE": (*Server).deleteShare}, nil},
		{"_all_docs", lister, "GET,HEAD,POST", on{"GET": (*Server).allDocs, "POST": (*Server).allDocs}, nil},
		{"_all_docs/queries", lister, "POST", on{"POST": (*Server).allDocsQueries}, nil},
		{"_design_docs", member, "GET,HEAD,POST", on{"GET": (*Server).designDocs, "POST": (*Server).designDocs}, nil},
		{"_design_docs/queries", member, "POST", on{"POST": (*Server).designDocsQueries}, nil},
		{"_local_docs", member, "GET,HEAD,POST", on{"GET": (*Server).localDocs, "POST": (*Server).localDocs}, nil},
		{"_local_docs/queries", member, "POST", on{"POST": (*Server).localDocsQueries}, nil},
		{"_changes", lister, "GET,HEAD,POST", on{"GET": (*Server).changes, "POST": (*Server).changes}, nil},
		{"_bulk_docs", member, "POST", on{"POST": (*Server).bulkDocs}, nil},
		{"_bulk_get", member, "POST", on{"POST": (*Server).bulkGet}, nil},
		{"_revs_diff", member, "POST", on{"POST": (*Server).revsDiff}, nil},
		{"_missing_revs", member, "POST", on{"POST": (*Server).missingRevs}, nil},
		{"_find", member, "POST", on{"POST": (*Server).find}, nil},
		{"_security", member, "PUT,GET", on{"GET": (*Server).getSecurity, "PUT": (*Server).putSecurity}, map[string]need{"PUT": dbAdmin}},
		{"_revs_limit", member, "PUT,GET", on{"GET": (*Server).getRevsLimit, "PUT": (*Server).putRevsLimit}, map[string]need{"PUT": dbAdmin}},
		{"_purge", owner, "POST", on{"POST": (*Server).purge}, nil},
		{"_purged_infos", member, "GET,HEAD", on{"GET": (*Server).purgedInfos}, nil},
		{"_purged_infos_limit", serverAdmin, "PUT,GET", on{"GET": (*Server).getPurgedLimit, "PUT": (*Server).putPurgedLimit}, nil},
		{"_compact", compacter, "POST", on{"POST": (*Server).compact}, nil},
		{"_compact/*", compacter, "POST", on{"POST": (*Server).compactViews}, nil},
		{"_view_cleanup", compacter, "POST", on{"POST": (*Server).viewCleanup}, nil},
		{"_ensure_full_commit", member, "POST", on{"POST": (*Server).ensureFullCommit}, nil},
		{"_shards", member, "GET,HEAD", on{"GET": (*Server).shards}, nil},
		{"_shards/*", member, "GET,HEAD", on{"GET": (*Server).shards}, nil},
		{"_sync_shards", serverAdmin, "POST", on{"POST": (*Server).syncShards}, nil},
		{"_auto_purge", member, "GET,PUT", on{"GET": (*Server).autoPurge}, nil},
		{"_local/*", member, documentMethods, on{"GET": (*Server).getLocal, "PUT": (*Server).putLocal, "DELETE": (*Server).deleteLocal, "COPY": (*Server).copyDocument}, nil},
		{"_design/*", member, documentMethods, document, nil},
		{"_design/*/**", member, attachmentMethods, attachment, nil},
		{"*", member, documentMethods, document, nil},
		{"*/**", member, attachmentMethods, attachment, nil},
	}
}

// readsByPost are the endpoints whose POST changes nothing: what it asks for is in its body. Replicators say _ensure_full_commit to the
// database that they read from, too. Every other method but GET and HEAD counts as a change.
var readsByPost = map[string]bool{
	"_dbs_info": true,
	"_all_docs": true, "_all_docs/queries": true, "_design_docs": true, "_design_docs/queries": true, "_local_docs": true, "_local_docs/queries": true,
	"_changes": true, "_bulk_get": true, "_revs_diff": true, "_missing_revs": true, "_find": true, "_ensure_full_commit": true,
}

// router finds the endpoint of a path.
type router struct {
	literal map[string][]compiled // by the first segment
	other   []compiled
}

type compiled struct {
	segments []string
	endpoint *endpoint
}

func newRouter(routes []endpoint) *router {
	r := &router{literal: map[string][]compiled{}}
	for i := range routes {
		c := compiled{endpoint: &routes[i]}
		if routes[i].pattern != "" {
			c.segments = strings.Split(routes[i].pattern, "/")
		}
		if len(c.segments) == 0 || strings.HasPrefix(c.segments[0], "*") {
			r.other = append(r.other, c)
		} else {
			r.literal[c.segments[0]] = append(r.literal[c.segments[0]], c)
		}
	}
	return r
}

// find returns the first endpoint that matches and what its wildcards stand for; nil when there is none.
func (r *router) find(segments []string) (*endpoint, []string) {
	if len(segments) > 0 {
		for _, c := range r.literal[segments[0]] {
			if args, ok := c.match(segments); ok {
				return c.endpoint, args
			}
		}
	}
	for _, c := range r.other {
		if args, ok := c.match(segments); ok {
			return c.endpoint, args
		}
	}
	return nil, nil
}

func (c compiled) match(segments []string) (args []string, ok bool) {
	for i, want := range c.segments {
		if want == "**" {
			return append(args, segments[min(i, len(segments)):]...), len(segments) > i
		}
		if i >= len(segments) || want != "*" && want != segments[i] {
			return nil, false
		}
		if want == "*" {
			args = append(args, segments[i])
		}
	}
	return args, len(segments) == len(c.segments)
}

// routers of all servers: they hold functions alone.
var (
	serverRouter   = newRouter(serverRoutes())
	databaseRouter = newRouter(databaseRoutes())
	gatewayRouter  = newRouter(gatewayRoutes())
)

// isSystemDatabase reports whether a name that begins with an underscore can be a database's.
func isSystemDatabase(name string) bool {
	return name == "_users" || name == "_replicator" || name == "_global_changes"
}

// route finds what a request asks for. It opens no database: authorize does.
func (s *Server) route(r *request) (action, error) {
	var found *endpoint
	if len(r.segments) == 0 || r.segments[0] == "favicon.ico" || strings.HasPrefix(r.segments[0], "_") && !isSystemDatabase(r.segments[0]) {
		found, r.args = serverRouter.find(r.segments)
	} else {
		// "_design%2Fname" is "_design/name", in one segment or two.
		if len(r.segments) > 1 {
			if ddoc, ok := strings.CutPrefix(r.segments[1], "_design/"); ok {
				r.segments = append([]string{r.segments[0], "_design", ddoc}, r.segments[2:]...)
			} else if local, ok := strings.CutPrefix(r.segments[1], "_local/"); ok {
				r.segments = append([]string{r.segments[0], "_local", local}, r.segments[2:]...)
			}
		}
		if r.set.syncGateway && len(r.segments) > 1 && !isSystemDatabase(r.segments[0]) {
			found, r.args = gatewayRouter.find(r.segments[1:])
		}
		if found == nil {
			found, r.args = databaseRouter.find(r.segments[1:])
		}
	}
	if found == nil {
		return action{}, errMissing
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	act := action{need: found.need, handle: found.methods[method], allow: found.allow}
	act.writes = method != http.MethodGet && !(method == http.MethodPost && readsByPost[found.pattern])
	if n, ok := found.needs[method]; ok {
		act.need = n
	}
	return act, nil
}
