package proxmox

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/plan"
)

// Loss says in one sentence what going back to the backup gives up.
func (p RestorePoint) Loss(now time.Time) string {
	if p.Taken.IsZero() || p.Taken.After(now) {
		return "everything the guest wrote since the backup, whose time is not known"
	}
	return fmt.Sprintf("everything the guest wrote in the %s since its backup of %s", backup.Age(now.Sub(p.Taken)), p.Taken.UTC().Format("2006-01-02 15:04 UTC"))
}

// RestoreBlockers are the reasons why a restore must not begin, and what a person
// should know of one that may. It is pure: the facts are all it knows.
func RestoreBlockers(f RestoreFacts) (blockers []plan.Blocker, notes []string) {
	if !f.Online() {
		return []plan.Blocker{{Subject: "node " + f.Node, Why: "it is offline or no member of the cluster, so that it cannot restore anything", Hint: "bring it back, or choose another with --node: " + f.otherNodes()}}, nil
	}
	blockers = append(blockers, f.pointBlockers()...)
	blockers = append(blockers, f.sourceBlockers()...)
	blockers = append(blockers, f.keyBlockers()...)
	blockers = append(blockers, f.placeBlockers()...)
	blockers = append(blockers, f.targetBlockers()...)
	blockers = append(blockers, f.rightsBlockers()...)
	if f.InPlace {
		blockers = append(blockers, f.inPlaceBlockers()...)
	}
	return blockers, f.notes()
}

func (f RestoreFacts) otherNodes() string {
	var names []string
	for _, n := range f.Nodes {
		if n.Online && n.Name != f.Node {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return "there is no other that is online"
	}
	return strings.Join(names, ", ")
}

// pointBlockers are what is wrong with the backup itself.
func (f RestoreFacts) pointBlockers() (blockers []plan.Blocker) {
	block := func(why, hint string) {
		blockers = append(blockers, plan.Blocker{Subject: "backup " + f.Volume, Why: why, Hint: hint})
	}
	switch {
	case !f.Found && f.ArchiveErr != "":
		block("it cannot be looked at ("+f.ArchiveErr+")", "make the storage answer")
		return blockers
	case !f.Found:
		block("it is not there, or the token may not see it", "see cairn restore guest-loss GUEST --points")
		return blockers
	case f.Point.InFlight:
		block("its upload has not ended, or never will: it cannot be restored", "choose an older one with --at")
		return blockers
	case f.Point.Verified == "failed":
		block("its verification failed: some of its data is damaged", "choose another with --at; of this one single files may still be read")
	}
	if f.Archive == nil && f.ArchiveErr != "" {
		block("the configuration inside could not be read: "+f.ArchiveErr, "a restore would fail as well: mend that first, or choose another with --at")
	}
	return blockers
}

// sourceBlockers are what is wrong with the storage that the backup lies on.
func (f RestoreFacts) sourceBlockers() []plan.Blocker {
	subject := "storage " + f.sourceName()
	switch s := f.Source; {
	case s == nil:
		return []plan.Blocker{{Subject: subject, Why: "node " + f.Node + " does not have it", Hint: "choose a node that reaches it with --node, or add the node to the storage"}}
	case !s.Enabled:
		return []plan.Blocker{{Subject: subject, Why: "it is disabled", Hint: "enable it: pvesm set " + s.Name + " --disable 0"}}
	case !s.Active:
		return []plan.Blocker{{Subject: subject, Why: "node " + f.Node + " cannot reach it: it is not active", Hint: "see that its server runs and that the disk of its datastore is plugged in and mounted"}}
	}
	return nil
}

// keyBlockers are what stands in the way of an encrypted backup.
func (f RestoreFacts) keyBlockers() []plan.Blocker {
	p := f.Point
	if !p.Encrypted {
		return nil
	}
	subject, file := "key of "+p.Volume, "/etc/pve/priv/storage/"+f.sourceName()+".enc"
	switch key := f.SourceKey; {
	case key == "":
		return []plan.Blocker{{Subject: subject, Why: "it is encrypted" + withKey(p.Key) + ", and storage " + f.sourceName() + " has no key",
			Hint: "put the key back from where it is kept: it belongs into " + file}}
	case key != "1" && p.Key != "" && !strings.EqualFold(key, p.Key):
		return []plan.Blocker{{Subject: subject, Why: fmt.Sprintf("it is encrypted with key %s, and storage %s has key %s", short(p.Key), f.sourceName(), short(key)),
			Hint: "put the key with that fingerprint into " + file + ", and keep the present one"}}
	}
	return nil
}

func withKey(fingerprint string) string {
	if fingerprint == "" {
		return ""
	}
	return " with key " + short(fingerprint)
}

// short is a fingerprint as PBS shows it: its first eight bytes.
func short(fingerprint string) string {
	if len(fingerprint) > 23 {
		return fingerprint[:23]
	}
	return fingerprint
}

// placeBlockers are who has the new VMID, and what works on either guest.
func (f RestoreFacts) placeBlockers() (blockers []plan.Blocker) {
	if f.Holder != "" {
		blockers = append(blockers, plan.Blocker{Subject: fmt.Sprintf("VMID %d", f.VMID), Why: f.Holder + " has it", Hint: "choose a free one with --vmid, or leave it out"})
	}
	if name := f.archiveName(); !f.InPlace && !f.Again && name != "" && CheckGuestName(name) != nil {
		blockers = append(blockers, plan.Blocker{Subject: "name " + name, Why: "Proxmox VE refuses it", Hint: "give another with --name"})
	}
	for _, t := range f.Tasks {
		if t.VMID() != f.Guest && t.VMID() != f.VMID {
			continue
		}
		switch t.Type {
		case "qmrestore", "vzrestore", "qmcreate", "vzcreate", "qmdestroy", "vzdestroy", "vzdump":
			blockers = append(blockers, plan.Blocker{Subject: fmt.Sprintf("guest %d", t.VMID()), Why: "a task works on it: " + t.Type + ", " + t.UPID, Hint: "wait for its end, or stop it"})
		}
	}
	return blockers
}

func (f RestoreFacts) archiveName() string { return f.Archive.NameOf(f.Point.Kind) }

// targetBlockers are what is wrong with the storages that are written to.
func (f RestoreFacts) targetBlockers() (blockers []plan.Blocker) {
	content := "images"
	if f.Point.Kind == LXC {
		content = "rootdir"
	}
	for _, t := range f.Targets() {
		i := slices.IndexFunc(f.Storages, func(s Storage) bool { return s.Name == t.Name })
		subject := "storage " + t.Name
		other := "choose another with --storage: " + f.holders(content)
		if i < 0 {
			blockers = append(blockers, plan.Blocker{Subject: subject, Why: "node " + f.Node + " does not have it, and the disks would go there", Hint: other})
			continue
		}
		switch s := f.Storages[i]; {
		case !s.Enabled:
			blockers = append(blockers, plan.Blocker{Subject: subject, Why: "it is disabled, and the disks would go there", Hint: other})
		case !s.Active:
			blockers = append(blockers, plan.Blocker{Subject: subject, Why: "it is not active on node " + f.Node + ", and the disks would go there", Hint: other})
		case !slices.Contains(s.Content, content):
			blockers = append(blockers, plan.Blocker{Subject: subject, Why: "it does not take " + content + " (it takes " + strings.Join(s.Content, ", ") + ")", Hint: other})
		default:
			if why := NoRoom(s, t.Bytes, f.Roomy); why != "" {
				blockers = append(blockers, plan.Blocker{Subject: subject, Why: why, Hint: f.roomHint(s, other)})
			}
		}
	}
	return blockers
}

func (f RestoreFacts) holders(content string) string {
	var names []string
	for _, s := range f.Storages {
		if s.Active && s.Enabled && slices.Contains(s.Content, content) {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return "node " + f.Node + " has none"
	}
	return strings.Join(names, ", ")
}

// sparse are the storages on which a disk takes what was written, not its size.
func sparse(s Storage) bool { return s.Type != "lvm" && s.Type != "iscsi" && s.Type != "iscsidirect" }

// NoRoom says why disks of that full size do not fit on a storage; empty: they do.
// roomy: a person says that they are mostly empty. In place what the old disks hold
// is freed, but how much that is shows only then: it is not counted.
func NoRoom(s Storage, need int64, roomy bool) string {
	free, full := s.Available, ""
	if s.Type == "lvmthin" { // a pool that runs full damages every guest on it
		free = max(0, free-int64(float64(s.Total)*(1-fullestData)))
		full = fmt.Sprintf(" below %.0f %%", 100*fullestData)
	}
	switch {
	case s.Meta != nil && ratio(s.Meta.Used, s.Meta.Total) > fullestMeta:
		return fmt.Sprintf("the metadata of thin pool %s is %.0f %% full (limit %.0f %%)", s.Name, 100*ratio(s.Meta.Used, s.Meta.Total), 100*fullestMeta)
	case need <= free, roomy && sparse(s) && free > 0:
		return ""
	}
	return fmt.Sprintf("it has room for %s%s, and the restored disks take up to %s", size(free), full, size(need))
}

func (f RestoreFacts) roomHint(s Storage, other string) string {
	if sparse(s) && s.Available > 0 {
		return "free space, or " + other + "; or, where you know that the disks are mostly empty: --mostly-empty"
	}
	return "free space, or " + other
}

func size(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

// inPlaceBlockers are what forbids to restore over the guest itself.
func (f RestoreFacts) inPlaceBlockers() (blockers []plan.Blocker) {
	g := f.Original
	subject := fmt.Sprintf("guest %d", f.Guest)
	block := func(why, hint string) {
		blockers = append(blockers, plan.Blocker{Subject: subject, Why: why, Hint: hint})
	}
	if g == nil {
		block("there is none to restore over", "leave --in-place out, and give --vmid "+fmt.Sprint(f.Guest)+" to get its VMID back")
		return blockers
	}
	switch {
	case g.Running:
		block("it runs", "shut it down first")
	case g.Lock != "":
		block("it is locked ("+g.Lock+")", LockHint(*g))
	case truth(f.Now["protection"]):
		block("it is protected", "end its protection first: that is what it is for")
	case g.Template:
		block("it is a template", "restore beside it")
	case g.Kind != f.Point.Kind:
		block("it is a "+guestWord(g.Kind)+", and the backup is one of a "+guestWord(f.Point.Kind), "restore beside it")
	case g.Node != f.Node:
		block("it lies on node "+g.Node+", not on "+f.Node, "leave --node out")
	}
	if f.Found && f.Point.Verified != "ok" && f.Point.PBS {
		block("the backup was never verified, and nothing would be left if it turned out damaged", "verify it first, or restore beside the guest")
	}
	return blockers
}

// rightsBlockers are the privileges that the acting token lacks. PVE checks most
// of them at once, and those on bridges in the task only, when the guest is made.
func (f RestoreFacts) rightsBlockers() (blockers []plan.Blocker) {
	need := func(path, what string, anyOf ...string) {
		have := f.Privileges[path]
		if !slices.ContainsFunc(anyOf, func(p string) bool { return have[p] }) {
			blockers = append(blockers, plan.Blocker{Subject: "acting token", Why: "it lacks " + strings.Join(anyOf, " or ") + " on " + path + ", to " + what, Hint: "grant it, to the user and to the token"})
		}
	}
	original, made, source := fmt.Sprintf("/vms/%d", f.Origin()), fmt.Sprintf("/vms/%d", f.VMID), "/storage/"+f.sourceName()
	if !f.Privileges[source]["Datastore.Allocate"] {
		need(original, "read the backup of the guest", "VM.Backup")
		need(source, "read the backup", "Datastore.AllocateSpace", "Datastore.Allocate")
	}
	if f.InPlace {
		need(made, "restore over the guest", "VM.Allocate", "VM.Backup")
	} else if f.Again {
		need(made, "make the guest again", "VM.Allocate")
		need(made, "start it", "VM.PowerMgmt")
	} else {
		need(made, "make the new guest", "VM.Allocate")
		need(made, "give it a name and keep it from starting with the node", "VM.Config.Options")
		need(made, "unplug its network", "VM.Config.Network")
		need(made, "start it", "VM.PowerMgmt")
	}
	if len(f.Mounts()) > 0 {
		need(made, "name the container's volumes, because it has some of the host's", "VM.Config.Disk")
	}
	for _, t := range f.Targets() {
		need("/storage/"+t.Name, "make the disks", "Datastore.AllocateSpace")
	}
	for _, b := range f.Archive.Bridges() {
		need(f.bridgePath(b), "plug the guest into its network", "SDN.Use")
	}
	return blockers
}

// notes are what a person should know of a restore that may begin.
func (f RestoreFacts) notes() (notes []string) {
	p := f.Point
	switch {
	case p.Verified == "ok":
		notes = append(notes, "The backup was verified: every byte of it was read and compared.")
	case p.PBS:
		notes = append(notes, "The backup was never verified: damage would show in the restore only.")
	}
	if p.Encrypted && f.SourceKey == "1" {
		notes = append(notes, "The backup is encrypted"+withKey(p.Key)+"; whether the key of storage "+f.sourceName()+" is that one is not known here.")
	} else if p.Encrypted {
		notes = append(notes, "The backup is encrypted"+withKey(p.Key)+", which storage "+f.sourceName()+" has.")
	}
	if g := f.Original; g != nil && f.archiveName() != "" && g.Name != f.archiveName() {
		notes = append(notes, fmt.Sprintf("The backup holds a guest called %q; guest %d is called %q now.", f.archiveName(), f.Guest, g.Name))
	}
	if f.Origin() != f.Guest {
		notes = append(notes, fmt.Sprintf("The backup was made as VMID %d, before guest %d took its place.", f.Origin(), f.Guest))
	}
	notes = append(notes, f.diskNotes()...)
	if f.Point.Kind == LXC {
		notes = append(notes, f.mountNotes()...)
		if f.privileged() && !f.Privileges["/"]["Sys.Modify"] {
			notes = append(notes, "It is a privileged container: PVE 9 may refuse, in the task, to make one for a token without Sys.Modify on /.")
		}
	}
	if text := (Configuration{}).NotSet(f.Archive, fmt.Sprint(f.VMID)); f.Point.Kind == LXC && text != "" {
		notes = append(notes, text)
	}
	if f.InPlace {
		notes = append(notes, f.forceNotes()...)
	}
	if f.OwnTasks {
		notes = append(notes, "The reading token lacks Sys.Audit on /nodes/"+f.Node+": tasks of others that work on the guest are not seen here.")
	}
	return notes
}

func (f RestoreFacts) diskNotes() (notes []string) {
	for _, d := range f.Archive.Disks(f.Point.Kind) {
		if d.NoBackup && !unusedDisk.MatchString(d.Key) && (f.Point.Kind == QEMU || d.Storage != "") {
			has := "the restored guest does not have it"
			if f.Point.Kind == LXC { // PVE makes all volumes that the configuration names
				has = "the restored container has it empty"
			}
			notes = append(notes, d.Key+" ("+d.Volume+") was left out of the backup: "+has+".")
		}
	}
	for _, d := range f.Disks() {
		if d.Storage == "" {
			notes = append(notes, fmt.Sprintf("%s was a disk of the host (%s): it comes back as a volume on storage %s, and the disk of the host is not written.", d.Key, d.Volume, cmp.Or(f.Storage, hostDisksGoTo)))
		}
	}
	if f.Storage != "" && len(f.Disks()) > 1 && f.Point.Kind == LXC {
		notes = append(notes, "All volumes of the container go to storage "+f.Storage+".")
	}
	for _, t := range f.Targets() {
		for _, s := range f.Storages {
			if s.Name != t.Name {
				continue
			}
			notes = append(notes, fmt.Sprintf("Room: storage %s has %s left, and the restored disks take up to %s%s.", s.Name, size(s.Available), size(t.Bytes), metaRoom(s)))
			if s.Type == "lvmthin" && s.Meta == nil {
				notes = append(notes, "How full the metadata of thin pool "+s.Name+" is could not be read (Sys.Audit on / is needed).")
			}
		}
	}
	return notes
}

// forceNotes say what a restore over a guest destroys: PVE frees the old disks
// before it writes the first byte, and its log does not tell.
func (f RestoreFacts) forceNotes() (notes []string) {
	if len(f.Snapshots) > 0 {
		notes = append(notes, "All snapshots of the guest are destroyed: "+names(f.Snapshots)+".")
	}
	held := f.Disks()
	for _, d := range f.Now.Disks(f.Point.Kind) {
		inArchive := slices.ContainsFunc(held, func(a Disk) bool { return a.Key == d.Key })
		switch {
		case inArchive || d.Storage == "":
		case f.Point.Kind == LXC:
			notes = append(notes, d.Key+" ("+d.Volume+") is not in the backup and is deleted, without a word in the log.")
		case !unusedDisk.MatchString(d.Key):
			notes = append(notes, d.Key+" ("+d.Volume+") is not in the backup: it stays as an unused disk.")
		}
	}
	if f.Point.Kind == LXC {
		return append(notes, "Where the restore fails half-way the container is gone wholly, its configuration with it: the safety backup is what is left.")
	}
	return append(notes, "The old disks are freed before the first byte is read: where the restore fails half-way, an empty VM is left, and the safety backup.")
}
