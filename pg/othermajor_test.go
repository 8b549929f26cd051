package pg

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// TestFromOneServerIntoAnother takes a dump of one server back into another, and
// the other way round: with CAIRN_POSTGRES_BIN these are two major versions.
func TestFromOneServerIntoAnother(t *testing.T) {
	c := running(t)
	placed := filepath.Dir(testkit.Program(t, "no such program", "/usr/lib/postgresql/*/bin/initdb"))
	other := startCluster(t, placed)
	t.Cleanup(func() {
		other.server.Stop(syscall.SIGINT, 20*time.Second)
		_ = os.RemoveAll(other.dir)
	})
	for i, way := range []struct{ from, to *cluster }{{other, c}, {c, other}} {
		name := `moved "é"`
		way.from.shopOf(t, name)
		source, target := acting(t, way.from), acting(t, way.to)
		m, dir, err := source.Dump(t.Context(), name, Work{})
		if err != nil {
			t.Fatal(err)
		}
		op := []string{"20261122-71", "20261122-72"}[i]
		r := RestoreRequest{Dump: dir, Database: name, Into: BesideName(name, op)}
		ready, err := target.PrepareRestore(t.Context(), r)
		if err != nil || len(ready.Blockers) > 0 {
			t.Fatal(err, ready.Blockers)
		}
		older := majorOf(ready.Server.Version) < majorOf(m.Server)
		if older != strings.Contains(strings.Join(ready.Notes, ";"), "something newer may not be understood") {
			t.Errorf("from %s to %s: %v", m.Server, ready.Server.Version, ready.Notes)
		}
		if _, err := target.CreateRoles(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		_, said, err := target.Restore(t.Context(), r, Work{Operation: op})
		if err != nil || said != "" {
			t.Errorf("from %s to %s: %v %q", m.Server, ready.Server.Version, err, said)
		}
		if _, findings, err := target.Validate(t.Context(), r, Work{}); err != nil || len(findings) > 0 {
			t.Errorf("from %s to %s: %v %v", m.Server, ready.Server.Version, err, findings)
		}
		if lost, _, err := target.LostRights(t.Context(), r, Work{}); err != nil || len(lost) > 0 {
			t.Errorf("from %s to %s: %v %v", m.Server, ready.Server.Version, err, lost)
		}
		if !maps.Equal(way.to.hashes(t, way.to.port, r.Into), way.from.hashes(t, way.from.port, name)) {
			t.Errorf("from %s to %s: other rows", m.Server, ready.Server.Version)
		}
		if err := target.DropBeside(t.Context(), r.Into, op); err != nil {
			t.Error(err)
		}
	}
}
