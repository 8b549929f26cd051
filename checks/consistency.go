package checks

import (
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
)

// databasePorts are the ports of common databases, for guests whose check_port
// tells what they are.
var databasePorts = []int{1433, 1521, 3306, 5432, 5433, 6379, 8086, 27017}

// databaseTags are the tags by which admins mark a guest that holds one.
var databaseTags = []string{"db", "database", "postgres", "postgresql", "pg", "mysql", "mariadb", "mongodb", "mssql", "oracle", "redis", "influxdb"}

func holdsDatabase(g *guest) bool {
	return g.policy.Database || slices.Contains(databasePorts, g.policy.CheckPort) ||
		slices.ContainsFunc(g.Tags, func(tag string) bool { return slices.Contains(databaseTags, strings.ToLower(tag)) })
}

// judgeConsistency tells of guests that hold a database and whose newest copy is
// only what a power cut would leave.
func (l *lab) judgeConsistency(s *source) []Problem {
	if s.kind != "pbs" {
		return nil
	}
	var labels, grade []string
	agent := false
	for _, group := range s.groups {
		g, ok := l.guests[group.asset]
		newest := group.newest()
		if !ok || g.parked != "" || group.doubt != "" || newest == nil || newest.Consistency != backup.CrashConsistent || !holdsDatabase(g) {
			continue
		}
		labels, grade = append(labels, l.label(g)), append(grade, g.id.String())
		agent = agent || g.Agent
	}
	if len(labels) == 0 {
		return nil
	}
	hint := "Install qemu-guest-agent in the guest and switch it on (qm set VMID --agent enabled=1), or back it up in mode stop; a dump is the safest"
	if agent {
		hint = "The guest agent is configured but did not freeze: see that it runs in the guest (qm agent VMID ping); a dump is the safest"
	}
	return []Problem{found(backup.Warning, "crash-consistent", s.name,
		fmt.Sprintf("%s with a database %s only crash-consistent on %s, as after a power cut: %s",
			counted(len(labels), "guest"), verb(len(labels), "is", "are"), s.title, listed(labels)), hint, grade...)}
}
