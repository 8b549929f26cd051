package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// bridges are the types to try, the commonest first. scsi is none of them: through
// a bridge it answers with a temperature of 0 and no SMART.
var bridges = []string{"sat", "sntjmicron", "sntasmedia", "sntrealtek", "sat,12", "nvme", "ata"}

// Detected is how SMART of the mounted disk can be read.
type Detected struct {
	Device  string // by its name in /dev/disk/by-id where there is one
	Type    string
	Bridge  string // of Bridges; empty: it is behind none
	Model   string
	PowerOn time.Duration
}

// Tried is a type that was tried, and what came of it.
type Tried struct{ Type, Said string }

// Detect tries which type of bridge SMART of the mounted disk is read through. It
// is for a person who asked for it: probing resets some bridges, so no survey does
// it, and what it finds is to be configured. The error says that none fits.
func (c *Client) Detect(ctx context.Context) (Detected, []Tried, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, _, mounted, err := c.find(ctx)
	switch {
	case err != nil:
		return Detected{}, nil, fmt.Errorf("disk.%s: %w", c.name, err)
	case !mounted:
		return Detected{}, nil, fmt.Errorf("disk.%s: nothing is mounted on %s; plug the disk in and mount it", c.name, c.cfg.Mount)
	}
	d := deviceOf(m)
	if d.gone || d.disk == "" {
		return Detected{}, nil, fmt.Errorf("disk.%s: %s has no disk that could be asked", c.name, m.source)
	}
	path := filepath.Join("/dev", d.disk)
	var tried []Tried
	for _, kind := range bridges {
		limited, cancel := context.WithTimeoutCause(ctx, smartLimit, fmt.Errorf("smartctl did not end within %s", smartLimit))
		h := poll(limited, path, Unit{Smart: &Smart{Device: path, Type: kind}}, Health{Wear: -1}, c.now(), false)
		cancel()
		switch {
		case ctx.Err() != nil:
			return Detected{}, tried, context.Cause(ctx)
		case h.Err == "" && !h.Standby && h.Model != "":
			return Detected{Device: byID(d.disk), Type: kind, Bridge: bridgeOf(c.sysfs, d.usb), Model: h.Model, PowerOn: h.PowerOn}, append(tried, Tried{kind, "it answers: " + h.Model}), nil
		case h.Standby:
			return Detected{}, append(tried, Tried{kind, "the disk sleeps"}), errors.New("the disk sleeps, and is not woken: read something from it first")
		case strings.Contains(h.Err, "not installed"):
			return Detected{}, tried, errors.New(h.Err)
		}
		tried = append(tried, Tried{kind, h.Err})
	}
	return Detected{}, tried, fmt.Errorf("none of %s reads SMART of %s: its bridge may not pass it on, or this user may not ask (run cairn as root)", strings.Join(bridges, ", "), path)
}

// byID returns the lasting name of a whole disk, or /dev/NAME where udev keeps none.
func byID(name string) string {
	const dir = "/dev/disk/by-id"
	links, _ := os.ReadDir(dir)
	for _, l := range links {
		if to, err := os.Readlink(filepath.Join(dir, l.Name())); err == nil && filepath.Base(to) == name && !strings.HasPrefix(l.Name(), "wwn-") {
			return filepath.Join(dir, l.Name())
		}
	}
	return filepath.Join("/dev", name)
}
