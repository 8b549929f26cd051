package proxmox

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// CertificateError says that a server showed another certificate than the
// configured one.
type CertificateError struct {
	Server   string   // host name
	Expected []string // SHA-256 fingerprints, as configured
	Seen     string
}

// Error says what was expected and seen, and what to do before trusting it.
func (e *CertificateError) Error() string {
	return fmt.Sprintf("the certificate of %s changed: expected SHA-256 %s, seen %s; compare it on the server itself "+
		"(openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pveproxy-ssl.pem, or pve-ssl.pem where there is none) "+
		"before changing the configuration", e.Server, strings.Join(e.Expected, " or "), e.Seen)
}

// newTrust says which certificates are believed: the pinned ones, else those
// that ca_file signed, else those of the system's authorities.
func newTrust(cfg Config) (*tls.Config, error) {
	// Sessions are resumed because PVE closes many connections after one answer.
	trust := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(64)}
	switch {
	case len(cfg.Fingerprints) > 0:
		pins, err := parsePins(cfg.Fingerprints)
		if err != nil {
			return nil, err
		}
		// PVE's own certificates are signed by no known authority: the pin is the
		// whole proof, checked on resumed sessions too.
		trust.InsecureSkipVerify = true
		trust.VerifyConnection = func(state tls.ConnectionState) error { return checkPin(state, pins, cfg.Fingerprints) }
	case cfg.CAFile != "":
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading ca_file: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no PEM certificate", cfg.CAFile)
		}
	}
	return trust, nil
}

func parsePins(fingerprints []string) ([]string, error) {
	var pins []string
	for _, text := range fingerprints {
		pin := strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(text))
		if raw, err := hex.DecodeString(pin); err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("fingerprint %q is no SHA-256 fingerprint: 64 hex digits, such as AB:CD:…", text)
		}
		pins = append(pins, pin)
	}
	return pins, nil
}

func checkPin(state tls.ConnectionState, pins, shown []string) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	sum := sha256.Sum256(state.PeerCertificates[0].Raw)
	if slices.Contains(pins, hex.EncodeToString(sum[:])) {
		return nil
	}
	return &CertificateError{Server: state.ServerName, Expected: shown, Seen: fingerprint(sum[:])}
}

// fingerprint writes a hash as openssl and PVE do: AB:CD:….
func fingerprint(sum []byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

func newTransport(trust *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig:     trust,
		MaxConnsPerHost:     2 * parallel,
		MaxIdleConnsPerHost: parallel,
		IdleConnTimeout:     time.Minute,
	}
}
