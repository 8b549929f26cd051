package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"cairn/internal/command"
)

const (
	// SmartEvery is how often a disk is asked at most: some USB bridges reset
	// under it.
	SmartEvery = 30 * time.Minute
	smartLimit = 15 * time.Second
	// asleepFor is how long a disk is believed to sleep that takes writes meanwhile:
	// some SSDs, and some bridges, say so at all times.
	asleepFor = 12 * time.Hour
)

// askSmart starts asking the mounted disk, and returns how to wait for it, told
// whether the disk has just taken a write: then it is awake, whatever it says, and
// asking wakes nothing.
func (c *Client) askSmart(ctx context.Context, name string, d device) func(awake bool) Health {
	settled := func(h Health) func(bool) Health { return func(bool) Health { return h } }
	unit, why := c.smartUnit(name, d)
	if why != "" {
		return settled(Health{Wear: -1, Err: why})
	}
	old, asked := c.memory[unit.Name]
	tried := old.tried
	if tried.IsZero() {
		tried = old.At
	}
	if asked && c.now().Sub(tried) < SmartEvery {
		return settled(old)
	}
	if !asked {
		old.Wear = -1
	}
	path := unit.Smart.Device
	if path == "" {
		path = filepath.Join("/dev", d.disk)
	}
	limited, cancel := context.WithTimeoutCause(ctx, smartLimit, fmt.Errorf("smartctl did not end within %s", smartLimit))
	now := c.now()
	ask := func(sleeping bool) func() (Health, error) {
		return start(limited, c.health, func() (Health, error) { return poll(limited, path, unit, old, now, sleeping), nil })
	}
	wait := ask(false)
	return func(awake bool) Health {
		defer cancel()
		h, err := wait()
		if err == nil && h.Standby && awake && now.Sub(h.At) > asleepFor {
			h, err = ask(true)()
		}
		if err != nil {
			h = old
			h.Err = fmt.Sprintf("%s: %v; the USB bridge may not stand it, see smart in [disk.%s]", path, err, c.name)
		}
		if other := c.serialOfAnother(unit, h.Serial); h.Err == "" && other != "" {
			h.Err = fmt.Sprintf("%s is disk %s, not %s; correct device in smart", path, other, unit.Name)
		}
		h.tried = now
		c.memory[unit.Name] = h
		return h
	}
}

// serialOfAnother returns the name of the other configured disk that has this
// serial number. One that is of none may be the disk's, where the configured
// one is its bridge's.
func (c *Client) serialOfAnother(unit Unit, serial string) string {
	for _, u := range c.cfg.Disks {
		if u.Name != unit.Name && serial != "" && strings.EqualFold(u.Serial, serial) && !strings.EqualFold(unit.Serial, serial) {
			return u.Name
		}
	}
	return ""
}

// smartUnit returns the disk to ask, or why none is asked.
func (c *Client) smartUnit(name string, d device) (Unit, string) {
	for _, u := range c.cfg.Disks {
		if u.Name != name || name == "" {
			continue
		}
		if kind := c.bridges[bridgeOf(c.sysfs, d.usb)]; u.Smart == nil && kind != "" {
			u.Smart = &Smart{Type: kind}
		}
		if u.Smart == nil {
			return u, fmt.Sprintf(`SMART is not configured; cairn disk detect %[2]s finds how, or set smart = { device = "/dev/disk/by-id/…", type = "sat" } for disk %[1]s in [disk.%[2]s]`, u.Name, c.name)
		}
		return u, ""
	}
	return Unit{}, "no configured disk is mounted"
}

// poll runs smartctl. It does not wake a disk that sleeps, unless sleeping ones are to
// be asked too. The last self-test (-c) stands in what is read anyway.
func poll(ctx context.Context, path string, unit Unit, old Health, now time.Time, sleeping bool) Health {
	argv := []string{"smartctl", "--json", "-i", "-H", "-c", "-A", "-l", "error"}
	if !sleeping {
		argv = append(argv, "-n", "standby,3")
	}
	if unit.Smart.Type != "" {
		argv = append(argv, "-d", unit.Smart.Type)
	}
	r, err := command.Run(ctx, command.Spec{Argv: append(argv, "--", path), Grace: time.Second})
	var exit *command.ExitError
	if err != nil && !errors.As(err, &exit) {
		old.Err = unasked(ctx, path, err)
		return old
	}
	h := judgeSmart(r.Stdout, r.Code, old, now)
	if h.Err != "" {
		h.Err = path + ": " + h.Err + smartHint(h.Err, path, unit)
	}
	return h
}

// unasked says why smartctl did not come to an end.
func unasked(ctx context.Context, path string, err error) string {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return "smartctl is not installed; apt install smartmontools"
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Sprintf("%s: %v", path, err)
}

// smartHint says what to do about it. smartctl calls a bridge unknown also when
// it may not open the disk, and gives no reason at all when it lacks a capability.
func smartHint(why, path string, unit Unit) string {
	f, err := os.Open(path)
	if err == nil {
		_ = f.Close()
	}
	lower := strings.ToLower(why)
	switch {
	case errors.Is(err, fs.ErrPermission) || strings.Contains(lower, "permission denied"):
		return "; this user may not open it: run cairn as root, or give it group disk and CAP_SYS_RAWIO"
	case errors.Is(err, fs.ErrNotExist), strings.Contains(lower, "no such device"), strings.Contains(lower, "no such file"):
		return "; check device in smart, by its name in /dev/disk/by-id"
	case os.Geteuid() != 0 && strings.Contains(why, "no reason"):
		return "; without CAP_SYS_RAWIO the disk cannot be asked: run cairn as root"
	case unit.Smart.Type == "":
		return "; set type in smart: sat, sntjmicron, sntasmedia or sntrealtek, as the USB bridge needs"
	case strings.Contains(why, "no reason"), strings.Contains(lower, "unsupported scsi opcode"), strings.Contains(lower, "unknown usb bridge"), strings.Contains(why, "passes"):
		return fmt.Sprintf("; type %q does not suit the USB bridge: try sat, sntjmicron, sntasmedia or sntrealtek", unit.Smart.Type)
	}
	return ""
}

// riseShown is how long a counter that rose is told.
const riseShown = 7 * 24 * time.Hour

// count notes a counter and when it rose.
func (h *Health) count(old Health, name string, value int64, now time.Time) {
	c := Counter{Value: value, Before: value}
	if before, ok := old.Counters[name]; ok {
		c.Before, c.Rose = before.Before, before.Rose
		if value > before.Value {
			c.Before, c.Rose = before.Value, now
		}
	}
	if h.Counters == nil {
		h.Counters = map[string]Counter{}
	}
	h.Counters[name] = c
}

func (c Counter) rose(now time.Time) bool { return !c.Rose.IsZero() && now.Sub(c.Rose) < riseShown }
