package hold

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cairn/pbs"
	"cairn/proxmox"
)

// A server takes copies away by itself: a backup server prunes, collects garbage and
// syncs on, a cluster prunes after each backup. setting is what lets it do one of these.
type setting struct {
	Kind string // "prune", "sync", "gc", "retention"
	ID   string // of the job; of the garbage collection: the datastore
	Was  string // as its server reads and writes it, see keeper
	Held string // so that nothing is taken away
	Says string // for a person: "prune job p-nightly"
	Show string // the call that holds it
}

// keeper reads and changes the settings of one server.
type keeper interface {
	// settings are those that take copies away by themselves now, what a person
	// should know about them, and what the acting token may not change of them.
	settings(ctx context.Context) (found []setting, notes []string, lacks []lack, err error)
	// read says what a setting is now. The error wraps errGone where it is no more.
	read(ctx context.Context, kind, id string) (string, error)
	// write makes it to, where it is from still.
	write(ctx context.Context, kind, id, from, to string) error
}

// lack is a privilege that changing a setting takes and the acting token has not.
type lack struct{ setting, why, hint string }

func unreachable(err error) bool { return proxmox.IsUnreachable(err) || pbs.IsUnreachable(err) }

var (
	errGone         = errors.New("it is there no more")
	errUnconfigured = errors.New("is not configured any more")
)

// backupKeeper holds the jobs of a backup server. A setting is a pbs.Standing.
type backupKeeper struct {
	*pbs.Client
	datastore string
}

func (k *backupKeeper) settings(ctx context.Context) (found []setting, notes []string, lacks []lack, err error) {
	jobs, err := k.OwnWork(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	jobs = slices.DeleteFunc(jobs, func(j pbs.Job) bool { return !j.Standing().Runs() })
	for _, j := range jobs {
		now := j.Standing()
		found = append(found, setting{Kind: string(j.Kind), ID: j.ID, Was: encoded(now), Held: encoded(now.Held()), Says: sayJob(j), Show: pbs.ShowStanding(now.Held())})
		if j.LastRun.Running() {
			notes = append(notes, fmt.Sprintf("%s is running: it goes on to its end; to stop it: proxmox-backup-manager task stop '%s'", sayJob(j), j.LastRun.ID))
		}
	}
	missing, err := k.Missing(ctx, jobs)
	for _, n := range missing {
		lacks = append(lacks, lack{sayJob(n.Job), n.Privilege + " on " + n.Path,
			"grant it to the user and to the token: proxmox-backup-manager acl update " + n.Path + " ROLE --auth-id …; or hold the others alone, by their names"})
	}
	return found, notes, lacks, err
}

func encoded(s pbs.Standing) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a struct of plain fields
	}
	return string(text)
}

func sayJob(j pbs.Job) string {
	when := cmp.Or(j.Schedule, "no schedule")
	if j.OnMount {
		when += ", and when the disk is mounted"
	}
	switch {
	case j.Kind == pbs.GCJob:
		return fmt.Sprintf("garbage collection of %s (%s)", j.ID, when)
	case j.Kind == pbs.SyncJob:
		return fmt.Sprintf("sync job %s with %s (%s)", j.ID, cmp.Or(j.Remote, "?"), when)
	}
	return fmt.Sprintf("%s job %s (%s)", j.Kind, j.ID, when)
}

func (k *backupKeeper) read(ctx context.Context, kind, id string) (string, error) {
	s, _, err := k.Standing(ctx, pbs.JobKind(kind), id)
	if errors.Is(err, pbs.ErrNoJob) {
		return "", fmt.Errorf("%w: %w", errGone, err)
	}
	return encoded(s), err
}

// write reads the setting again with the digest of its file, so that a change of
// somebody else between is refused by the server itself.
func (k *backupKeeper) write(ctx context.Context, kind, id, from, to string) error {
	var want pbs.Standing
	if err := json.Unmarshal([]byte(to), &want); err != nil {
		return fmt.Errorf("reading how %s %s is to stand: %w", kind, id, err)
	}
	now, digest, err := k.Standing(ctx, pbs.JobKind(kind), id)
	if err != nil {
		return err
	}
	if encoded(now) != from {
		return fmt.Errorf("%s %s was changed meanwhile: nothing was done to it", kind, id)
	}
	return k.SetStanding(ctx, now, want, digest)
}

// retentionKind is the kind of the only setting of a cluster: what a backup job
// removes after each backup that it makes.
const retentionKind = "retention"

// clusterKeeper holds the retention of a cluster's backup jobs: they go on, and remove
// nothing. A setting is a prune-backups of the job itself; an empty one is none.
type clusterKeeper struct{ *proxmox.Client }

func (k *clusterKeeper) settings(ctx context.Context) (found []setting, notes []string, lacks []lack, err error) {
	jobs, err := k.Jobs(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	defined, err := k.StorageDefinitions(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, j := range jobs {
		if !j.Prunes() {
			continue
		}
		if j.Retention == proxmox.UnreadRetention {
			lacks = append(lacks, lack{"backup job " + j.ID, "its retention is in a form that is not understood, so that it could not be set again", "set its retention to keep all by hand: Datacenter > Backup"})
			continue
		}
		found = append(found, setting{Kind: retentionKind, ID: j.ID, Was: j.Retention, Held: proxmox.KeepAll, Says: sayRetention(j, defined),
			Show: "PUT /cluster/backup/" + j.ID + " prune-backups=" + proxmox.KeepAll})
	}
	if len(found) == 0 {
		return nil, nil, lacks, nil
	}
	notes = append(notes, "Backups by the jobs go on and nothing is removed after them, so their storages fill up: see that there is room. A backup that somebody makes by hand still applies its storage's retention.")
	have, err := k.Privileges(ctx, "/")
	if err == nil && !have["Sys.Modify"] {
		lacks = append(lacks, lack{found[0].Says, "Sys.Modify on /", "grant it to the user and to the token; or hold the others alone, by their names"})
	}
	return found, notes, lacks, err
}

func sayRetention(j proxmox.BackupJob, defined []proxmox.StorageDefinition) string {
	by := "what its node's /etc/vzdump.conf says, or nothing"
	if i := slices.IndexFunc(defined, func(d proxmox.StorageDefinition) bool { return d.Name == j.Storage }); i >= 0 && defined[i].Retention != "" {
		by = "storage " + j.Storage + "'s " + defined[i].Retention
	}
	if j.Retention != "" {
		by = "its own " + j.Retention
	}
	return fmt.Sprintf("what backup job %s (%s) removes after each backup: by %s", j.ID, j.Schedule, by)
}

func (k *clusterKeeper) read(ctx context.Context, _, id string) (string, error) {
	jobs, err := k.Jobs(ctx)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(jobs, func(j proxmox.BackupJob) bool { return j.ID == id })
	if i < 0 {
		return "", fmt.Errorf("backup job %s: %w", id, errGone)
	}
	return jobs[i].Retention, nil
}

// write has no digest to rely on: Proxmox VE takes none for backup jobs.
func (k *clusterKeeper) write(ctx context.Context, _, id, from, to string) error {
	now, err := k.read(ctx, retentionKind, id)
	if err != nil {
		return err
	}
	if now != from {
		return fmt.Errorf("backup job %s was changed meanwhile: nothing was done to it", id)
	}
	return k.SetJobRetention(ctx, id, to)
}

// showRelease is the call that makes a setting what it was.
func showRelease(server, id, was string) string {
	if strings.HasPrefix(server, "proxmox.") {
		return "PUT /cluster/backup/" + id + " " + cmp.Or(map[bool]string{true: "delete=prune-backups"}[was == ""], "prune-backups="+was)
	}
	var s pbs.Standing
	if json.Unmarshal([]byte(was), &s) != nil {
		return "PUT, as it was: " + was
	}
	return pbs.ShowStanding(s)
}
