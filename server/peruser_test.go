package server

import "testing"

func TestPerUserNames(t *testing.T) {
	couch, padded := perUserSettings{prefix: "userdb-"}, perUserSettings{prefix: "u-", padded: true}
	for _, c := range []struct {
		p          perUserSettings
		user, want string
	}{
		{couch, "foo", "userdb-666f6f"},
		{couch, "a\n", "userdb-61a"}, // CouchDB's form, in which names can collide
		{padded, "a\n", "u-610a"},
		{couch, "é", "userdb-c3a9"},
	} {
		if got := c.p.database(c.user); got != c.want {
			t.Errorf("%q: got %q, want %q", c.user, got, c.want)
		}
	}
}

func TestWithName(t *testing.T) {
	const admins = `{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}`
	for _, c := range []struct {
		security string
		in       bool
		want     string
	}{
		{admins, true, `{"members":{"roles":["_admin"],"names":["u"]},"admins":{"roles":["_admin"],"names":["u"]}}`},
		{admins, false, admins},
		{`{}`, true, `{"members":{"names":["u"]},"admins":{"names":["u"]}}`},
		{`{"x":[1],"members":{"names":["a"],"y":{}}}`, true, `{"x":[1],"members":{"names":["u","a"],"y":{}},"admins":{"names":["u"]}}`},
		{`{"members":{"names":["a","u","b"]},"admins":{"names":["u"]}}`, false, `{"members":{"names":["a","b"]},"admins":{"names":[]}}`},
		{`{"members":{"names":["u"]},"admins":{"names":["u"]}}`, true, `{"members":{"names":["u"]},"admins":{"names":["u"]}}`},
	} {
		got, err := withName([]byte(c.security), "u", c.in)
		if err != nil || string(got) != c.want {
			t.Errorf("%s, %v: got %s, %v; want %s", c.security, c.in, got, err, c.want)
		}
	}
}
