package pbs

import "strings"

// group is a backup group: the snapshots of one guest or host.
type group struct {
	Group
	snapshots []*Snapshot
}

// groups returns the groups of a namespace (or of all) by type.
func (d *Datastore) groups(ns string, all bool) map[string][]*group {
	found := map[Group]*group{}
	add := func(g Group) *group {
		key := Group{NS: g.NS, Type: g.Type, ID: g.ID}
		if found[key] == nil {
			found[key] = &group{Group: g}
		}
		return found[key]
	}
	for _, g := range d.EmptyGroups {
		if all || g.NS == ns {
			add(g)
		}
	}
	for _, s := range d.Snapshots {
		if all || s.NS == ns {
			g := add(Group{s.NS, s.Type, s.ID, s.Owner})
			g.snapshots = append(g.snapshots, s)
		}
	}
	byType := map[string][]*group{}
	for _, g := range found {
		byType[g.Type] = append(byType[g.Type], g)
	}
	return byType
}

// visible says whether the caller sees what owner owns: all with
// Datastore.Audit, only its own with Datastore.Backup.
func (c *call) visible(d *Datastore, ns, owner string) bool {
	return c.may(storePath(d.Name, ns), audit) || c.owns(owner)
}

// owns says whether owner is the caller: a token owns what its user owns.
func (c *call) owns(owner string) bool {
	user, _, _ := strings.Cut(c.auth, "!")
	return owner == c.auth || owner == user
}

func listGroups(c *call) (any, error) {
	d, err := c.open(read, audit, backup)
	if err != nil {
		return nil, err
	}
	rows := []object{}
	for kind, groups := range d.groups(c.params["ns"], false) {
		for _, g := range groups {
			if !c.visible(d, g.NS, g.Owner) {
				continue
			}
			row := object{"backup-type": kind, "backup-id": g.ID, "owner": g.Owner, "files": []string{}, "last-backup": 0, "backup-count": 0}
			// The count leaves out what is in flight, the newest time does not.
			var newest *Snapshot
			count := 0
			for _, s := range g.snapshots {
				if !s.InFlight() {
					count++
				}
				if newest == nil || s.Time > newest.Time {
					newest = s
				}
			}
			if newest != nil {
				row["last-backup"], row["files"], row["backup-count"] = newest.Time, newest.fileNames(), count
			}
			rows = append(rows, row)
		}
	}
	return shuffled(rows), nil
}

func (s *Snapshot) fileNames() []string {
	names := []string{}
	for _, f := range s.Files {
		names = append(names, f.Name)
	}
	return names
}

// snapshotRow has a field for each property that a snapshot may have; those
// that a row lacks are left out, not null.
type snapshotRow struct {
	Type         string        `json:"backup-type"`
	ID           string        `json:"backup-id"`
	Time         int64         `json:"backup-time"`
	Comment      string        `json:"comment,omitempty"`
	Verification *verification `json:"verification,omitempty"`
	Fingerprint  string        `json:"fingerprint,omitempty"`
	Files        []fileRow     `json:"files"`
	Size         *int64        `json:"size,omitempty"`
	Owner        string        `json:"owner"`
	Protected    bool          `json:"protected"`
}

type verification struct {
	UPID  string `json:"upid"`
	State string `json:"state"`
}

type fileRow struct {
	Name  string `json:"filename"`
	Crypt string `json:"crypt-mode,omitempty"`
	Size  *int64 `json:"size,omitempty"`
}

func (s *Snapshot) row() snapshotRow {
	row := snapshotRow{
		Type: s.Type, ID: s.ID, Time: s.Time, Comment: s.Comment, Fingerprint: s.Fingerprint,
		Files: make([]fileRow, 0, len(s.Files)), Owner: s.Owner, Protected: s.Protected,
	}
	if s.Verify != "" {
		row.Verification = &verification{s.VerifyUPID, s.Verify}
	}
	inFlight := s.InFlight()
	for i := range s.Files {
		f := fileRow{Name: s.Files[i].Name}
		if !inFlight { // the manifest knows the rest
			f.Crypt, f.Size = s.Files[i].Crypt, &s.Files[i].Size
			if f.Crypt == "" {
				f.Crypt = "none"
			}
		}
		row.Files = append(row.Files, f)
	}
	if !inFlight {
		size := s.Size()
		row.Size = &size
	}
	return row
}

func listSnapshots(c *call) (any, error) {
	d, err := c.open(read, audit, backup)
	if err != nil {
		return nil, err
	}
	ns, kind, id := c.params["ns"], c.params["backup-type"], c.params["backup-id"]
	rows := []snapshotRow{}
	sees := c.may(storePath(d.Name, ns), audit)
	for _, s := range d.Snapshots {
		if s.NS == ns && (kind == "" || s.Type == kind) && (id == "" || s.ID == id) && (sees || c.owns(s.Owner)) {
			rows = append(rows, s.row())
		}
	}
	return shuffled(rows), nil
}

// snapshot finds the one that the parameters name, for one who may do op to it:
// privilege on the datastore, or Datastore.Backup and being its owner.
func (c *call) snapshot(op operation, privileges ...string) (*Datastore, *Snapshot, error) {
	if err := c.required("backup-type", "backup-id", "backup-time"); err != nil {
		return nil, nil, err
	}
	at, err := c.number("backup-time", 0, 1)
	if err != nil {
		return nil, nil, err
	}
	d, err := c.open(op, append(privileges, backup)...)
	if err != nil {
		return nil, nil, err
	}
	ns := c.params["ns"]
	s := d.Find(ns, c.params["backup-type"], c.params["backup-id"], at)
	if s == nil {
		return nil, nil, bad("snapshot %s/%s/%s does not exist", c.params["backup-type"], c.params["backup-id"], rfc3339(at))
	}
	if !c.may(storePath(d.Name, ns), privileges...) && !c.owns(s.Owner) {
		return nil, nil, bad("backup owner check failed (%s != %s)", c.auth, s.Owner)
	}
	return d, s, nil
}

func getProtected(c *call) (any, error) {
	_, s, err := c.snapshot(read, audit)
	if err != nil {
		return nil, err
	}
	return s.Protected, nil
}

func setProtected(c *call) (any, error) {
	if err := c.required("protected"); err != nil {
		return nil, err
	}
	d, s, err := c.snapshot(write, modify)
	if err != nil {
		return nil, err
	}
	protected := c.truth("protected")
	return nil, d.Annotate(s, nil, &protected)
}

func getNotes(c *call) (any, error) {
	_, s, err := c.snapshot(read, audit)
	if err != nil {
		return nil, err
	}
	return s.Comment, nil
}

func setNotes(c *call) (any, error) {
	if err := c.required("notes"); err != nil {
		return nil, err
	}
	d, s, err := c.snapshot(write, modify)
	if err != nil {
		return nil, err
	}
	notes := c.params["notes"]
	return nil, d.Annotate(s, &notes, nil)
}

func deleteSnapshot(c *call) (any, error) {
	d, s, err := c.snapshot(write, modify, prune)
	if err != nil {
		return nil, err
	}
	return nil, d.Remove(s)
}

// Remove takes a snapshot away, from disk too, unless it is protected.
func (d *Datastore) Remove(s *Snapshot) error {
	if s.Protected {
		return bad("cannot remove protected snapshot '%s/%s/%s'", s.Type, s.ID, rfc3339(s.Time))
	}
	for i, have := range d.Snapshots {
		if have == s {
			d.Snapshots = append(d.Snapshots[:i:i], d.Snapshots[i+1:]...)
			break
		}
	}
	return d.diskRemove(s)
}
