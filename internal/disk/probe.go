package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"cairn/internal/command"
)

const (
	probePrefix = ".cairn-probe-"
	probeLimit  = 10 * time.Second
)

// probe is what the try to write gave.
type probe struct {
	writable bool
	readOnly string // why not
	unknown  string // why it could not be tried
}

// try writes a file in dir, syncs it to the disk and removes it. Only the sync
// shows that a disk takes writes: the kernel accepts the rest for one that was
// pulled. dd does it, in a process that can be killed.
func try(ctx context.Context, dir string) (probe, error) {
	path := filepath.Join(dir, probePrefix+rand.Text())
	limited, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	r, err := command.Run(limited, command.Spec{Argv: []string{"dd", "if=/dev/zero", "of=" + path, "bs=4096", "count=1", "conv=fsync,excl", "status=none"}, Grace: time.Second})
	said := command.LastLine(r.Stderr)
	if !strings.Contains(said, "failed to open") {
		late, stop := context.WithTimeout(context.WithoutCancel(ctx), probeLimit)
		defer stop()
		_, removed := command.Run(late, command.Spec{Argv: []string{"rm", "-f", "--", path}, Grace: time.Second})
		if err == nil && removed != nil {
			return probe{readOnly: "a test file could be written but not removed: " + removed.Error()}, nil
		}
	}
	return judgeProbe(said, err, limited.Err() != nil && ctx.Err() == nil), ctx.Err()
}

// busy is the verdict on a write that did not end in time: no reason yet to
// call the disk dead, as a backup may be flooding it.
func busy() probe {
	return probe{unknown: "writing and syncing 4 KiB did not end within " + probeLimit.String() + ": it is very busy, or failing"}
}

// judgeProbe reads dd's words: "dd: failed to open '/mnt/usb/x': Read-only file system".
func judgeProbe(said string, err error, late bool) probe {
	reason := said[strings.LastIndex(said, ": ")+1:]
	reason = strings.TrimSpace(reason)
	switch {
	case err == nil:
		return probe{writable: true}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return probe{unknown: "whether it takes writes could not be tried: dd is not installed"}
	case late:
		return busy()
	case reason == "Permission denied" || reason == "Operation not permitted":
		return probe{unknown: "whether it takes writes could not be tried: this user may not write to it (" + reason + ")"}
	case reason == "No space left on device" || reason == "Disk quota exceeded":
		return probe{readOnly: "it is full: writing 4 KiB failed (" + reason + ")"}
	case reason == "":
		return probe{readOnly: "writing and syncing 4 KiB failed: " + err.Error()}
	}
	return probe{readOnly: "writing and syncing 4 KiB failed (" + reason + ")"}
}
