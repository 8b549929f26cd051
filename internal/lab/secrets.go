package lab

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
)

// makeSecrets makes the lab's passwords, each in a file of its own.
func (l *Lab) makeSecrets() error {
	if err := os.Mkdir(l.dir.at("secrets"), 0o700); err != nil {
		return fmt.Errorf("making secrets: %w", err)
	}
	l.secrets = map[string]string{}
	for _, name := range []string{"pve-read", "pve-act", "pbs-read", "pbs-act", "pg", "pg-act"} {
		l.secrets[name] = randomHex(16)
		if err := os.WriteFile(l.secretFile(name), []byte(l.secrets[name]+"\n"), 0o600); err != nil {
			return fmt.Errorf("making secrets: %w", err)
		}
	}
	return nil
}

func (l *Lab) secret(name string) string { return l.secrets[name] }

func (l *Lab) secretFile(name string) string { return l.dir.at("secrets", name) }

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
