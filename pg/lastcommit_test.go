package pg

import (
	"testing"
	"time"
)

func TestCommitTimes(t *testing.T) {
	at := time.Date(2026, 11, 22, 5, 30, 0, 123456000, time.UTC)
	for line, want := range map[string]time.Time{
		`rmgr: Transaction len (rec/tot):     34/    34, tx:        743, lsn: 0/03000148, prev 0/03000110, desc: COMMIT 2026-11-22 05:30:00.123456 UTC`:                   at,
		`rmgr: Transaction len (rec/tot):    146/   146, tx: 744, lsn: 0/03000170, prev 0/03000148, desc: COMMIT 2026-11-22 05:30:00.123456 UTC; inval msgs: catcache 51`: at,
		`rmgr: Transaction len (rec/tot): 66/ 66, tx: 0, lsn: 0/03000170, prev 0/03000148, desc: COMMIT_PREPARED 745: 2026-11-22 05:30:00.123456 UTC`:                     at,
		`rmgr: Transaction len (rec/tot):     34/    34, tx:        746, lsn: 0/03000148, prev 0/03000110, desc: ABORT 2026-11-22 05:31:00.123456 UTC`:                    {},
		`rmgr: Transaction len (rec/tot):     34/    34, tx:        746, lsn: 0/03000148, prev 0/03000110, desc: COMMIT 2026-11-22 05:30:00.123456 CET`:                   {},
		`rmgr: Transaction len (rec/tot):     34/    34, tx:        746, lsn: 0/03000148, prev 0/03000110, desc: COMMIT 2026-99-22 05:30:00 UTC`:                          {},
		`pg_waldump: error: error in WAL record at 0/30001D8: invalid record length at 0/3000210: wanted 24, got 0`:                                                       {},
		``: {},
	} {
		if got, ok := commitTime([]byte(line)); !got.Equal(want) && !want.IsZero() || ok == want.IsZero() {
			t.Errorf("%s: %s (%v), want %s", line, got, ok, want)
		}
	}
}

func FuzzCommitTime(f *testing.F) {
	f.Add("desc: COMMIT 2026-11-22 05:30:00.123456 UTC")
	f.Add("desc: COMMIT_PREPARED 745: 2026-11-22 05:30:00.1 UTC")
	f.Add("desc: COMMIT")
	f.Fuzz(func(t *testing.T, line string) {
		if at, ok := commitTime([]byte(line)); ok && at.Year() > 9999 {
			t.Error(at)
		}
	})
}
