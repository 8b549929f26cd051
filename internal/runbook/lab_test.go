package runbook

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/config"
	"cairn/internal/secret"
)

// kindsOfEarlierVersions stand in journals of operations that may be resumed: each is
// carried out for good, wherever its code moves to.
const kindsOfEarlierVersions = `disk.sync disk.unmount files.swap
offsite.check offsite.disk offsite.fetch offsite.hold offsite.layout
pbs.jobs pbs.unmount person.do plan.parts
postgres.base postgres.copy-base postgres.discard postgres.dump postgres.extract postgres.flush-wal postgres.forget postgres.globals
postgres.left postgres.look postgres.name-all postgres.promote postgres.recover postgres.restore postgres.restore-all postgres.roles
postgres.swap postgres.validate postgres.validate-all postgres.verdict postgres.verify postgres.verify-all postgres.verify-copy postgres.verify-tool
proxmox.attach proxmox.backup proxmox.check-guest proxmox.check-protected proxmox.check-restored proxmox.check-rollback proxmox.configure
proxmox.delete-snapshot proxmox.destroy proxmox.fetch-file proxmox.firewall proxmox.guests proxmox.ha proxmox.jobs proxmox.lineage proxmox.protect
proxmox.rejob proxmox.restore proxmox.rollback proxmox.shutdown proxmox.snapshot proxmox.start proxmox.unplug
restic.backup restic.check restic.copy restic.forget restic.guard restic.init restic.prove restic.prune restic.restore restic.unlock restic.verify restic.wait
server.hold server.look server.release`

func TestEveryKindOfStepIsCarriedOut(t *testing.T) {
	l := Open(&config.Config{}, secret.Reader{}, nil, time.Now)
	defer l.Close()
	known, now := strings.Fields(kindsOfEarlierVersions), slices.Sorted(maps.Keys(l.Executors()))
	for _, kind := range known {
		if !slices.Contains(now, kind) {
			t.Errorf("nothing carries out %s, which journals hold", kind)
		}
	}
	for _, kind := range now {
		if !slices.Contains(known, kind) {
			t.Errorf("%s is new: add it to the kinds that are carried out for good", kind)
		}
	}
}
