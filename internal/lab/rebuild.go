package lab

import (
	"fmt"
	"net/url"

	"cairn/internal/lab/pbs"
	"cairn/internal/lab/pve"
)

// LosePVE ends the cluster: its nodes and all guests are gone. The backup server
// stays as it is.
func (l *Lab) LosePVE() {
	if l.PVE != nil {
		l.PVE.Stop()
	}
	l.PVE = nil
}

// NewPVE starts a cluster as it is freshly installed: the nodes and the storages
// of their own disks, and nobody but root. What edit changes is what else the new
// host has.
func (l *Lab) NewPVE(edit func(*pve.World)) error {
	old := l.pveWorld()
	w := pve.World{
		Cluster: old.Cluster, Nodes: old.Nodes, Now: old.Now, Pace: old.Pace, Backups: l.behind,
	}
	for _, s := range old.Storages {
		if s.Type != "pbs" {
			w.Storages = append(w.Storages, s)
		}
	}
	if edit != nil {
		edit(&w)
	}
	var err error
	if l.PVE, err = pve.Start(w); err != nil {
		return fmt.Errorf("starting the new cluster: %w", err)
	}
	return nil
}

// behind is the backup server as any name leads to it: there is one.
func (l *Lab) behind(string, string) pve.BackupStore { return l.store }

// LosePBS ends the backup server; the directory of its datastore stays.
func (l *Lab) LosePBS() {
	if l.PBS != nil {
		l.PBS.Stop()
	}
}

// NewPBS starts a backup server as it is freshly installed, with no datastore. At
// the old address, as a host of the same name has, or at one of its own.
func (l *Lab) NewPBS(sameAddress bool) error {
	address := "127.0.0.1:0"
	if u, err := url.Parse(l.PBS.URL()); err == nil && sameAddress {
		address = u.Host
	}
	made, err := pbs.StartAt(pbs.World{Now: l.clock.now, TaskTime: l.options.TaskTime}, address)
	if err != nil {
		return fmt.Errorf("starting the new backup server: %w", err)
	}
	l.PBS = made
	l.store.use(made)
	return nil
}
