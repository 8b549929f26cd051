package pbs

import "strings"

// mayMount says no to those who lack a privilege that (un)mounting needs, and
// to datastores that lie on no removable medium.
func (c *call) mayMount() (*Datastore, error) {
	store := c.r.PathValue("store")
	if !c.may(storePath(store, ""), modify) || !c.may("/system/disks", "Sys.Modify") {
		return nil, denied()
	}
	d := c.Store(store)
	switch {
	case d == nil:
		return nil, bad("no such datastore '%s'", store)
	case d.mount() == NonRemovable:
		return nil, bad("datastore '%s' is not removable", store)
	}
	return d, nil
}

func mountStore(c *call) (any, error) {
	d, err := c.mayMount()
	if err != nil {
		return nil, err
	}
	return c.run("mount-device", d.Name, d.Name, func(w *World, t *Task) string {
		if d.Mount == Mounted {
			return "OK"
		}
		if d.Absent {
			return "mounting datastore '" + d.Name + "' failed: unable to find device"
		}
		d.Mount = Mounted
		return "OK"
	})
}

func unmountStore(c *call) (any, error) {
	d, err := c.mayMount()
	if err != nil {
		return nil, err
	}
	if d.Mount == NotMounted {
		return nil, bad("Datastore '%s' is not mounted", d.Name)
	}
	if d.Maintenance != "" {
		if err := d.unavailable(write); err != nil {
			return nil, err
		}
	}
	d.Maintenance = "unmount"
	return c.run("unmount-device", d.Name, d.Name, func(w *World, t *Task) string {
		d.Maintenance = ""
		d.Mount = NotMounted
		return "OK"
	})
}

// configureStore changes how a datastore is configured, whether it is mounted or not.
func configureStore(c *call) (any, error) {
	store := c.r.PathValue("store")
	if !c.may(storePath(store, ""), modify) {
		return nil, denied()
	}
	if err := c.unchanged(c.storesDigest()); err != nil {
		return nil, err
	}
	d := c.Store(store)
	if d == nil {
		return nil, bad("no such datastore '%s'", store)
	}
	for _, name := range strings.Fields(c.params["delete"]) {
		switch name {
		case "maintenance-mode":
			d.Maintenance = ""
		case "comment":
			d.Comment = ""
		case "gc-schedule":
			d.GC.Schedule, d.GC.NextRun = "", 0
		default:
			return nil, bad("parameter verification failed - 'delete': value '%s' is not defined in the enumeration.", name)
		}
	}
	if mode, ok := c.params["maintenance-mode"]; ok {
		d.Maintenance = mode
	}
	if comment, ok := c.params["comment"]; ok {
		d.Comment = comment
	}
	if schedule, ok := c.params["gc-schedule"]; ok {
		d.GC.Schedule, d.GC.NextRun = schedule, c.now().Unix()+24*60*60
	}
	return nil, nil
}

// listDisks shows the node's disks.
func listDisks(c *call) (any, error) {
	if !c.may("/system/disks", "Sys.Audit") {
		return nil, denied()
	}
	rows := []object{}
	for _, d := range c.Disks {
		rows = append(rows, object{
			"name": d.Name, "devpath": "/dev/" + d.Name, "disk-type": "ssd", "gpt": true, "model": d.Model, "serial": d.Serial,
			"size": d.Size, "status": d.Status, "used": d.Used, "wearout": d.Wearout,
			"partitions": nil, "rpm": nil, "vendor": nil, "wwn": nil,
		})
	}
	return rows, nil
}
