package proxmox

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// The API lists options of LXC itself as pairs, and a backup has a line for each.
func TestOptionsOfLXC(t *testing.T) {
	var c Configuration
	const answer = `{"hostname":"media","rootfs":"thin:vm-103-disk-0,size=8G","memory":"512","lxc":[["lxc.cgroup2.devices.allow","c 226:0 rwm"],["lxc.cgroup2.devices.allow","c 10:200 rwm"],
		["lxc.mount.entry","/tank/media srv/media none bind,create=dir 0 0"],["odd"],7,["x","y"]]}`
	if err := json.Unmarshal([]byte(answer), &c); err != nil {
		t.Fatal(err)
	}
	const text = "hostname: media\nlxc.cgroup2.devices.allow: c 226:0 rwm\nlxc.cgroup2.devices.allow = c 10:200 rwm\n" +
		"lxc.mount.entry: /tank/media srv/media none bind,create=dir 0 0\nmemory: 512\nrootfs: thin:vm-103-disk-0,size=8G\n\n[before]\nlxc.idmap: u 0 0 1\n"
	if changes := Diff(c, parseArchiveConfig(text)); len(changes) != 0 {
		t.Errorf("one and the same: %v", changes)
	}
	if lines := c.LXCOptions(); len(lines) != 3 || lines[1] != "lxc.cgroup2.devices.allow: c 10:200 rwm" {
		t.Errorf("%q", lines)
	}
	if said := (Configuration{"lxc.mount.entry": c["lxc.mount.entry"]}).NotSet(c, "103"); !strings.Contains(said, "c 226:0 rwm; lxc.cgroup2.devices.allow: c 10:200 rwm. ") || strings.Contains(said, "/tank") {
		t.Error(said)
	}
	if said := c.NotSet(c, "103"); said != "" {
		t.Error(said)
	}
}

// What a container keeps in a directory of its host is in no backup of it; devices,
// sockets and what is read only are no data.
func TestDirectoriesOfTheHost(t *testing.T) {
	for entry, want := range map[string]string{
		"/tank/media srv/media none bind,create=dir 0 0":                 "/tank/media",
		"/srv/my\\040files mnt none rbind,optional,create=dir":           "/srv/my files",
		"/dev/sdb1 mnt/usb ext4 defaults 0 0":                            "/dev/sdb1",
		"/dev/dri dev/dri none bind,optional,create=dir":                 "",
		"/dev/net/tun dev/net/tun none bind,create=file":                 "",
		"/var/run/docker.sock run/docker.sock none bind,create=file":     "",
		"/lib/modules lib/modules none ro,bind,optional":                 "",
		"/srv/keys srv/keys none bind,ro,create=dir":                     "",
		"tmpfs tmp tmpfs rw 0 0":                                         "",
		"/srv":                                                           "",
		"":                                                               "",
		"/a a none bind 0 0\n/dev/dri dev/dri none bind\n/b b none bind": "/a /b",
	} {
		g := Guest{Kind: LXC}
		Configuration{"lxc.mount.entry": entry}.apply(&g)
		if got := strings.Join(g.HostMounts, " "); got != want {
			t.Errorf("%q: %q, want %q", entry, got, want)
		}
		Configuration{}.apply(&g)
		if slices.Contains(g.HostMounts, want) {
			t.Errorf("%q stays", entry)
		}
	}
}
