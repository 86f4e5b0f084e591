package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rogpeppe/go-internal/testscript"
)

// scriptSign makes the Authorization header of a signed request (RFC 5849), independently of the package that verifies it.
func scriptSign(ts *testscript.TestScript, neg bool, args []string) {
	f := flag.NewFlagSet("sign", flag.ContinueOnError)
	method := f.String("m", "HMAC-SHA1", "")
	consumer := f.String("c", "consumer1:sekr1t", "")
	token := f.String("t", "token1:tokensekr1t", "")
	origin := f.String("o", ts.Getenv("URL"), "")
	form := f.String("d", "", "")
	ahead := f.Int("ahead", 5, "") // seconds: what is as old as the server is refused
	if err := f.Parse(args); err != nil || f.NArg() != 3 || neg {
		ts.Fatalf("usage: sign [flags] VAR METHOD PATH")
	}
	key, secret, _ := strings.Cut(*consumer, ":")
	tokenKey, tokenSecret, _ := strings.Cut(*token, ":")
	oauth := map[string]string{
		"oauth_consumer_key": key, "oauth_token": tokenKey, "oauth_signature_method": *method, "oauth_version": "1.0",
		"oauth_nonce": rand.Text(), "oauth_timestamp": strconv.FormatInt(time.Now().Unix()+int64(*ahead), 10),
	}
	u, err := url.Parse(*origin + f.Arg(2))
	ts.Check(err)
	body, err := url.ParseQuery(*form)
	ts.Check(err)
	var pairs []string
	for name, value := range oauth {
		pairs = append(pairs, percent(name)+"="+percent(value))
	}
	for _, values := range []url.Values{u.Query(), body} {
		for name, list := range values {
			for _, value := range list {
				pairs = append(pairs, percent(name)+"="+percent(value))
			}
		}
	}
	slices.Sort(pairs)
	u.RawQuery = ""
	base := strings.Join([]string{f.Arg(1), percent(u.String()), percent(strings.Join(pairs, "&"))}, "&")
	oauth["oauth_signature"] = of(ts).sign(ts, *method, percent(secret)+"&"+percent(tokenSecret), base)
	header := `OAuth realm="notes"`
	for name, value := range oauth {
		header += fmt.Sprintf(`, %s="%s"`, name, percent(value))
	}
	ts.Setenv(f.Arg(0), header)
}

func (s *script) sign(ts *testscript.TestScript, method, key, base string) string {
	mac := func(h func() hash.Hash) string {
		m := hmac.New(h, []byte(key))
		m.Write([]byte(base))
		return base64.StdEncoding.EncodeToString(m.Sum(nil))
	}
	switch method {
	case "HMAC-SHA1":
		return mac(sha1.New)
	case "HMAC-SHA256":
		return mac(sha256.New)
	case "PLAINTEXT":
		return key
	case "RSA-SHA1":
		sum := sha1.Sum([]byte(base))
		signature, err := rsa.SignPKCS1v15(nil, s.rsaKey(ts), crypto.SHA1, sum[:])
		ts.Check(err)
		return base64.StdEncoding.EncodeToString(signature)
	}
	return "unknown"
}

// rsaKey is the script's own RSA key, made at its first use.
func (s *script) rsaKey(ts *testscript.TestScript) *rsa.PrivateKey {
	if s.rsa == nil {
		var err error
		s.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
		ts.Check(err)
	}
	return s.rsa
}

// scriptForge sends tokens that another key has signed until one is answered 429, and prints that answer. None of the first sixty may be.
func scriptForge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: forge VAR")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	o := httpFlags{method: http.MethodGet, path: "/_session", shown: list{"Retry-After"}}
	client := o.client(ts)
	// While they are sent failures are forgiven, one a second.
	for i := range 10_000 {
		token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"sub": "eve", "exp": 4102444800, "n": i}).SignedString(key)
		ts.Check(err)
		o.headers = list{"Authorization: Bearer " + token}
		answer := o.send(ts, client)
		if !strings.HasPrefix(answer, "429\n") {
			continue
		}
		if i < 60 {
			ts.Fatalf("token %d is answered %s", i, answer)
		}
		fmt.Fprint(ts.Stdout(), answer)
		ts.Setenv(args[0], token)
		return
	}
	ts.Fatalf("none of 10,000 tokens is answered 429")
}

// scriptRSA sets a variable to the public key in PEM, its line ends as they are written in JSON.
func scriptRSA(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: rsakey VAR")
	}
	der, err := x509.MarshalPKIXPublicKey(of(ts).rsaKey(ts).Public())
	ts.Check(err)
	ts.Setenv(args[0], strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "\n", `\n`))
}

// percent encodes as RFC 5849 §3.6 says.
func percent(text string) string {
	return strings.NewReplacer("+", "%20", "%7E", "~").Replace(url.QueryEscape(text))
}

// scriptTOTP computes a code of RFC 6238: SHA-1, six digits, some steps from now.
func scriptTOTP(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: totp VAR KEY STEPS")
	}
	key, err := base32.StdEncoding.DecodeString(args[1])
	ts.Check(err)
	steps, err := strconv.ParseInt(args[2], 10, 64)
	ts.Check(err)
	m := hmac.New(sha1.New, key)
	ts.Check(binary.Write(m, binary.BigEndian, time.Now().Unix()/30+steps))
	sum := m.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[19]&15:]) & 0x7fffffff
	ts.Setenv(args[0], fmt.Sprintf("%06d", n%1_000_000))
}

// scriptLogged waits for a line of the server's log that matches, and sets a variable to its first group; negated, there is none so far.
func scriptLogged(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if s.server == nil || len(args) != 1 && (neg || len(args) != 2) {
		ts.Fatalf("usage: logged REGEXP [VAR], while a server runs")
	}
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	if neg {
		if line := re.FindString(s.server.log()); line != "" {
			ts.Fatalf("the log has %q", line)
		}
		return
	}
	late := time.AfterFunc(20*time.Second, func() { s.server.cmd.Process.Kill() })
	defer late.Stop()
	line := s.server.waitFor(re.MatchString)
	if line == "" {
		ts.Fatalf("the log has no line that matches %s", args[0])
	}
	if len(args) == 2 {
		ts.Setenv(args[1], re.FindStringSubmatch(line)[1])
	}
}

// scriptDeviceToken signs a token as a device does, with a key as 'parlor keygen' prints it.
func scriptDeviceToken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 5 {
		ts.Fatalf("usage: devicetoken VAR ALGORITHM KID KEY CLAIMS")
	}
	claims := jwt.MapClaims{}
	ts.Check(json.Unmarshal([]byte(args[4]), &claims))
	token := jwt.NewWithClaims(jwt.GetSigningMethod(args[1]), claims)
	token.Header["kid"] = args[2]
	var key any
	var err error
	if strings.HasPrefix(args[1], "HS") {
		key, err = base64.StdEncoding.DecodeString(args[3])
	} else {
		key, err = jwt.ParseECPrivateKeyFromPEM([]byte(strings.ReplaceAll(args[3], `\n`, "\n"))) // as it stands in JSON
	}
	ts.Check(err)
	text, err := token.SignedString(key)
	ts.Check(err)
	ts.Setenv(args[0], text)
}
