package restic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	lockLimit = 10 * time.Second // a lock that has just gone is waited for by 0.14
	locksRead = 16               // more than these are stale ones in a heap
)

// lockList reads the locks. Each is read once: a lock never changes, its
// holder replaces it.
func (c *Client) lockList(ctx context.Context, facts *Facts, seen glance) error {
	ids := seen.locks
	if c.dir == nil {
		out, err := c.query(ctx, "list", "locks")
		if err != nil {
			return err
		}
		ids = parseIDs(out.stdout)
	}
	known := map[string]Lock{}
	for _, id := range ids {
		lock, ok := c.memory.locks[id]
		if !ok && len(known) >= locksRead {
			facts.Incomplete = append(facts.Incomplete, Incompletion{"locks",
				fmt.Sprintf("%d locks, of which %d were read: most of them must be stale; run restic unlock", len(ids), len(known))})
			break
		}
		if !ok {
			var err error
			switch lock, err = c.readLock(ctx, id); {
			case errors.Is(err, errGone):
				continue
			case err != nil:
				facts.Incomplete = append(facts.Incomplete, Incompletion{"lock " + id[:8], err.Error()})
				continue
			}
		}
		known[id] = lock
		facts.Locks = append(facts.Locks, lock)
	}
	c.memory.locks = known
	slices.SortFunc(facts.Locks, func(a, b Lock) int { return a.Time.Compare(b.Time) })
	return nil
}

var errGone = errors.New("the lock has been released")

func (c *Client) readLock(ctx context.Context, id string) (Lock, error) {
	out, err := c.run(ctx, call{args: c.reading("cat", "lock", id), limit: lockLimit})
	if err != nil {
		said := strings.ToLower(err.Error())
		if strings.Contains(said, "no such file") || strings.Contains(said, "not exist") || strings.Contains(said, "404 not found") {
			return Lock{}, errGone
		}
		return Lock{}, err
	}
	return parseLock(id, out.stdout)
}

// holders looks at the processes that hold the locks, and says whether one of
// them is a backup.
func (c *Client) holders(facts *Facts) {
	now := c.now()
	for i := range facts.Locks {
		l := &facts.Locks[i]
		here := l.Hostname == c.host && l.PID > 0
		l.Dead = here && errors.Is(syscall.Kill(l.PID, 0), syscall.ESRCH)
		if !l.Exclusive && !l.Stale(now) && (!here || writes(l.PID)) {
			facts.Running = true
		}
	}
}

// writes says whether the process may be a restic that writes a snapshot: a
// mount or a restore takes the same lock. One that cannot be read may be.
func writes(pid int) bool {
	argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(argv) == 0 {
		return true
	}
	return slices.ContainsFunc(bytes.Split(argv, []byte{0}), func(arg []byte) bool {
		return string(arg) == "backup" || string(arg) == "copy"
	})
}
