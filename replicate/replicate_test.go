package replicate

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/goleak"
)

// Whole replications are tested with the real program, in test/replicate.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "very-secret"

// failing runs a replication whose source answers so, and returns its error.
func failing(t *testing.T, o Options, source http.HandlerFunc) error {
	t.Helper()
	srv := httptest.NewServer(source)
	defer srv.Close()
	o.Source.URL = strings.Replace(srv.URL, "http://", "http://ann:"+secret+"@", 1) + "/db"
	o.Target.URL = srv.URL + "/other"
	_, err := Replicate(t.Context(), o)
	if err == nil {
		t.Fatal("no error")
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("the error tells the password: %v", err)
	}
	return err
}

func TestURLsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "db", "http://ann:" + secret + "@/db", "http://h:x" + secret + "/db", "ftp://ann:" + secret + "@h/db", "http://ann:" + secret + "@h/", "http://h/db?x=1"} {
		_, err := Replicate(t.Context(), Options{Source: Peer{URL: u}, Target: Peer{URL: "http://127.0.0.1/db"}})
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", u, err)
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer other.Close()
	err := failing(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(other.URL, "http://", "http://eve:"+secret+"@", 1)+"/db?token="+secret, http.StatusMovedPermanently)
	})
	var answer *AnswerError
	if !errors.As(err, &answer) || answer.Status != 301 || !strings.Contains(err.Error(), other.URL+"/db") {
		t.Errorf("%v", err)
	}
}

func TestFinalStatusesAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401, 403, 404, 410, 501, 507} {
		asked := 0
		err := failing(t, Options{Retries: 5, Backoff: none}, func(w http.ResponseWriter, r *http.Request) {
			asked++
			w.WriteHeader(status)
			io.WriteString(w, `{"error":"kind","reason":"why"}`)
		})
		var answer *AnswerError
		if !errors.As(err, &answer) || answer.Status != status || answer.Kind != "kind" || answer.Reason != "why" || asked != 1 {
			t.Errorf("%d: %v, asked %d times", status, err, asked)
		}
	}
}

func none(int) time.Duration { return 0 }

func TestOtherStatusesAreTriedAgain(t *testing.T) {
	t.Parallel()
	for _, status := range []int{408, 429, 500, 502, 503, 504, 524} {
		asked, told := 0, 0
		o := Options{Retries: 3, Backoff: none, OnRetry: func(error, time.Duration) { told++ }}
		err := failing(t, o, func(w http.ResponseWriter, r *http.Request) {
			asked++
			w.WriteHeader(status)
			io.WriteString(w, `<html>`)
		})
		var answer *AnswerError
		if !errors.As(err, &answer) || answer.Status != status || asked != 4 || told != 3 {
			t.Errorf("%d: %v, asked %d times", status, err, asked)
		}
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "77")
		w.WriteHeader(429)
	}))
	defer srv.Close()
	var pause time.Duration
	_, err := Replicate(ctx, Options{Source: Peer{URL: srv.URL + "/a"}, Target: Peer{URL: srv.URL + "/b"}, Backoff: none, OnRetry: func(_ error, d time.Duration) {
		pause = d
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || pause != 77*time.Second {
		t.Errorf("%v, %v", err, pause)
	}
}

func TestStalledServerIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{"before the answer": "", "within it": `{"doc_count":`} {
		err := failing(t, Options{Timeout: 30 * time.Millisecond, Retries: -1}, func(w http.ResponseWriter, r *http.Request) {
			if begin != "" {
				io.WriteString(w, begin)
				http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		})
		if !errors.Is(err, errStalled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for attempt := 1; attempt < 100; attempt++ {
		most := min(30*time.Second, 250*time.Millisecond<<min(attempt-1, 20))
		if got := backoff(attempt); got > most || got < most*3/4 {
			t.Errorf("attempt %d: %v of %v", attempt, got, most)
		}
	}
}

func TestCommonCheckpoint(t *testing.T) {
	t.Parallel()
	log := func(current string, sessions ...string) *checkpoint {
		c := &checkpoint{}
		for i, s := range sessions { // "session start recorded"
			f := strings.Fields(s)
			c.History = append(c.History, session{ID: f[0], StartSeq: jsontext.Value(f[1]), Recorded: jsontext.Value(f[2])})
			if i == 0 {
				c.Session, c.Seq = f[0], jsontext.Value(current)
			}
		}
		return c
	}
	for _, c := range []struct {
		why            string
		source, target *checkpoint
		want           string
	}{
		{"there are none", log(""), log(""), "0"},
		{"one is gone", log("9", "s 0 9"), log(""), "0"},
		{"both agree", log(`"9-x"`, `s 0 "9-x"`), log(`"9-x"`, `s 0 "9-x"`), `"9-x"`},
		{"the source's write was lost", log("5", "s 3 5"), log("9", "s 3 9"), "3"},
		{"the target was restored", log("9", "s 3 9"), log("5", "s 3 5"), "3"},
		{"the target was restored to a run before", log("9", "t 5 9", "s 0 5"), log("5", "s 0 5"), "5"},
		{"other databases", log("9", "s 3 9"), log("9", "t 3 9"), "0"},
		{"the newest of two", log("9", "a 7 8", "b 5 7", "c 0 5"), log("9", "x 7 9", "b 5 7", "c 0 5"), "7"},
		{"a foreign session without positions", &checkpoint{Session: "s"}, &checkpoint{Session: "s"}, "0"},
	} {
		if got := common(c.source, c.target); string(got) != c.want {
			t.Errorf("%s: %s, want %s", c.why, got, c.want)
		}
	}
}

func TestIsCheckpoint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id, body string
		want     bool
	}{
		{"_local/x", `{"session_id":"s","history":[],"source_last_seq":1}`, true},
		{"_local/x", `{"session_id":"s","last_seq":1,"replicator":"pouchdb"}`, true},
		{"_local/x", `{"lastSequence":"5"}`, true},
		{"_local/purge-mrview-abc", `{"purge_seq":1}`, true},
		{liveSyncSalt, `{"pbkdf2salt":"x"}`, false},
		{liveSyncMilestone, `{"locked":false,"accepted_nodes":[]}`, false},
		{"_local/x", `{"session_id":"somebody's own"}`, false},
	} {
		if got := isCheckpoint(c.id, jsontext.Value(c.body)); got != c.want {
			t.Errorf("%s %s: %v", c.id, c.body, got)
		}
	}
}

func TestDocumentPath(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"a/b": "/a%2Fb", "_design/a/b": "/_design/a%2Fb", "_local/x+y": "/_local/x%2By", "..": "/%2E%2E", "ü ?#%": "/%C3%BC%20%3F%23%25",
	} {
		if got := documentPath(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
