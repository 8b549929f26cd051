package pbs

import (
	"fmt"
	"time"
)

// Crowd returns a datastore with count snapshots of VMs, spread evenly over the
// given number of namespaces ("ns0", …) and over groups that hold 50 each, one
// a day, the newest a few hours before now. It lies on no disk.
func Crowd(name string, count, namespaces int, now time.Time) *Datastore {
	const perGroup = 50
	d := &Datastore{Name: name, Total: 20 << 40, Used: 9 << 40}
	for i := range namespaces {
		d.Namespaces = append(d.Namespaces, fmt.Sprintf("ns%d", i))
	}
	for i := range count {
		group := i / perGroup
		age := time.Duration(i%perGroup)*24*time.Hour + time.Duration(3+group%5)*time.Hour
		s := &Snapshot{
			NS: d.Namespaces[group%namespaces], Type: "vm", ID: itoa(100 + group/namespaces),
			Time: now.Add(-age).Unix(), Owner: "backup@pbs!pve", Comment: "guest " + itoa(group),
			Files: []File{
				{Name: "qemu-server.conf.blob", Crypt: "none", Size: 412},
				{Name: "drive-scsi0.img.fidx", Crypt: "none", Size: 32 << 30},
				{Name: indexName, Crypt: "none", Size: 590},
			},
		}
		if i%perGroup > 0 { // the newest of each group waits for its verification
			s.Verify = "ok"
			s.VerifyUPID = fmt.Sprintf("UPID:nas:000002A1:00001F40:%08X:%08X:verificationjob:%s\\x3averify:root@pam:", i, s.Time+3600, name)
		}
		d.Snapshots = append(d.Snapshots, s)
	}
	return d
}
