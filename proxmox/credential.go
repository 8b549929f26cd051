package proxmox

import (
	"context"
	"sync"

	"cairn/internal/secret"
)

// credential is an API token whose secret is read when it is first needed.
type credential struct {
	id      string
	source  secret.Source
	purpose string
	reader  secret.Reader

	mu    sync.Mutex // held while it is read, so that a person is asked once
	value secret.Secret
}

func newCredential(id string, source secret.Source, purpose string, reader secret.Reader) *credential {
	return &credential{id: id, source: source, purpose: purpose, reader: reader}
}

// header is the value of the Authorization header.
func (c *credential) header(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.value.Empty() {
		v, err := c.reader.Read(ctx, c.source, c.purpose)
		if err != nil {
			return "", err
		}
		c.value = v
	}
	return "PVEAPIToken=" + c.id + "=" + c.value.Reveal(), nil
}

// forget makes the next call read the secret again: the server refused it, and
// it may have been mistyped, or replaced since.
func (c *credential) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = secret.Secret{}
}
