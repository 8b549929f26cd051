package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	gopsutil "github.com/shirou/gopsutil/v3/disk"
)

const (
	// SurveyLimit is how long a survey may take.
	SurveyLimit = 20 * time.Second

	briefly = 5 * time.Second // for what a living disk answers at once
	stuck   = 5 * time.Minute // a write that has not ended by then never will
)

// Client watches one medium: a mount point and the disks that may be there.
type Client struct {
	name  string
	cfg   Config
	now   func() time.Time
	limit time.Duration

	files, writes, health guard // what must not run twice

	mu      sync.Mutex // held through a survey
	known   *known
	memory  map[string]Health // by configured name of the disk
	bridges Bridges
	sysfs   string
	unended time.Time // since when a try to write has not ended; zero: none
}

// known is the disk that was found at the mount point the last time. It tells
// the disk's names when it is gone. While it is there it is identified anew each
// time: the kernel gives the same ids to the next mount.
type known struct {
	mount  int
	device device
	id     identity
}

// New returns a client of the medium in [disk.NAME]. It starts nothing.
func New(name string, cfg Config) *Client {
	return &Client{name: name, cfg: cfg, now: time.Now, limit: SurveyLimit,
		files: newGuard(), writes: newGuard(), health: newGuard(), memory: map[string]Health{}, sysfs: sysfs}
}

// Recall gives the client what SMART said of the configured disk unit before,
// such as in the run of another process: a disk is not asked more often than
// every SmartEvery, and what rose since is told.
func (c *Client) Recall(unit string, h Health) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.memory[unit]; !ok || old.At.Before(h.At) {
		c.memory[unit] = h
	}
}

// Survey looks at the medium. A disk that is absent, foreign or dead is a fact
// and no error; an error is only that the system could not be asked.
func (c *Client) Survey(ctx context.Context) (Facts, error) { return c.survey(ctx, true) }

// Glance is a survey that asks neither SMART nor the kernel's log: it tells whether
// the right disk is there and takes writes, also in the middle of a backup.
func (c *Client) Glance(ctx context.Context) (Facts, error) { return c.survey(ctx, false) }

func (c *Client) survey(ctx context.Context, thorough bool) (Facts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	caller := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, c.limit, errors.New("the time limit of a survey"))
	defer cancel()
	facts := Facts{Name: c.name, Mount: c.cfg.Mount, ErrorsCount: -1, Smart: Health{Wear: -1}}
	m, all, mounted, err := c.find(ctx)
	if err != nil {
		return facts, fmt.Errorf("disk.%s: %w", c.name, err)
	}
	facts.Mounted = mounted
	if !mounted {
		c.describeAbsence(ctx, &facts, all)
		return facts, nil
	}
	facts.Device, facts.FSType = m.source, m.fstype
	d := c.identity(ctx, m, &facts)
	asked := func(bool) Health { return Health{Wear: -1, Err: "it was not asked"} }
	if thorough {
		asked = c.askSmart(ctx, facts.Unit, d)
	}
	if !d.gone {
		c.look(ctx, m, d, &facts)
	} else {
		facts.ReadOnly = fmt.Sprintf("its device %s has left the system; what is written there is lost", m.source)
	}
	if thorough {
		c.kernel(ctx, d, &facts)
	}
	facts.Smart = asked(facts.Writable)
	return facts, caller.Err() // that the disk did not answer in time is in the facts
}

// find returns what is mounted at the mount point. An automount is triggered:
// it mounts when somebody looks.
func (c *Client) find(ctx context.Context) (m mount, all []mount, mounted bool, err error) {
	brief, cancel := context.WithTimeout(ctx, briefly)
	defer cancel()
	path, err := start(brief, c.files, func() (string, error) {
		path, err := filepath.EvalSymlinks(c.cfg.Mount)
		if err != nil {
			path = filepath.Clean(c.cfg.Mount)
		}
		return path, nil
	})()
	if err != nil {
		path = filepath.Clean(c.cfg.Mount) // mountinfo answers whatever the disk does
	}
	for range 2 {
		if all, err = readMounts(); err != nil {
			return m, nil, false, err
		}
		if m, mounted = at(all, path); !mounted || m.fstype != "autofs" {
			break
		}
		_, _ = start(brief, c.files, func() (bool, error) {
			_, err := os.ReadDir(path)
			return true, err
		})()
	}
	return m, all, mounted && m.fstype != "autofs", nil
}

func (c *Client) describeAbsence(ctx context.Context, facts *Facts, all []mount) {
	facts.Smart.Err = "no disk is mounted"
	path := filepath.Clean(c.cfg.Mount)
	stray, err := start(ctx, c.files, func() (bool, error) {
		entries, err := os.ReadDir(path)
		return slices.ContainsFunc(entries, holdsData), err
	})()
	facts.Stray = stray
	m, ok := below(all, path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		facts.Below = "a directory that does not exist"
	case ok:
		facts.Below = fmt.Sprintf("a directory on %s (%s)", m.point, m.source)
	case err == nil: // in a chroot the root itself is no mount that we could see
		facts.Below = "a directory on /"
	}
	facts.Attached, _ = start(ctx, c.files, func() ([]string, error) { return attached(ctx, c.cfg.Disks), nil })()
}

// holdsData says whether an entry of an unmounted mount point is more than an
// empty file, with which some mark it.
func holdsData(e os.DirEntry) bool {
	info, err := e.Info()
	return err == nil && (!info.Mode().IsRegular() || info.Size() > 0)
}

// identity finds out which disk is mounted.
func (c *Client) identity(ctx context.Context, m mount, facts *Facts) device {
	now := deviceOf(m)
	if c.known == nil || c.known.mount != m.id || !now.gone {
		c.known = &known{mount: m.id, device: now}
	}
	k := c.known
	k.device.gone = now.gone
	facts.DeviceGone = now.gone
	if !now.gone && now.name != "" {
		serials := slices.ContainsFunc(c.cfg.Disks, func(u Unit) bool { return u.Serial != "" })
		brief, cancel := context.WithTimeoutCause(ctx, briefly, fmt.Errorf("%s does not answer", m.source))
		defer cancel()
		id, err := start(brief, c.files, func() (identity, error) { return identify(brief, k.device, serials) })()
		k.id = id
		if err != nil {
			facts.Unidentified = err.Error()
		}
	}
	facts.UUID, facts.Serial = k.id.uuid, strings.Join(k.id.serials, ", ")
	unit, ok := unitOf(c.cfg.Disks, k.id)
	facts.Unit = unit.Name
	switch {
	case ok:
		facts.Unidentified = ""
	case len(c.cfg.Disks) == 0:
	case !k.id.empty():
		facts.Foreign = facts.Unidentified == ""
	case facts.Unidentified == "" && !k.device.gone:
		facts.Unidentified = fmt.Sprintf("%s (%s) has no UUID that could be read", m.source, m.fstype)
	}
	return k.device
}

// look reads the fill level and the error counter, and tries to write.
func (c *Client) look(ctx context.Context, m mount, d device, facts *Facts) {
	facts.ErrorsCount = extErrors(m, d)
	usage := start(ctx, c.files, func() (*gopsutil.UsageStat, error) { return gopsutil.UsageWithContext(ctx, m.point) })
	facts.ReadOnly = m.readOnly()
	if facts.ReadOnly == "" {
		c.write(ctx, m, facts)
	}
	u, err := usage()
	if err != nil {
		if facts.ReadOnly == "" {
			facts.Writable, facts.ReadOnly = false, "the file system does not answer: "+err.Error()
		}
		return
	}
	facts.Total, facts.Used, facts.Available = int64(u.Total), int64(u.Used), int64(u.Free)
	facts.Inodes, facts.InodesFree = int64(u.InodesTotal), int64(u.InodesFree)
}

// write tries to write, but never to a disk that is not ours.
func (c *Client) write(ctx context.Context, m mount, facts *Facts) {
	if facts.Foreign {
		facts.Unprobed = "whether it takes writes was not tried: it is not one of the configured disks"
		return
	}
	limited, cancel := context.WithTimeout(ctx, probeLimit+2*time.Second)
	defer cancel()
	p, err := start(limited, c.writes, func() (probe, error) { return try(limited, m.point) })()
	if err == nil {
		c.unended = time.Time{}
	} else if ctx.Err() != nil {
		p = probe{unknown: "whether it takes writes could not be tried: there was no time left"}
	} else {
		p = c.hung()
	}
	facts.Writable, facts.ReadOnly, facts.Unprobed = p.writable, p.readOnly, p.unknown
}

// hung judges a write that does not end: a disk may just be very busy.
func (c *Client) hung() probe {
	now := c.now()
	if c.unended.IsZero() {
		c.unended = now
	}
	if since := now.Sub(c.unended); since >= stuck {
		return probe{readOnly: fmt.Sprintf("writing and syncing 4 KiB has not ended since %s", since.Round(time.Second))}
	}
	return busy()
}

// extErrors reads how many errors ext4 has noted in the file system, -1 where
// there is no such counter.
func extErrors(m mount, d device) int64 {
	if m.fstype != "ext4" && m.fstype != "ext3" && m.fstype != "ext2" {
		return -1
	}
	text, err := os.ReadFile(filepath.Join(sysfs, "fs/ext4", d.name, "errors_count"))
	if err != nil {
		return -1
	}
	n := int64(-1)
	if _, err := fmt.Sscan(string(text), &n); err != nil {
		return -1
	}
	return n
}

func (c *Client) kernel(ctx context.Context, d device, facts *Facts) {
	records, err := readKernel(ctx)
	if err != nil {
		facts.KernelErr = err.Error()
		return
	}
	facts.Kernel = troubles(records, d, facts.UUID)
}
