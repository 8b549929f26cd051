package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/lab/pbs"
)

// The commands of Proxmox that a printed runbook calls exist on its hosts only.
// These stand in for them: they take what the real ones take, refuse what those
// refuse, and work on the datastore that really lies there, with the lab's own
// reader of it. Each call is noted.
var standIns = map[string]func(w *proxmoxHost, args []string) error{
	"proxmox-backup-manager": backupManager,
	"pvesm":                  storageManager,
	"qmrestore":              func(w *proxmoxHost, args []string) error { return w.restore("vm", args) },
	"pct":                    containerTool,
}

const (
	newFingerprint = "0b:1c:2d:3e:4f"
	newPassword    = "the new host's root"
	newServer      = "newnas.lan"
)

// proxmoxHost is what the stand-ins know between two calls.
type proxmoxHost struct {
	Datastores map[string]string    // path by name
	Storages   map[string]pveStored // by name
	Calls      []string
	Failed     []string

	dir string
}

type pveStored struct{ Datastore, Namespace string }

// standInFor runs the stand-in that this program was called as; false: as none.
func standInFor(argv []string) (code int, is bool) {
	if os.Getenv(envHalf) != "" {
		return halfCommand(argv), true
	}
	do, is := standIns[filepath.Base(argv[0])]
	if !is {
		return 0, false
	}
	w := &proxmoxHost{Datastores: map[string]string{}, Storages: map[string]pveStored{}, dir: os.Getenv("CAIRN_STANDIN")}
	if err := w.load(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 70, true
	}
	call := strings.Join(append([]string{filepath.Base(argv[0])}, argv[1:]...), " ")
	w.Calls = append(w.Calls, call)
	err := do(w, argv[1:])
	if err != nil {
		w.Failed = append(w.Failed, call+": "+err.Error())
		fmt.Fprintln(os.Stderr, err)
		code = 255
	}
	if err := w.save(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 70
	}
	return code, true
}

func (w *proxmoxHost) load() error {
	text, err := os.ReadFile(filepath.Join(w.dir, "host.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, w)
}

func (w *proxmoxHost) save() error {
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, "host.json"), text, 0o600)
}

// flags takes "--name value" pairs apart; a flag at the end, or before another,
// has no value.
func flagsOf(args []string) (plain []string, flags map[string]string) {
	flags = map[string]string{}
	for i := 0; i < len(args); i++ {
		name, is := strings.CutPrefix(args[i], "--")
		switch {
		case !is:
			plain = append(plain, args[i])
		case i+1 < len(args) && !strings.HasPrefix(args[i+1], "--"):
			flags[name] = args[i+1]
			i++
		default:
			flags[name] = ""
		}
	}
	return plain, flags
}

// only refuses flags that the real command does not take here.
func only(flags map[string]string, allowed ...string) error {
	for name := range flags {
		if !slices.Contains(allowed, name) {
			return fmt.Errorf("Unknown option: %s", name)
		}
	}
	return nil
}

const backupUser = 34

func backupManager(w *proxmoxHost, args []string) error {
	plain, flags := flagsOf(args)
	switch {
	case len(plain) == 4 && plain[0] == "datastore" && plain[1] == "create":
		if err := only(flags, "reuse-datastore", "comment", "gc-schedule"); err != nil {
			return err
		}
		if flags["reuse-datastore"] != "true" {
			return errors.New("chunk store path already exists")
		}
		if _, err := pbs.TakeOver(plain[2], plain[3], backupUser); err != nil {
			return err
		}
		w.Datastores[plain[2]] = plain[3]
		return nil
	case len(plain) == 2 && plain[0] == "verify":
		d, err := w.open(plain[1])
		if err != nil {
			return err
		}
		for _, s := range d.Snapshots {
			for _, f := range s.Files {
				if _, err := d.Read(s, f.Name); err != nil {
					return fmt.Errorf("verify %s/%s: %w", s.Type, s.ID, err)
				}
			}
		}
		fmt.Println("TASK OK")
		return nil
	case len(plain) >= 3 && (plain[0] == "user" || plain[0] == "acl"):
		return nil
	}
	return fmt.Errorf("no such command or wrong arguments: %q", args)
}

func (w *proxmoxHost) open(datastore string) (*pbs.Datastore, error) {
	path, ok := w.Datastores[datastore]
	if !ok {
		return nil, fmt.Errorf("no such datastore '%s'", datastore)
	}
	return pbs.Reuse(datastore, path)
}

func storageManager(w *proxmoxHost, args []string) error {
	plain, flags := flagsOf(args)
	switch {
	case len(plain) == 3 && plain[0] == "add" && plain[1] == "pbs":
		if err := only(flags, "server", "datastore", "username", "password", "fingerprint", "namespace", "encryption-key"); err != nil {
			return err
		}
		typed, err := bufio.NewReader(oneByte{os.Stdin}).ReadString('\n')
		if err != nil || strings.TrimSpace(typed) != newPassword {
			return fmt.Errorf("authentication failure (%q, %w)", typed, err)
		}
		if flags["server"] != newServer || flags["fingerprint"] != newFingerprint || flags["username"] != "root@pam" {
			return fmt.Errorf("error fetching datastores - 500 Can't connect to %s (%s)", flags["server"], flags["fingerprint"])
		}
		if _, err := w.open(flags["datastore"]); err != nil {
			return err
		}
		w.Storages[plain[2]] = pveStored{flags["datastore"], flags["namespace"]}
		return nil
	case len(plain) == 2 && plain[0] == "list":
		if err := only(flags, "content", "vmid"); err != nil {
			return err
		}
		return w.list(plain[1], flags["vmid"])
	}
	return fmt.Errorf("no such command or wrong arguments: %q", args)
}

// oneByte gives a byte at a time: what is not ours stays for the next to read.
type oneByte struct{ f *os.File }

func (o oneByte) Read(p []byte) (int, error) { return o.f.Read(p[:min(1, len(p))]) }

func (w *proxmoxHost) list(storage, vmid string) error {
	st, ok := w.Storages[storage]
	if !ok {
		return fmt.Errorf("storage '%s' does not exist", storage)
	}
	d, err := w.open(st.Datastore)
	if err != nil {
		return err
	}
	fmt.Println("Volid                                          Format  Type            Size VMID")
	for _, s := range d.Snapshots {
		if s.NS == st.Namespace && s.ID == vmid && !s.InFlight() {
			fmt.Printf("%s:backup/%s/%s/%s pbs-%s backup %d %s\n", storage, s.Type, s.ID, time.Unix(s.Time, 0).UTC().Format("2006-01-02T15:04:05Z"), s.Type, s.Size(), s.ID)
		}
	}
	return nil
}

func containerTool(w *proxmoxHost, args []string) error {
	if len(args) < 3 || args[0] != "restore" {
		return fmt.Errorf("no such command or wrong arguments: %q", args)
	}
	return w.restore("ct", append([]string{args[2], args[1]}, args[3:]...))
}

// restore writes a guest's files below guests/VMID: images as they would lie on a
// disk, other archives by their names.
func (w *proxmoxHost) restore(kind string, args []string) error {
	plain, flags := flagsOf(args)
	if err := only(flags, "storage", "unique", "force"); err != nil {
		return err
	}
	if len(plain) != 2 {
		return fmt.Errorf("400 not enough arguments: %q", args)
	}
	if _, err := strconv.Atoi(plain[1]); err != nil {
		return err
	}
	storage, volume, _ := strings.Cut(plain[0], ":backup/")
	parts := strings.Split(volume, "/")
	st, ok := w.Storages[storage]
	if !ok || len(parts) != 3 || parts[0] != kind {
		return fmt.Errorf("unable to parse PBS volume name '%s'", plain[0])
	}
	at, err := time.Parse(time.RFC3339, parts[2])
	if err != nil {
		return err
	}
	d, err := w.open(st.Datastore)
	if err != nil {
		return err
	}
	s := d.Find(st.Namespace, kind, parts[1], at.Unix())
	if s == nil {
		return fmt.Errorf("volume '%s' does not exist", plain[0])
	}
	dir := filepath.Join(w.dir, "guests", plain[1])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range s.Files {
		if err := w.restoreFile(d, s, f.Name, filepath.Join(dir, f.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (w *proxmoxHost) restoreFile(d *pbs.Datastore, s *pbs.Snapshot, name, to string) error {
	if !strings.HasSuffix(name, ".img.fidx") {
		data, err := d.Read(s, name)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o600)
	}
	f, err := os.Create(strings.TrimSuffix(to, ".fidx"))
	if err != nil {
		return err
	}
	return errors.Join(d.WriteImage(s, name, f), f.Close())
}
