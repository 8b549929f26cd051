package checks

import (
	"strings"
	"testing"

	"cairn/internal/backup"
	"cairn/pg"
)

func TestWhatOtherToolsSayIsJudged(t *testing.T) {
	s := &source{name: "postgres.erp", title: "postgres.erp"}
	got := judgeTools(s, pg.Facts{Others: []pg.Tool{
		{Name: "pgbackrest", Instance: "lab", Problems: []string{"no valid backups"}},
		{Name: "barman", Instance: "lab", Err: "barman ended with exit code 1", Backups: []pg.ToolBackup{{Label: "20261121T195920", State: backup.Damaged, Why: "Barman says FAILED"}}},
		{Name: "wal-g", Backups: []pg.ToolBackup{{Label: "base_1", State: backup.Complete}}},
	}})
	var text []string
	for _, p := range got {
		text = append(text, p.Status.String()+" "+p.Summary)
	}
	all := strings.Join(text, "\n")
	for _, part := range []string{"critical postgres.erp: pgbackrest lab says of itself: no valid backups", "unknown postgres.erp: barman lab cannot be asked", "backup 20261121T195920 of barman lab is damaged"} {
		if !strings.Contains(all, part) {
			t.Errorf("%q is missing in:\n%s", part, all)
		}
	}
	if len(got) != 3 {
		t.Errorf("%d problems:\n%s", len(got), all)
	}
}
