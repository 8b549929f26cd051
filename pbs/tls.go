package pbs

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// ParseFingerprint reads a SHA-256 fingerprint: 64 hexadecimal digits, with or
// without colons, in either case.
func ParseFingerprint(written string) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	digits := strings.NewReplacer(":", "", " ", "").Replace(strings.TrimSpace(written))
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != len(sum) {
		return sum, fmt.Errorf("fingerprint %.120q is no SHA-256 fingerprint: it needs 32 bytes in hexadecimal, such as AB:CD:…", written)
	}
	return [sha256.Size]byte(raw), nil
}

// formatFingerprint writes it as PBS shows it.
func formatFingerprint(sum [sha256.Size]byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":")
}

// trust returns a TLS configuration that accepts the pinned certificate alone,
// or what the configured authority or the system's trust signed. All of it is
// checked here, on resumed sessions too, so that an error can name the
// fingerprint that was shown. host is the name or address in the URL.
func trust(cfg Config, host string) (*tls.Config, error) {
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection below does it all
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	if cfg.Fingerprint != "" {
		want, err := ParseFingerprint(cfg.Fingerprint)
		if err != nil {
			return nil, err
		}
		conf.VerifyConnection = func(s tls.ConnectionState) error { return pinned(s, want) }
		return conf, nil
	}
	var roots *x509.CertPool // nil: the system's
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading ca_file: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate in PEM form", cfg.CAFile)
		}
	}
	conf.VerifyConnection = func(s tls.ConnectionState) error { return signed(s, roots, host) }
	return conf, nil
}

var errNoCertificate = errors.New("the server showed no certificate")

func pinned(s tls.ConnectionState, want [sha256.Size]byte) error {
	if len(s.PeerCertificates) == 0 {
		return errNoCertificate
	}
	got := sha256.Sum256(s.PeerCertificates[0].Raw)
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return &CertificateError{Want: formatFingerprint(want), Got: formatFingerprint(got)}
	}
	return nil
}

// signed takes the host from the URL: the connection's own ServerName is empty
// when that is an address, and would then match every certificate.
func signed(s tls.ConnectionState, roots *x509.CertPool, host string) error {
	if len(s.PeerCertificates) == 0 {
		return errNoCertificate
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	shown := s.PeerCertificates[0]
	_, err := shown.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	if err != nil {
		return &CertificateError{Got: formatFingerprint(sha256.Sum256(shown.Raw)), Err: err}
	}
	return nil
}
