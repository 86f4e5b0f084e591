package livesync

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Vault is what all devices of a vault must have alike: where it is, its passphrase, and how LiveSync cuts and names what it writes. A device that
// differs stops with "tweak mismatch", or cannot read what the others wrote.
type Vault struct {
	Server     string // where it was for the device that it was read from; "" for a new one
	Database   string
	Passphrase string // of the encryption from end to end, which no server may learn; "": not encrypted

	tuning jsontext.Value // an object of tuning settings
}

// NewVault returns a vault with LiveSync's present settings for a new one.
func NewVault(database, passphrase string) Vault {
	return Vault{Database: database, Passphrase: passphrase, tuning: jsontext.Value(`{"usePathObfuscation":true,"E2EEAlgorithm":"v2","customChunkSize":60,` +
		`"chunkSplitterVersion":"v3-rabin-karp","handleFilenameCaseSensitive":false,"usePluginSyncV2":true,` +
		`"concurrencyOfReadChunksOnline":30,"minimumIntervalOfReadChunksOnline":25}`)}
}

// tuningKeys are the settings that LiveSync compares between devices, and two more that its preset for one's own server sets. Of a device's settings no
// other goes to the next device: they may hold secrets and habits of the first.
var tuningKeys = []string{
	"usePathObfuscation", "E2EEAlgorithm", "customChunkSize", "chunkSplitterVersion", "handleFilenameCaseSensitive", "usePluginSyncV2",
	"minimumChunkSize", "longLineThreshold", "enableCompression", "useEden", "maxChunksInEden", "maxTotalLengthInEden", "maxAgeInEden",
	"useDynamicIterationCount", "hashAlg", "enableChunkSplitterV2", "doNotUseFixedRevisionForChunks", "useSegmenter",
	"concurrencyOfReadChunksOnline", "minimumIntervalOfReadChunksOnline",
}

// VaultOf returns the vault that a device with these settings has, as [Decode] gives them. It fails for settings that name no CouchDB database, and for
// those that encrypt without a passphrase, as LiveSync writes them when it was told to keep the passphrase to itself.
func VaultOf(settings jsontext.Value) (Vault, error) {
	var device struct {
		Server   string             `json:"couchDB_URI"`
		Database string             `json:"couchDB_DBNAME"`
		Encrypt  bool               `json:"encrypt"`
		Phrase   string             `json:"passphrase"`
		Active   string             `json:"activeConfigurationId"`
		Profiles map[string]profile `json:"remoteConfigurations"`
	}
	if err := json.Unmarshal(settings, &device); err != nil {
		return Vault{}, errors.New("the settings are not LiveSync's")
	}
	v := Vault{Server: device.Server, Database: device.Database}
	if active, ok := device.Profiles[device.Active]; ok && !active.IsEncrypted {
		u, err := url.Parse(active.URI)
		if err != nil || u.Scheme != "sls+https" && u.Scheme != "sls+http" {
			return Vault{}, errors.New("the settings are of a vault that is not kept in CouchDB")
		}
		v.Server = (&url.URL{Scheme: strings.TrimPrefix(u.Scheme, "sls+"), Host: u.Host, Path: u.Path}).String()
		v.Database = u.Query().Get("db")
	}
	switch {
	case v.Database == "":
		return Vault{}, errors.New("the settings name no database")
	case device.Encrypt && device.Phrase == "":
		return Vault{}, errors.New("the settings hold no passphrase of the vault")
	case device.Encrypt:
		v.Passphrase = device.Phrase
	}
	var err error
	v.tuning, err = tuningOf(settings)
	return v, err
}

// tuningOf returns those members of an object of settings that are tuning, as an object. What is compared is flat; anything else is not LiveSync's.
func tuningOf(settings jsontext.Value) (jsontext.Value, error) {
	in := jsontext.NewDecoder(bytes.NewReader(settings))
	if _, err := in.ReadToken(); err != nil { // the "{"
		return nil, err
	}
	tuning := []byte{'{'}
	for in.PeekKind() == '"' {
		name, err := in.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // the decoder uses its buffer again
		value, err := in.ReadValue()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(tuningKeys, key) || value.Kind() == '{' || value.Kind() == '[' {
			continue
		}
		if len(tuning) > 1 {
			tuning = append(tuning, ',')
		}
		tuning = fmt.Appendf(tuning, "%q:%s", key, value)
	}
	return append(tuning, '}'), nil
}

// Device is how one device reaches its vault. It signs in with a password, or with tokens that it signs with a key.
type Device struct {
	Server   string // the server's URL as the device sees it, with a path when a proxy puts it under one
	Name     string // of the connection, as the plugin shows it
	User     string
	Password string // "" when there is a key
	Key      *DeviceKey
}

// DeviceKey is the key that a device signs tokens with, in the forms of [GenerateKey].
type DeviceKey struct {
	ID        string // the tokens' "kid"
	Algorithm string
	Private   string
}

// jwtMinutes is how long a device's tokens live. It makes another when one is about to expire.
const jwtMinutes = 5

// unusedPassword stands where LiveSync's dialog insists on a password although tokens are used.
const unusedPassword = "unused"

// profile is one of LiveSync's connections.
type profile struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	URI         string `json:"uri"`
	IsEncrypted bool   `json:"isEncrypted"`
}

// profileID is the only profile's.
const profileID = "parlor"

// settings are what is written for a device: the connection both flat, as every version reads it, and as a profile, which newer ones prefer. What is
// left out falls back to LiveSync's defaults.
type settings struct {
	URI            string             `json:"couchDB_URI"`
	User           string             `json:"couchDB_USER"`
	Password       string             `json:"couchDB_PASSWORD"`
	Database       string             `json:"couchDB_DBNAME"`
	RemoteType     string             `json:"remoteType"` // "" is CouchDB
	UseJWT         bool               `json:"useJWT,omitzero"`
	JWTAlgorithm   string             `json:"jwtAlgorithm,omitzero"`
	JWTKey         string             `json:"jwtKey,omitzero"`
	JWTKid         string             `json:"jwtKid,omitzero"`
	JWTSub         string             `json:"jwtSub,omitzero"`
	JWTExpDuration int                `json:"jwtExpDuration,omitzero"` // minutes
	Profiles       map[string]profile `json:"remoteConfigurations"`
	ActiveID       string             `json:"activeConfigurationId"`
	IsConfigured   bool               `json:"isConfigured"`
	LiveSync       bool               `json:"liveSync"`
	Encrypt        bool               `json:"encrypt"`
	Passphrase     string             `json:"passphrase"`
	Tuning         jsontext.Value     `json:",embed"`
}

// Settings returns the settings of one device of the vault, for [Encode]. It fails for what the plugin could not use: see [CheckServer] and
// [CheckDevice].
func (v Vault) Settings(d Device) (jsontext.Value, error) {
	server, err := CheckServer(d.Server)
	if err != nil {
		return nil, err
	}
	if d.Key != nil {
		if err := CheckDevice(d.User, d.Key.Algorithm); err != nil {
			return nil, err
		}
	}
	s := settings{
		URI: strings.TrimSuffix(server.String(), "/"), User: d.User, Password: d.Password, Database: v.Database,
		ActiveID: profileID, IsConfigured: true, LiveSync: true, Encrypt: v.Passphrase != "", Passphrase: v.Passphrase, Tuning: v.tuning,
	}
	query := url.Values{"db": {v.Database}}
	if d.Key != nil {
		s.Password = unusedPassword
		s.UseJWT, s.JWTAlgorithm, s.JWTKid, s.JWTSub, s.JWTExpDuration = true, d.Key.Algorithm, d.Key.ID, d.User, jwtMinutes
		s.JWTKey = strings.TrimSpace(d.Key.Private)
		query["useJWT"], query["jwtAlg"], query["jwtKid"] = []string{"true"}, []string{s.JWTAlgorithm}, []string{s.JWTKid}
		query["jwtKey"], query["jwtSub"], query["jwtExp"] = []string{s.JWTKey}, []string{s.JWTSub}, []string{fmt.Sprint(jwtMinutes)}
	}
	prefix := strings.TrimSuffix(server.EscapedPath(), "/")
	if prefix == "" {
		prefix = "/"
	}
	uri := fmt.Sprintf("sls+%s://%s:%s@%s%s?%s", server.Scheme, encodeURIComponent(s.User), encodeURIComponent(s.Password), server.Host, prefix, query.Encode())
	s.Profiles = map[string]profile{profileID: {ID: profileID, Name: d.Name, URI: uri}}
	return json.Marshal(s)
}

// CheckServer parses the URL of a server that a device is to be given. It fails for what LiveSync takes for a mistake: capital letters and blanks in
// the path, and for a URL that is more than scheme, host and path.
func CheckServer(server string) (*url.URL, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("the server's public URL is not of the form https://HOST")
	}
	u.Host = strings.ToLower(u.Host)
	switch {
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the server's public URL has more than a scheme, a host and a path")
	case u.Path != strings.ToLower(u.Path) || strings.ContainsAny(u.Path, " \t\r\n"):
		return nil, fmt.Errorf("LiveSync takes no capital letters and no blanks in a URL, and the server's has the path %q", u.Path)
	}
	return u, nil
}

// CheckDevice fails when a device of the user cannot sign tokens with that algorithm: for an unknown one, and for a name that is not printable ASCII, which
// the plugin encodes wrongly. Passwords work for every name.
func CheckDevice(user, algorithm string) error {
	if !slices.Contains(Algorithms(), algorithm) {
		return fmt.Errorf("there is no algorithm %q for a device's key: choose one of %s", algorithm, strings.Join(Algorithms(), ", "))
	}
	if user == "" || strings.ContainsFunc(user, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("LiveSync signs no right tokens for the name %q, which is not ASCII; let the device have a password", user)
	}
	return nil
}
