package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cairn/internal/lab/pbs"
	"cairn/internal/testkit"
)

// labHalf is a host on which one half of the lab is made anew by printed commands.
// What exists on a real Proxmox host only is done to the lab's new server; all
// other commands are the system's own, in a mount namespace in which /etc, /root
// and /srv are the new host's.
type labHalf struct {
	*bench
	dir    string // etc, root, srv, bin
	server *httptest.Server
	called []string
}

// halfCommands exist on Proxmox hosts, or reach another host.
var halfCommands = []string{"proxmox-backup-manager", "pvesm", "qmrestore", "pct", "qm", "systemctl", "ssh", "scp", "apt-get", "pvecm", "ha-manager"}

func newHalf(t *testing.T, b *bench) *labHalf {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, for a mount namespace with an /etc of its own")
	}
	testkit.Program(t, "unshare")
	h := &labHalf{bench: b, dir: t.TempDir()}
	for _, sub := range []string{"root", "srv", "bin"} {
		must(t, os.Mkdir(filepath.Join(h.dir, sub), 0o755))
	}
	if out, err := exec.Command("cp", "-a", "/etc", h.dir).CombinedOutput(); err != nil {
		t.Fatalf("copying /etc: %v: %s", err, out)
	}
	for _, sub := range []string{"pve", "proxmox-backup"} {
		must(t, os.RemoveAll(filepath.Join(h.dir, "etc", sub)))
		must(t, os.Mkdir(filepath.Join(h.dir, "etc", sub), 0o755))
	}
	self, err := os.Executable()
	must(t, err)
	for _, name := range halfCommands {
		must(t, os.Symlink(self, filepath.Join(h.dir, "bin", name)))
	}
	h.server = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(h.server.Close)
	return h
}

// run runs printed commands; typed is what a person types.
func (h *labHalf) run(printed, typed string) string {
	h.t.Helper()
	script := write(h.t, filepath.Join(h.dir, "printed.sh"), printed)
	before := fmt.Sprintf("set -e\nfor d in etc root srv; do mount --bind %[1]s/$d /$d; done\ncd /\nexec bash --norc -e %[2]s", h.dir, script)
	c := exec.CommandContext(h.t.Context(), "unshare", "--mount", "bash", "--norc", "-c", before)
	c.Stdin = strings.NewReader(typed)
	c.Env = []string{"PATH=" + filepath.Join(h.dir, "bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", envHalf + "=" + h.server.URL,
		"RESTIC_CACHE_DIR=" + filepath.Join(h.dir, "cache")}
	out, err := c.CombinedOutput()
	if err != nil {
		h.t.Fatalf("the printed commands end with %v:\n%s\nthey were:\n%s", err, out, printed)
	}
	return string(out)
}

const envHalf = "CAIRN_LAB_HALF"

// halfCommand is the stand-in's side: ssh and scp do here what they would do over
// there, all others are done by the test that holds the lab.
func halfCommand(argv []string) int {
	name, args := filepath.Base(argv[0]), argv[1:]
	local := func(command ...string) int {
		c := exec.Command(command[0], command[1:]...)
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return 1
		}
		return 0
	}
	switch name {
	case "ssh":
		return local("sh", "-c", strings.Join(args[1:], " "))
	case "scp":
		_, from, _ := strings.Cut(args[1], ":")
		return local("cp", "-r", from, args[2])
	case "apt-get":
		return 0
	}
	body, err := json.Marshal(append([]string{name}, args...))
	if err != nil {
		return 70
	}
	resp, err := http.Post(os.Getenv(envHalf), "application/json", bytes.NewReader(body))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 70
	}
	defer resp.Body.Close()
	out := io.Writer(os.Stdout)
	if resp.StatusCode != http.StatusOK {
		out = os.Stderr
	}
	_, _ = io.Copy(out, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return 255
	}
	return 0
}

func (h *labHalf) serve(w http.ResponseWriter, r *http.Request) {
	var argv []string
	err := json.NewDecoder(r.Body).Decode(&argv)
	out := ""
	if err == nil {
		h.called = append(h.called, strings.Join(argv, " "))
		out, err = h.do(argv[0], argv[1:])
	}
	if err != nil {
		w.WriteHeader(http.StatusTeapot)
		out = err.Error() + "\n"
	}
	_, _ = io.WriteString(w, out)
}

func (h *labHalf) do(name string, args []string) (string, error) {
	plain, flags := flagsOf(args)
	word := strings.Join(plain, " ")
	switch {
	case name == "systemctl" && word == "restart proxmox-backup proxmox-backup-proxy":
		return "", h.lab.PBS.Adopt(h.files("etc", "proxmox-backup"))
	case name == "proxmox-backup-manager":
		return h.manage(plain, flags)
	case name == "pvesm" && word == "status":
		h.lab.PVE.Adopt(h.files("etc", "pve"))
		return h.api("GET", "/nodes/pve1/storage", nil)
	case name == "pvesm" && len(plain) == 2 && plain[0] == "set":
		return h.api("PUT", "/storage/"+plain[1], flags)
	case name == "qmrestore" && len(plain) == 2:
		flags["archive"], flags["vmid"] = plain[0], plain[1]
		return h.task("POST", h.node(plain[1])+"/qemu", flags)
	case name == "pct" && len(plain) == 3 && plain[0] == "restore":
		flags["ostemplate"], flags["vmid"], flags["restore"] = plain[2], plain[1], "1"
		return h.task("POST", h.node(plain[1])+"/lxc", flags)
	case name == "pvecm" && word == "expected 1":
		h.lab.PVE.Quorum(true)
		return "", nil
	case name == "pvecm" && len(plain) == 2 && plain[0] == "delnode":
		return "", h.lab.PVE.DelNode(plain[1])
	case name == "ha-manager" && len(plain) == 2 && plain[0] == "remove":
		return h.api("DELETE", "/cluster/ha/resources/"+plain[1], nil)
	case name == "qm" && len(plain) == 2 && plain[0] == "config":
		return h.configured(plain[1])
	case name == "qm" && len(plain) == 2 && plain[0] == "set":
		return h.api("PUT", h.node(plain[1])+"/qemu/"+plain[1]+"/config", flags)
	case name == "qm" && len(plain) == 2 && plain[0] == "start":
		return h.task("POST", h.node(plain[1])+"/qemu/"+plain[1]+"/status/start", nil)
	case name == "pct" && len(plain) == 2 && plain[0] == "start":
		return h.task("POST", h.node(plain[1])+"/lxc/"+plain[1]+"/status/start", nil)
	}
	return "", fmt.Errorf("no such command or wrong arguments: %s %v", name, args)
}

// configured is a guest's configuration as qm config prints it.
func (h *labHalf) configured(vmid string) (string, error) {
	text, err := h.api("GET", h.node(vmid)+"/qemu/"+vmid+"/config", nil)
	if err != nil {
		return "", err
	}
	var config map[string]any
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return "", err
	}
	var out strings.Builder
	for key, value := range config {
		fmt.Fprintf(&out, "%s: %v\n", key, value)
	}
	return out.String(), nil
}

// node is where a guest's commands are typed: the lab's cluster has two, each with
// the storage of its own guests.
func (h *labHalf) node(vmid string) string {
	if strings.Contains("102 103 106 107 108", vmid) {
		return "/nodes/pve2"
	}
	return "/nodes/pve1"
}

func (h *labHalf) manage(plain []string, flags map[string]string) (string, error) {
	var err error
	switch strings.Join(plain[:2], " ") {
	case "verify usb": // the test reads every chunk itself
		_, err = pbs.TakeOver("usb", filepath.Join(h.lab.USB(), "pbs"), backupUser)
		return "TASK OK\n", err
	case "datastore create":
		if flags["reuse-datastore"] != "true" {
			return "", fmt.Errorf("Error: datastore path '%s' is not empty", plain[3])
		}
		h.lab.PBS.Change(func(w *pbs.World) {
			if w.Store(plain[2]) != nil {
				err = fmt.Errorf("Error: datastore '%s' already exists", plain[2])
				return
			}
			var d *pbs.Datastore
			if d, err = pbs.Reuse(plain[2], plain[3]); err == nil {
				d.Mount, d.Total, d.Used = pbs.Mounted, 1<<40, 1<<38
				w.Datastores = append(w.Datastores, d)
			}
		})
		return "", err
	case "datastore update":
		h.lab.PBS.Change(func(w *pbs.World) {
			d := w.Store(plain[2])
			if d == nil {
				err = fmt.Errorf("Error: no such datastore '%s'", plain[2])
				return
			}
			d.GC.Schedule = flags["gc-schedule"]
		})
		return "", err
	case "cert info":
		return "Subject: O = Proxmox Backup Server\nFingerprint (sha256): " + strings.ToLower(h.lab.PBS.Fingerprint()) + "\n", nil
	}
	return "", fmt.Errorf("Error: no such command %q", plain)
}

// files are those below a directory of the new host, by their paths.
func (h *labHalf) files(parts ...string) map[string]string {
	root := filepath.Join(append([]string{h.dir}, parts...)...)
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		all[name] = string(text)
		return err
	})
	must(h.t, err)
	return all
}

// api makes a call as root on the node.
func (h *labHalf) api(method, path string, params map[string]string) (string, error) {
	data, err := h.lab.PVE.Root(method, path, params)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(data)
	return string(text) + "\n", err
}

// task makes a call and waits for its task's end, as the command line does.
func (h *labHalf) task(method, path string, params map[string]string) (string, error) {
	data, err := h.lab.PVE.Root(method, path, params)
	if err != nil {
		return "", err
	}
	upid := fmt.Sprint(data)
	exit := ""
	testkit.Until(h.t, limit, "the task ends", func() bool {
		text, err := h.api("GET", "/nodes/"+strings.Split(upid, ":")[1]+"/tasks/"+upid+"/status", nil)
		var now struct{ Status, ExitStatus string }
		if err != nil || json.Unmarshal([]byte(text), &now) != nil {
			return false
		}
		exit = now.ExitStatus
		return now.Status == "stopped"
	})
	if exit != "OK" && !strings.HasPrefix(exit, "WARNINGS") {
		return "", errors.New(exit)
	}
	return "TASK " + exit + "\n", nil
}
