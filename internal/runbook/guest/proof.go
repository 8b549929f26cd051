package guest

import (
	"context"
	"slices"
	"strings"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// check is a step that looks at what a restore made.
type check func(ctx context.Context, c *proxmox.Client, a args, task *operation.Task) (operation.Result, error)

// proving keeps what a check that found all well proves of the backup.
func (b *Runbook) proving(level backup.Proof, look check) check {
	return func(ctx context.Context, c *proxmox.Client, a args, task *operation.Task) (operation.Result, error) {
		r, err := look(ctx, c, a, task)
		if err != nil || r.Status != backup.OK || a.Restore == nil || b.history == nil {
			return r, err
		}
		if source, key := b.onPBS(ctx, c, a); key != "" {
			step.Prove(ctx, b.history, source, key, level, task.Operation, b.now())
		}
		return r, nil
	}
}

// onPBS is the source of the backup that was restored, and its id there; empty: it
// lies on no PBS that is configured.
func (b *Runbook) onPBS(ctx context.Context, c *proxmox.Client, a args) (source, key string) {
	storage, volume, _ := strings.Cut(a.Restore.Volume, ":")
	snapshot, ok := strings.CutPrefix(volume, "backup/")
	storages, err := definedStorages(ctx, c) // that it was restored stays true where they cannot be read: it is not kept
	at := slices.IndexFunc(storages, func(s proxmox.Storage) bool { return s.Name == storage && s.Type == "pbs" })
	if !ok || err != nil || at < 0 {
		return "", ""
	}
	name := checks.Behind(b.config.PBS, a.Cluster, storages, storage)
	if name == "" {
		return "", ""
	}
	return "pbs." + name, strings.TrimPrefix(storages[at].Namespace+"/"+snapshot, "/")
}
