package pbs

// counters are the fields that garbage collection reports everywhere.
func (g GC) counters() object {
	row := object{
		"upid": textOrNull(g.UPID), "disk-bytes": g.DiskBytes, "disk-chunks": g.DiskChunks,
		"index-data-bytes": g.IndexBytes, "index-file-count": g.IndexFiles,
		"pending-bytes": g.PendingBytes, "pending-chunks": g.PendingBytes / (4 << 20),
		"removed-bytes": g.RemovedBytes, "removed-chunks": g.RemovedBytes / (4 << 20),
		"removed-bad": 0, "still-bad": g.StillBad,
	}
	if g.UPID != "" {
		row["cache-stats"] = object{"hits": g.IndexFiles * 3, "misses": g.DiskChunks}
	}
	return row
}

func (d *Datastore) gcRow() object {
	row := d.GC.counters()
	row["store"] = d.Name
	if d.GC.Schedule != "" {
		row["schedule"] = d.GC.Schedule
		row["next-run"] = d.GC.NextRun
	}
	if d.GC.UPID != "" && d.GC.State != "" {
		row["last-run-endtime"], row["last-run-state"] = d.GC.End, d.GC.State
		row["duration"] = d.GC.End - d.GC.Start
	}
	return row
}

func gcStatus(c *call) (any, error) {
	d, err := c.open(read, audit)
	if err != nil {
		return nil, err
	}
	return d.gcRow(), nil
}

// listGC is /admin/gc: it leaves out the datastores that cannot be read.
func listGC(c *call) (any, error) {
	rows := []object{}
	for _, d := range c.Datastores {
		if c.may(storePath(d.Name, ""), audit) && d.unavailable(read) == nil {
			rows = append(rows, d.gcRow())
		}
	}
	return shuffled(rows), nil
}

func startGC(c *call) (any, error) {
	d, err := c.open(write, modify)
	if err != nil {
		return nil, err
	}
	for _, t := range c.Tasks {
		if t.Type == "garbage_collection" && t.Store == d.Name && t.End == 0 {
			return nil, bad("garbage collection already running")
		}
	}
	upid, err := c.run("garbage_collection", d.Name, d.Name, func(w *World, t *Task) string {
		if err := d.unavailable(write); err != nil {
			d.GC.State, d.GC.End = err.Error(), w.now().Unix() // the counters stay
			return err.Error()
		}
		return d.collect(w, t)
	})
	d.GC.UPID, d.GC.State, d.GC.Start = upid.(string), "", c.now().Unix()
	return upid, err
}

// collect counts what the indexes name, sweeps the chunks on disk, and says how
// that ended; after a failure the counters stay as they were.
func (d *Datastore) collect(w *World, t *Task) string {
	d.GC.End = w.now().Unix()
	removed, err := d.diskSweep()
	if err != nil {
		d.GC.State = err.Error()
		return d.GC.State
	}
	d.GC.RemovedBytes, d.GC.IndexBytes, d.GC.IndexFiles = removed, 0, 0
	for _, s := range d.Snapshots {
		for _, f := range s.Files {
			if isIndex(f.Name) {
				d.GC.IndexFiles++
				d.GC.IndexBytes += f.Size
			}
		}
	}
	t.Say(w.now(), "Removed garbage: %d B", removed)
	d.GC.State = "OK"
	return d.GC.State
}

// listJobs shows the jobs of one kind to those who may read their datastore.
func listJobs(kind string) handler {
	return func(c *call) (any, error) {
		direction, asked := c.params["sync-direction"]
		if asked && !atLeast(c.version(), 3, 3) {
			return nil, bad("parameter verification failed - 'sync-direction': schema does not allow additional properties.")
		}
		if asked && direction != "all" && direction != "pull" && direction != "push" {
			return nil, bad("parameter verification failed - 'sync-direction': value '%s' is not defined in the enumeration.", direction)
		}
		rows := []object{}
		for _, j := range c.Jobs {
			if j.Kind != kind || c.params["store"] != "" && c.params["store"] != j.Store || !c.seesJob(j) {
				continue
			}
			// Without the parameter only pulls are listed.
			if kind == Sync && direction != "all" && j.direction() != firstOf(direction, "pull") {
				continue
			}
			rows = append(rows, j.row())
		}
		return shuffled(rows), nil
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (j *Job) direction() string { return firstOf(j.Direction, "pull") }

func (c *call) seesJob(j *Job) bool {
	if j.Kind == Sync && j.Remote != "" && !c.may("/remote/"+j.Remote, "Remote.Audit") {
		return false
	}
	return c.may(storePath(j.Store, j.NS), audit)
}

func (j *Job) row() object {
	row := object{"id": j.ID, "store": j.Store}
	put := func(name, value string) {
		if value != "" {
			row[name] = value
		}
	}
	put("ns", j.NS)
	put("schedule", j.Schedule)
	put("comment", j.Comment)
	if j.Schedule != "" && j.NextRun != 0 && !j.Disable {
		row["next-run"] = j.NextRun
	}
	switch j.Kind {
	case Verify:
		row["ignore-verified"] = j.IgnoreVerified
		if j.OutdatedAfter != 0 {
			row["outdated-after"] = j.OutdatedAfter
		}
	case Prune:
		for name, n := range j.Keep {
			row[name] = n
		}
		if j.Disable {
			row["disable"] = true
		}
	case Sync:
		put("remote", j.Remote)
		put("remote-store", j.RemoteStore)
		put("sync-direction", j.Direction)
		put("owner", j.Owner)
		if j.RemoveVanished {
			row["remove-vanished"] = true
		}
		if j.RunOnMount {
			row["run-on-mount"] = true
		}
	}
	put("last-run-upid", j.LastUPID)
	if j.LastUPID != "" && j.LastState != "" {
		row["last-run-state"], row["last-run-endtime"] = j.LastState, j.LastEnd
	}
	return row
}

// runJob starts a job now.
func runJob(kind string) handler {
	return func(c *call) (any, error) {
		for _, j := range c.Jobs {
			if j.Kind != kind || j.ID != c.r.PathValue("id") {
				continue
			}
			if !c.may(storePath(j.Store, j.NS), jobPrivileges[kind]...) {
				return nil, denied()
			}
			worker := map[string]string{Verify: "verificationjob", Prune: "prunejob", Sync: "syncjob"}[kind]
			upid, err := c.run(worker, j.Store+":"+j.ID, j.Store, j.work)
			j.LastUPID, j.LastState = upid.(string), ""
			return upid, err
		}
		return nil, bad("no such job '%s'", c.r.PathValue("id"))
	}
}

var jobPrivileges = map[string][]string{
	Verify: {"Datastore.Verify"}, Prune: {modify, prune}, Sync: {modify},
}

// work does what a job is there for and says how it ended.
func (j *Job) work(w *World, t *Task) string {
	status := j.do(w, t)
	j.LastState, j.LastEnd = status, w.now().Unix()
	return status
}

func (j *Job) do(w *World, t *Task) string {
	d := w.Store(j.Store)
	if d == nil {
		return "no such datastore '" + j.Store + "'"
	}
	if err := d.unavailable(write); err != nil {
		return err.Error()
	}
	switch j.Kind {
	case Verify:
		return d.verify(w, t, func(s *Snapshot) bool {
			return s.NS == j.NS && (s.Verify == "" || !j.IgnoreVerified)
		})
	case Prune:
		return d.prune(w, t, j.NS, j.Keep)
	}
	return "client error (Connect)" // there is no other server
}

// verify reads the chosen snapshots. What lies on disk is really read; the
// others are good.
func (d *Datastore) verify(w *World, t *Task, chosen func(*Snapshot) bool) string {
	status := "OK"
	for _, s := range d.Snapshots {
		if s.InFlight() || !chosen(s) {
			continue
		}
		s.Verify, s.VerifyUPID = "ok", t.UPID
		if err := d.diskVerify(s); err != nil {
			s.Verify, status = "failed", "verification failed - please check the log for details"
			t.Say(w.now(), "verify %s/%s/%s failed: %v", s.Type, s.ID, rfc3339(s.Time), err)
		}
	}
	return status
}

func startVerify(c *call) (any, error) {
	d, err := c.open(read, "Datastore.Verify")
	if err != nil {
		return nil, err
	}
	at, err := c.number("backup-time", 0, 1)
	if err != nil {
		return nil, err
	}
	ns, kind, id := c.params["ns"], c.params["backup-type"], c.params["backup-id"]
	return c.run("verify", d.Name, d.Name, func(w *World, t *Task) string {
		return d.verify(w, t, func(s *Snapshot) bool {
			return s.NS == ns && (kind == "" || s.Type == kind) && (id == "" || s.ID == id) && (at == 0 || s.Time == at)
		})
	})
}
