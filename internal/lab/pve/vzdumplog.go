package pve

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// commandLine is the job as its log tells it, the options in random order.
func (d *dump) commandLine() string {
	var parts []string
	for name, value := range d.options {
		switch {
		case name == "vmid":
			continue
		case strings.ContainsAny(value, " {}=,\n'"):
			value = "'" + strings.ReplaceAll(value, "\n", `\n`) + "'"
		}
		parts = append(parts, "--"+name+" "+value)
	}
	rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	ids := splitList(d.options["vmid"])
	return strings.Join(append(append([]string{"vzdump"}, ids...), parts...), " ")
}

// announce logs how the backup will be made.
func (w *worker) announce(d *dump, g *guest) {
	mode := d.options["mode"]
	if mode == "" {
		mode = "snapshot"
	}
	if !g.running {
		mode = "stop"
	}
	plan := func() {
		w.log("INFO: backup mode: %s", mode)
		if n := number(d.options["bwlimit"]); n > 0 {
			w.log("INFO: bandwidth limit: %d KiB/s", n)
		}
		w.log("INFO: ionice priority: 7")
	}
	what := func() {
		w.log("INFO: %s Name: %s", g.word(), g.name())
		for _, key := range liveDisks(g.config) {
			w.announceDisk(g, key)
		}
	}
	if g.running {
		what()
		if g.kind == LXC && mode == "snapshot" && !w.s.canSnapshot(g) {
			w.log("INFO: mode failure - some volumes do not support snapshots")
			w.log("INFO: trying 'suspend' mode instead")
			mode = "suspend"
			plan()
			what()
			w.suspendSync(g)
			return
		}
		plan()
	} else {
		plan()
		what()
	}
	if g.kind == QEMU && len(g.snaps) > 0 {
		w.log("INFO: snapshots found (not included into backup)")
	}
	if g.running && g.kind == LXC && mode == "snapshot" {
		w.log("INFO: create storage snapshot 'vzdump'")
	}
	if g.running && g.kind == QEMU && mode == "stop" {
		w.log("INFO: stopping virtual guest")
	}
}

// suspendSync is how a container is copied whose volumes have no snapshots.
func (w *worker) suspendSync(g *guest) {
	from, to := fmt.Sprintf("/proc/%d/root//", g.pid), fmt.Sprintf("/var/tmp/vzdumptmp%d_%d", w.t.pid, g.vmid)
	w.log("INFO: starting first sync %s to %s", from, to)
	w.log("INFO: first sync finished - transferred 1.00G bytes in 10s")
	w.log("INFO: suspending guest")
	w.log("INFO: starting final sync %s to %s", from, to)
	w.log("INFO: final sync finished - transferred 1.00M bytes in 1s")
	w.log("INFO: resuming guest")
	w.log("INFO: guest is online again after 1 seconds")
}

func (w *worker) announceDisk(g *guest, key string) {
	value := g.config[key]
	in, _ := included(g.kind, key, value)
	switch {
	case g.kind == QEMU && in:
		w.log("INFO: include disk '%s' '%s' %s", key, volumeOf(key, value), option(value, "size"))
	case g.kind == QEMU:
		w.log("INFO: exclude disk '%s' '%s' (backup=no)", key, volumeOf(key, value))
	case in:
		w.log("INFO: including mount point %s ('%s') in backup", key, mountPath(key, value))
	default:
		w.log("INFO: excluding volume mount point %s ('%s') from backup (disabled)", key, mountPath(key, value))
	}
}

func mountPath(key, value string) string {
	if p := option(value, "mp"); p != "" && key != "rootfs" {
		return p
	}
	return "/"
}

// unitText is a size as QEMU's progress gives it.
func unitText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// sizeWord is a size as vzdump gives it.
func sizeWord(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.2fGB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%dMB", n>>20)
	}
	return fmt.Sprintf("%dKB", n>>10)
}
