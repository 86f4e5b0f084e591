package livesync

import "strconv"

// Origins are where the pages of Obsidian's apps come from: on a desktop, on iOS and on Android. They are the same in every installation.
const Origins = "app://obsidian.md,capacitor://localhost,http://localhost"

// MaxDocumentSize is the least [couchdb] max_document_size, in bytes, that LiveSync's checker is content with.
const MaxDocumentSize = 50_000_000

// Setting is one value in the tree of settings that CouchDB shows at /_node/_local/_config.
type Setting struct{ Section, Key, Value string }

// CheckedSettings are the settings that LiveSync's "Check server requirements" looks at, in the order of sections. They hold nothing secret: they say what holds
// for a vault, whose documents may have MaxDocumentSize and which no anonymous user enters. requestSize is how many bytes a request may have, and origins
// are those whose pages may come, with commas between; of anything else the checker finds what it wants. It looks for user among the administrators; it
// only warns otherwise, but would have people hand out administrators' passwords.
func CheckedSettings(user string, requestSize int64, origins string) []Setting {
	return []Setting{
		{"admins", user, "*"},
		{"chttpd", "enable_cors", "true"},
		{"chttpd", "max_http_request_size", strconv.FormatInt(requestSize, 10)},
		{"chttpd", "require_valid_user", "true"},
		{"chttpd_auth", "require_valid_user", "true"},
		{"cors", "credentials", "true"},
		{"cors", "origins", origins},
		{"couchdb", "max_document_size", strconv.Itoa(MaxDocumentSize)},
		{"httpd", "WWW-Authenticate", `Basic realm="couchdb"`},
		{"httpd", "enable_cors", "true"},
	}
}
