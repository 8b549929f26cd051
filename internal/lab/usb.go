package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cairn/internal/command"
)

const usbSize = 512 << 20 // sparse: it takes what is written

// mountUSB makes the place that stands for the USB SSD: an ext4 image on a loop
// device where that is allowed, else a directory.
func (l *Lab) mountUSB(ctx context.Context) error {
	if err := os.MkdirAll(l.dir.usb(), 0o755); err != nil {
		return fmt.Errorf("making the USB disk: %w", err)
	}
	if l.has(USB) {
		if err := l.loopMount(ctx); err != nil {
			l.note("The USB disk is a plain directory, so its identity and fill are those of the disk below: %v.", err)
		}
	}
	l.uuid = l.usbUUID(ctx)
	for _, name := range []string{"pbs", "restic", "pg"} {
		if err := os.MkdirAll(l.dir.at("usb", name), 0o755); err != nil {
			return fmt.Errorf("making the USB disk: %w", err)
		}
	}
	return nil
}

func (l *Lab) loopMount(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("a loop mount needs root")
	}
	image := l.dir.at("usb.img")
	f, err := os.OpenFile(image, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(usbSize), f.Close()); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"/sbin/mkfs.ext4", "-q", "-F", "-L", "usb", "-m", "0", image},
		{"mount", "-o", "loop,noatime", image, l.dir.usb()}, // the loop device goes with the mount
	} {
		if _, err := command.Run(ctx, command.Spec{Argv: argv}); err != nil {
			return err
		}
	}
	return nil
}

// usbUUID is the UUID of the file system that the USB disk is on; empty when it
// cannot be told.
func (l *Lab) usbUUID(ctx context.Context) string {
	device := deviceOf(l.dir.usb())
	if device == "" {
		return ""
	}
	r, err := command.Run(ctx, command.Spec{Argv: []string{"/sbin/blkid", "-p", "-o", "value", "-s", "UUID", device}})
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(r.Stdout))
}

// deviceOf is the device that the longest mount point above path is on.
func deviceOf(path string) string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	best, device := "", ""
	for _, line := range strings.Split(string(text), "\n") {
		before, after, ok := strings.Cut(line, " - ")
		fields, behind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(behind) < 2 {
			continue
		}
		if inside(path, fields[4]) && len(fields[4]) >= len(best) {
			best, device = fields[4], behind[1]
		}
	}
	return device
}

func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}
