package lab

import (
	"fmt"
	"strconv"
	"syscall"
	"time"

	"cairn/internal/lab/pbs"
	"cairn/internal/lab/pve"
)

const (
	pbsUser     = "cairn@pbs"
	backupOwner = "backup@pbs!pve"
)

// startServers starts the backup server with the backups of the guests, then
// the cluster that reads and writes them there.
func (l *Lab) startServers() error {
	w, err := l.pbsWorld()
	if err != nil {
		return fmt.Errorf("filling the backup server: %w", err)
	}
	if l.PBS, err = pbs.Start(w); err != nil {
		return fmt.Errorf("starting the backup server: %w", err)
	}
	l.store = &store{images: l.images, server: l.PBS}
	if l.PVE, err = pve.Start(l.pveWorld()); err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	l.home.history(l.PVE)
	return l.writeConfigurations()
}

func (l *Lab) pbsWorld() (pbs.World, error) {
	w := pbs.World{
		Now: l.clock.now, TaskTime: l.options.TaskTime,
		Users: []pbs.User{
			{ID: pbsUser, ACL: []pbs.Grant{{Path: "/", Role: "Admin"}}},
			{ID: "backup@pbs", ACL: []pbs.Grant{{Path: "/datastore/usb", Role: "DatastoreBackup"}}},
		},
		Tokens: []pbs.Token{
			{ID: pbsUser + "!" + readToken, Secret: l.secret("pbs-read"), ACL: []pbs.Grant{
				{Path: "/datastore", Role: "DatastoreAudit"}, {Path: "/remote", Role: "RemoteAudit"}, {Path: "/system", Role: "Audit"},
			}},
			{ID: pbsUser + "!" + actToken, Secret: l.secret("pbs-act"), ACL: []pbs.Grant{{Path: "/", Role: "Admin"}}},
		},
	}
	d := &pbs.Datastore{Name: datastore, Comment: "the USB SSD", Mount: pbs.Mounted, Namespaces: []string{namespace}, Total: 931 * gib, Used: 612 * gib}
	if l.has(Datastore) {
		d.Path = l.dir.at("usb", "pbs")
	}
	w.Datastores = []*pbs.Datastore{d}
	if err := l.addBackups(&w, d); err != nil {
		return w, err
	}
	l.home.addJobs(&w, d)
	if d.Path != "" {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(d.Path, &fs); err != nil {
			return w, fmt.Errorf("asking how full %s is: %w", d.Path, err)
		}
		d.Total = int64(fs.Blocks) * fs.Bsize
		d.Used = int64(fs.Blocks-fs.Bavail) * fs.Bsize
	}
	l.home.addUsage(d)
	return w, nil
}

// addBackups puts every backup that is kept into the datastore, and the tasks
// that made them into the log.
func (l *Lab) addBackups(w *pbs.World, d *pbs.Datastore) error {
	h := l.home
	for _, nights := range keptNights {
		verify := verifyTask(w, h.runStart(nights).Add(2*time.Hour))
		for _, node := range []string{"pve1", "pve2"} {
			for _, p := range h.run(node, nights) {
				s := p.backupSnapshot()
				if !p.unproven {
					s.Verify, s.VerifyUPID = "ok", verify
				}
				image := p.image(p.start)
				if err := d.Put(s, contents(image)...); err != nil {
					return err
				}
				l.images.put(s, image)
				w.Past("backup", fmt.Sprintf("%s:%s:%s/%s", d.Name, s.NS, s.Type, s.ID), d.Name, backupOwner, p.start, p.start.Add(p.took), "OK")
			}
		}
		host := &pbs.Snapshot{Type: "host", ID: "pve1", Time: h.runStart(nights).Add(20 * time.Minute).Unix(), Owner: backupOwner, Verify: "ok", VerifyUPID: verify}
		if err := d.Put(host, pbs.Content{Name: "etc-pve.pxar.didx", Data: []byte("user.cfg, storage.cfg, nodes/")}); err != nil {
			return err
		}
	}
	for _, g := range h.guests {
		if g.upload {
			s := part{guest: g, start: l.clock.now().Add(-2 * time.Minute)}.backupSnapshot()
			if err := d.Open(s); err != nil {
				return err
			}
			w.Begin("backup", fmt.Sprintf("%s:%s:%s/%s", d.Name, s.NS, s.Type, s.ID), d.Name, backupOwner).Start = s.Time
		}
	}
	return nil
}

func (p part) backupSnapshot() *pbs.Snapshot {
	return &pbs.Snapshot{
		NS: namespace, Type: backupType(p.kind), ID: strconv.Itoa(p.vmid), Time: p.start.Unix(), Owner: backupOwner, Comment: p.name,
	}
}

func backupType(kind pve.Kind) string {
	if kind == pve.LXC {
		return "ct"
	}
	return "vm"
}

func verifyTask(w *pbs.World, at time.Time) string {
	return w.Past("verificationjob", datastore+":v-nightly", datastore, "root@pam", at, at.Add(4*time.Minute), "OK").UPID
}

// addJobs adds the server's own jobs with their last runs.
func (h home) addJobs(w *pbs.World, d *pbs.Datastore) {
	verified := h.runStart(0).Add(2 * time.Hour)
	pruned, collected := h.runStart(0).Add(time.Hour), h.runStart(0).Add(90*time.Minute)
	prune := w.Past("prunejob", datastore+":p-nightly", datastore, "root@pam", pruned, pruned.Add(3*time.Second), "OK")
	gc := w.Past("garbage_collection", datastore, datastore, "root@pam", collected, collected.Add(5*time.Minute), "OK")
	verify := w.Past("verificationjob", datastore+":v-nightly", datastore, "root@pam", verified, verified.Add(4*time.Minute), "OK")
	w.Jobs = []*pbs.Job{
		{Kind: pbs.Verify, ID: "v-nightly", Store: datastore, Schedule: verified.UTC().Format("15:04"), IgnoreVerified: true, OutdatedAfter: 30,
			NextRun: verified.Add(day).Unix(), LastUPID: verify.UPID, LastState: "OK", LastEnd: verify.End},
		{Kind: pbs.Prune, ID: "p-nightly", Store: datastore, NS: namespace, Schedule: pruned.UTC().Format("15:04"),
			Keep: map[string]int{"keep-daily": 5, "keep-weekly": 4}, NextRun: pruned.Add(day).Unix(), LastUPID: prune.UPID, LastState: "OK", LastEnd: prune.End},
	}
	d.GC = pbs.GC{UPID: gc.UPID, State: "OK", Schedule: collected.UTC().Format("15:04"), Start: gc.Start, End: gc.End,
		NextRun: collected.Add(day).Unix(), DiskBytes: 300 << 20, DiskChunks: 160}
	for _, s := range d.Snapshots {
		for _, f := range s.Files {
			d.GC.IndexBytes += f.Size
			d.GC.IndexFiles++
		}
	}
}

// addUsage adds a month of slowly rising fill, and when it will be full.
func (h home) addUsage(d *pbs.Datastore) {
	const points = 1440
	now := float64(d.Used) / float64(d.Total)
	for i := range points {
		ratio := now * (0.8 + 0.2*float64(i+1)/points)
		d.History = append(d.History, &ratio)
	}
	d.HistoryDelta, d.HistoryStart = 1800, h.now.Unix()-points*1800
	full := h.now.Add(time.Duration((1-now)/(now*0.2)*30) * day).Unix()
	d.FullDate = &full
}
