package livesync_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/livesync"
)

// read are the settings as LiveSync reads them.
type read struct {
	URI          string `json:"couchDB_URI"`
	User         string `json:"couchDB_USER"`
	Password     string `json:"couchDB_PASSWORD"`
	Database     string `json:"couchDB_DBNAME"`
	RemoteType   string `json:"remoteType"`
	UseJWT       bool   `json:"useJWT"`
	JWTAlgorithm string `json:"jwtAlgorithm"`
	JWTKey       string `json:"jwtKey"`
	JWTKid       string `json:"jwtKid"`
	JWTSub       string `json:"jwtSub"`
	JWTMinutes   int    `json:"jwtExpDuration"`
	Profiles     map[string]struct {
		ID, Name, URI string
		IsEncrypted   bool `json:"isEncrypted"`
	} `json:"remoteConfigurations"`
	Active       string         `json:"activeConfigurationId"`
	IsConfigured bool           `json:"isConfigured"`
	LiveSync     bool           `json:"liveSync"`
	Encrypt      bool           `json:"encrypt"`
	Passphrase   string         `json:"passphrase"`
	Obfuscation  bool           `json:"usePathObfuscation"`
	E2EE         string         `json:"E2EEAlgorithm"`
	ChunkSize    int            `json:"customChunkSize"`
	Rest         jsontext.Value `json:",embed"`
}

func settingsOf(t *testing.T, v livesync.Vault, d livesync.Device) read {
	t.Helper()
	text, err := v.Settings(d)
	if err != nil {
		t.Fatal(err)
	}
	var r read
	if err := json.Unmarshal(text, &r, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	return r
}

// active is the URI of the active profile, which has to say the same as the flat settings.
func (r *read) active(t *testing.T) *url.URL {
	t.Helper()
	p := r.Profiles[r.Active]
	if p.ID != r.Active || p.IsEncrypted || p.Name == "" {
		t.Errorf("the active profile is %+v", p)
	}
	u, err := url.Parse(p.URI)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	flat := "sls+" + r.URI
	if u.Scheme+"://"+u.Host+strings.TrimSuffix(u.Path, "/") != flat || u.User.Username() != r.User || password != r.Password || u.Query().Get("db") != r.Database {
		t.Errorf("the profile %s differs from %s, %s, %s", p.URI, flat, r.User, r.Database)
	}
	return u
}

func TestSettingsOfPassword(t *testing.T) {
	t.Parallel()
	r := settingsOf(t, livesync.NewVault("alice-notes", "vault phrase"),
		livesync.Device{Server: "https://Sync.example.org/", Name: "Notes at home", User: "alice@é:+", Password: "parlor_a b+/%&"})
	u := r.active(t)
	if r.URI != "https://sync.example.org" || u.Path != "/" || r.UseJWT || u.Query().Has("useJWT") || r.JWTKey != "" {
		t.Errorf("%+v", r)
	}
	if r.RemoteType != "" || !r.IsConfigured || !r.LiveSync || !r.Encrypt || r.Passphrase != "vault phrase" || !r.Obfuscation || r.E2EE != "v2" || r.ChunkSize != 60 {
		t.Errorf("%+v", r)
	}
}

func TestSettingsOfKeys(t *testing.T) {
	t.Parallel()
	for _, algorithm := range livesync.Algorithms() {
		private, _, err := livesync.GenerateKey(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		r := settingsOf(t, livesync.NewVault("alice-notes", "vault phrase"), livesync.Device{
			Server: "http://127.0.0.1:5984/couch/", Name: "n", User: "alice", Key: &livesync.DeviceKey{ID: "dev_1", Algorithm: algorithm, Private: private}})
		u := r.active(t)
		if !r.UseJWT || r.JWTAlgorithm != algorithm || r.JWTKid != "dev_1" || r.JWTSub != "alice" || r.JWTMinutes != 5 || r.Password == "" {
			t.Errorf("%s: %+v", algorithm, r)
		}
		if r.JWTKey != strings.TrimSpace(private) || u.Path != "/couch" {
			t.Errorf("%s: the key or the path is another", algorithm)
		}
		q := u.Query()
		for name, want := range map[string]string{"useJWT": "true", "jwtAlg": algorithm, "jwtKey": r.JWTKey, "jwtKid": "dev_1", "jwtSub": "alice", "jwtExp": "5"} {
			if q.Get(name) != want {
				t.Errorf("%s: the profile's %s is %q", algorithm, name, q.Get(name))
			}
		}
	}
}

func TestSettingsRefuse(t *testing.T) {
	t.Parallel()
	key := &livesync.DeviceKey{ID: "dev_1", Algorithm: "ES256", Private: "-"}
	for name, d := range map[string]livesync.Device{
		"no server":       {User: "a"},
		"no scheme":       {User: "a", Server: "sync.example.org"},
		"another scheme":  {User: "a", Server: "ftp://sync.example.org"},
		"a password":      {User: "a", Server: "https://a:b@sync.example.org"},
		"a query":         {User: "a", Server: "https://sync.example.org/?x=1"},
		"capitals":        {User: "a", Server: "https://sync.example.org/Couch"},
		"a blank":         {User: "a", Server: "https://sync.example.org/a%20b"},
		"RS256":           {User: "a", Server: "https://x", Key: &livesync.DeviceKey{ID: "dev_1", Algorithm: "RS256"}},
		"é with a key":    {User: "é", Server: "https://x", Key: key},
		"nobody's key":    {User: "", Server: "https://x", Key: key},
		"a line in a key": {User: "a\nb", Server: "https://x", Key: key},
	} {
		if text, err := livesync.NewVault("v", "p").Settings(d); err == nil {
			t.Errorf("%s is taken: %s", name, text)
		}
	}
}

func TestVaultOfRefuses(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]string{
		"nothing":         ``,
		"no object":       `[]`,
		"other types":     `{"couchDB_DBNAME":1}`,
		"twice a name":    `{"couchDB_DBNAME":"a","couchDB_DBNAME":"b"}`,
		"no database":     `{"encrypt":false}`,
		"no passphrase":   `{"couchDB_DBNAME":"a","encrypt":true}`,
		"object storage":  `{"couchDB_DBNAME":"a","activeConfigurationId":"x","remoteConfigurations":{"x":{"uri":"sls+s3://k:s@h/?bucket=b"}}}`,
		"an empty db":     `{"couchDB_DBNAME":"a","activeConfigurationId":"x","remoteConfigurations":{"x":{"uri":"sls+https://u:p@h/"}}}`,
		"not one address": `{"couchDB_DBNAME":"a","activeConfigurationId":"x","remoteConfigurations":{"x":{"uri":"sls+https://%zz"}}}`,
	} {
		if v, err := livesync.VaultOf(jsontext.Value(settings)); err == nil {
			t.Errorf("%s is taken: %+v", name, v)
		}
	}
}

// TestVaultOfNextDevice passes a vault on: its passphrase and its tuning, and nothing else of the first device.
func TestVaultOfNextDevice(t *testing.T) {
	t.Parallel()
	first := `{"couchDB_URI":"https://old","couchDB_USER":"old","couchDB_PASSWORD":"oldsecret","couchDB_DBNAME":"stale","encrypt":true,"passphrase":"phrase",
		"customChunkSize":50,"hashAlg":"sha1","handleFilenameCaseSensitive":true,"useEden":{"not":"flat"},"jwtKey":"oldkey","accessKey":"oldsecret","deviceAndVaultName":"old",
		"remoteConfigurations":{"p":{"id":"p","name":"n","uri":"sls+https://old:oldsecret@old/?db=alice-notes","isEncrypted":false}},"activeConfigurationId":"p"}`
	v, err := livesync.VaultOf(jsontext.Value(first))
	if err != nil || v.Database != "alice-notes" || v.Server != "https://old/" || v.Passphrase != "phrase" {
		t.Fatalf("%+v, %v", v, err)
	}
	text, err := v.Settings(livesync.Device{Server: "https://new", Name: "new", User: "alice", Password: "new"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"customChunkSize":50`, `"hashAlg":"sha1"`, `"handleFilenameCaseSensitive":true`, `"passphrase":"phrase"`, `"couchDB_DBNAME":"alice-notes"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	for _, leak := range []string{"old", "E2EEAlgorithm", "useEden"} {
		if strings.Contains(string(text), leak) {
			t.Errorf("%s went to the next device: %s", leak, text)
		}
	}
}

// TestVaultOfOwnSettings asserts that what Settings writes is read back, and written again the same.
func TestVaultOfOwnSettings(t *testing.T) {
	t.Parallel()
	device := livesync.Device{Server: "https://sync.example.org", Name: "n", User: "alice", Password: "p"}
	for _, phrase := range []string{"vault phrase", ""} {
		text, err := livesync.NewVault("alice-notes", phrase).Settings(device)
		if err != nil {
			t.Fatal(err)
		}
		v, err := livesync.VaultOf(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := v.Settings(device)
		if err != nil || string(again) != string(text) {
			t.Errorf("%s comes back as %s, %v", text, again, err)
		}
	}
}
