package main

import (
	"crypto/tls"
	"testing"
)

func TestTLSVersions(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"[]", "tlsv1.2", "['tlsv1.2'", "'tlsv1.2']", "['tlsv1.1','tlsv1.2']", "['tlsv1.2',]", "[sslv3]"} {
		if lowest, highest, err := tlsVersions(text); err == nil {
			t.Errorf("%s gives %x to %x", text, lowest, highest)
		}
	}
	for text, want := range map[string][2]uint16{
		"":                          {tls.VersionTLS12, 0},
		"['tlsv1.2']":               {tls.VersionTLS12, tls.VersionTLS12},
		"['tlsv1.3', 'tlsv1.2']":    {tls.VersionTLS12, tls.VersionTLS13},
		`["tlsv1.3"]`:               {tls.VersionTLS13, tls.VersionTLS13},
		"[ 'tlsv1.2' , 'tlsv1.3' ]": {tls.VersionTLS12, tls.VersionTLS13},
	} {
		if lowest, highest, err := tlsVersions(text); err != nil || lowest != want[0] || highest != want[1] {
			t.Errorf("%s gives %x to %x, %v", text, lowest, highest, err)
		}
	}
}
