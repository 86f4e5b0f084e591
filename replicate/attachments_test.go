package replicate

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"mime/multipart"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

func TestBodyHasTheLengthThatItSays(t *testing.T) {
	t.Parallel()
	d, err := parseAttached(jsontext.Value(`{"_id":"d","_rev":"1-a","_attachments":{"a\"\r\nX: y":{"content_type":"text/plain\r\nX: y","follows":true,"length":3},` +
		`"old":{"stub":true,"length":7},"packed":{"follows":true,"length":100,"encoding":"gzip","encoded_length":2}},"n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	bytesOf := map[string]string{"a\"\r\nX: y": "abc", "packed": "zz"}
	d.open = func(a attachment) (io.Reader, error) {
		return iotest.OneByteReader(strings.NewReader(bytesOf[a.name])), nil
	}
	made := (&batch{}).relatedBody(d)
	length := made.length
	text, err := io.ReadAll(made)
	if err != nil || int64(len(text)) != length || made.done != 2 || made.sent != 5 {
		t.Fatalf("%v: %d bytes, said %d; %d attachments of %d bytes", err, len(text), length, made.done, made.sent)
	}
	_, boundary, _ := strings.Cut(strings.TrimSuffix(made.kind, `"`), `boundary="`)
	parts := multipart.NewReader(bytes.NewReader(text), boundary)
	for _, want := range []string{string(d.json), "abc", "zz"} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(part)
		if err != nil || string(got) != want || part.Header.Get("X") != "" {
			t.Errorf("%q, %v: %v", got, err, part.Header)
		}
	}
	if _, err := parts.NextRawPart(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last part: %v", err)
	}
}

func TestBodyOfAnotherLengthFails(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{"", "ab", "abcd"} {
		made := newBody("")
		made.attachment(3, func() (io.Reader, error) { return strings.NewReader(sent), nil })
		if _, err := io.ReadAll(made); !errors.Is(err, errLength) {
			t.Errorf("%q instead of 3 bytes: %v", sent, err)
		}
		if _, err := made.Read(make([]byte, 1)); err == nil {
			t.Error("the error does not stay")
		}
	}
}

func TestInlineBody(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 2, 3, 3071, 3072, 3073, 100_000} {
		plain := bytes.Repeat([]byte{0xfb}, size)
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		z.Write(plain)
		z.Close()
		d, err := parseAttached(jsontext.Value(`{"_id":"d","_attachments":{"p\"":{"follows":true,"encoding":"gzip","revpos":2,"digest":"x"},"q":{"content_type":"a/b","follows":true},"s":{"stub":true}},"_rev":"1-a"}`))
		if err != nil {
			t.Fatal(err)
		}
		d.open = func(a attachment) (io.Reader, error) {
			if a.packed {
				return iotest.HalfReader(bytes.NewReader(packed.Bytes())), nil
			}
			return iotest.HalfReader(bytes.NewReader(plain)), nil
		}
		made, err := inlineBody(d)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(iotest.OneByteReader(made))
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Atts map[string]struct {
				Data     string `json:"data"`
				Encoding string `json:"encoding"`
				Digest   string `json:"digest"`
				RevPos   int    `json:"revpos"`
				Stub     bool   `json:"stub"`
			} `json:"_attachments"`
			Rev string `json:"_rev"`
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%.300s: %v", text, err)
		}
		coded := base64.StdEncoding.EncodeToString(plain)
		p := got.Atts[`p"`]
		if got.Rev != "1-a" || p.Data != coded || p.Encoding != "" || p.Digest != "" || p.RevPos != 2 || got.Atts["q"].Data != coded || !got.Atts["s"].Stub {
			t.Errorf("%d bytes: %.300s", size, text)
		}
	}
}

// FuzzCutAttachments: the pieces make the document, and the middle one is the member's value.
func FuzzCutAttachments(f *testing.F) {
	f.Add([]byte(`{"_id":"a","_rev":"1-b","_attachments": {"x":{"stub":true}} ,"n":[1]}`))
	f.Add([]byte(`{"a":{"_attachments":{}},"_attachments":{}}`))
	f.Add([]byte(`{"\u005fattachments":{"é":{}},"_attachments":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		before, list, after, err := cutAttachments(data)
		if err != nil {
			return
		}
		if joined := string(before) + string(list) + string(after); joined != string(data) {
			t.Fatalf("%q became %q", data, joined)
		}
		if jsontext.Value(data).IsValid() && !list.IsValid() {
			t.Fatalf("%q is no value", list)
		}
		if made, err := following(data); err == nil && jsontext.Value(data).IsValid() && !made.IsValid() {
			t.Fatalf("%q became %q", data, made)
		}
	})
}
