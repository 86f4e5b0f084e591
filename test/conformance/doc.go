// Package conformance replays answers that were recorded from a real CouchDB 3.5.2 against the program.
//
// The recordings are in testdata/conformance at the root of the module: JSON lines, one step a line, a request and what
// CouchDB answered. The files of auth/ are replayed in order on one fresh server, those of docs/ on another.
// Every checked step must be answered as recorded, unless testdata/conformance/differences.json says otherwise:
// its "differences" hold the program's own answer and the reason for it, and its "not_yet" the areas that are
// not built. A difference that is no longer one fails the test, so the list cannot rot.
//
//	go test ./test/conformance -v                  a line for each file
//	go test ./test/conformance -update             write the table of docs/differences.md from differences.json
//	go test ./test/conformance -report FILE        also write what failed to FILE, grouped by endpoint
//
// # Format of a step
//
// A request has "method", "path", "headers" (a list of pairs; a null value withholds a header that would be sent by
// itself), "body" or "body_base64", and "read_for", the seconds after which an endless answer is read no more. Paths, headers and
// bodies may hold templates:
//
//	{{port}}                     the port of the server
//	{{saved NAME}}               what an earlier step saved
//	{{basic USER:PASSWORD}}      base64 for an Authorization: Basic header
//	{{rev DB ID}}                the current _rev of a document, read as the admin
//	{{cookie user=U …}}          an AuthSession value for U; see [Client]
//
// A response has "status", "headers" (only these are compared) and "body". Strings in it may hold placeholders where
// servers may differ: "<rev N>", "<id>", "<hex>", "<any>", "<port>", "<pbkdf2 PRF ROUNDS>". A body that is not one JSON value is an
// object with one of the members "<text>", "<lines>", "<events>", "<parts>" or "<base64>", or "<blank lines>".
// The status "4xx" stands where CouchDB crashes with a 500: any 4xx with a reason is right.
//
// A step may have "save" (name → where in the answer), "unordered" (names of arrays compared as bags; "" is the
// answer itself), "exact" (the body is compared as text) and "patience" (seconds during which the request is repeated until the answer is
// as recorded). A line {"sleep": S} is a pause that CouchDB needed for what it does later; nothing here sleeps, but a
// reading step after a pause longer than that for a setting has that much patience.
package conformance
