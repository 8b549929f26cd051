package proxmox

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
)

func vzdumpLines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

func TestConsistencyOfABackup(t *testing.T) {
	head := "INFO: Starting Backup of VM 101 (qemu)\nINFO: Backup started at 2026-11-21 20:33:40\nINFO: status = running\n"
	tail := "\nINFO: Finished Backup of VM 101 (00:01:00)\nINFO: Backup finished at 2026-11-21 20:34:40"
	freeze := "INFO: issuing guest-agent 'fs-freeze' command\n"
	thaw := "INFO: issuing guest-agent 'fs-thaw' command"
	for name, c := range map[string]struct {
		log    string
		want   backup.Consistency
		status backup.Status
	}{
		"frozen":                 {head + "INFO: backup mode: snapshot\n" + freeze + thaw + tail, backup.Frozen, backup.OK},
		"the freeze failed":      {head + "INFO: backup mode: snapshot\n" + freeze + "ERROR: VM 101 qmp command 'guest-fsfreeze-freeze' failed - got timeout\n" + thaw + tail, backup.CrashConsistent, backup.Warning},
		"the thaw failed":        {head + "INFO: backup mode: snapshot\n" + freeze + thaw + "\nERROR: VM 101 qmp command 'guest-fsfreeze-thaw' failed - got timeout" + tail, backup.Frozen, backup.Warning},
		"the agent does not run": {head + "INFO: backup mode: snapshot\nINFO: skipping guest-agent 'fs-freeze', agent configured but not running?" + tail, backup.CrashConsistent, backup.OK},
		"freezing is turned off": {head + "INFO: backup mode: snapshot\nINFO: skipping guest-agent 'fs-freeze', disabled in VM options" + tail, backup.CrashConsistent, backup.OK},
		"no agent":               {head + "INFO: backup mode: snapshot" + tail, backup.CrashConsistent, backup.OK},
		"suspended":              {head + "INFO: backup mode: suspend" + tail, backup.CrashConsistent, backup.OK},
		"stopped for it":         {head + "INFO: backup mode: stop\nINFO: stopping virtual guest" + tail, backup.Stopped, backup.OK},
		"not running":            {strings.Replace(head, "running", "stopped", 1) + "INFO: backup mode: stop" + tail, backup.Stopped, backup.OK},
		"a warning":              {head + "INFO: backup mode: snapshot\nWARN: iothread is only valid with virtio disk" + tail, backup.CrashConsistent, backup.Warning},
		"of how the VM starts":   {head + "INFO: backup mode: snapshot\nWARN: EFI disk without 'ms-cert=2023k' option, suggesting that some certificates are not enrolled\nThey expire" + tail, backup.CrashConsistent, backup.OK},
		"still running":          {head + "INFO: backup mode: snapshot\n" + freeze + thaw, backup.Frozen, backup.Unknown},
		"just begun":             {"INFO: Starting Backup of VM 101 (qemu)", backup.ConsistencyUnknown, backup.Unknown},
	} {
		l := parseVzdumpLog(vzdumpLines(c.log))
		if len(l.Parts) != 1 {
			t.Fatalf("%s: %+v", name, l)
		}
		if got := l.Parts[0].Consistency(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if got := l.Parts[0].Status(); got != c.status {
			t.Errorf("%s: %s, want %s", name, got, c.status)
		}
	}
}

// What fails after the archive is whole takes nothing from it.
func TestWhatFailsAfterTheBackup(t *testing.T) {
	head := "INFO: Starting Backup of VM 101 (qemu)\nINFO: status = running\nINFO: backup mode: snapshot\nINFO: creating vzdump archive '/mnt/nas/dump/vzdump-qemu-101-2026_11_21-20_33_40.vma.zst'\n"
	failed := "ERROR: Backup of VM 101 failed - error pruning backups - check log\nINFO: Failed at 2026-11-21 20:34:40"
	for name, x := range map[string]struct {
		log    string
		status backup.Status
		words  string
	}{
		"pruning on a storage":   {head + "INFO: archive file size: 1.20GB\nINFO: prune older backups with retention: keep-last=3\nERROR: prune 'nas:backup/x' failed - Permission denied\n" + failed, backup.Warning, "the backup was made, but"},
		"pruning on a PBS":       {head + "INFO: adding notes to backup\nINFO: prune older backups with retention: keep-last=3\n" + failed, backup.Warning, "the backup was made, but"},
		"the hook after it":      {head + "INFO: archive file size: 1.20GB\n" + strings.Replace(failed, "error pruning backups - check log", "command '/root/hook.pl backup-end snapshot 101' failed: exit code 2", 1), backup.Warning, "exit code 2"},
		"the archive itself":     {head + strings.Replace(failed, "error pruning backups - check log", "vma_queue_write: write error - Broken pipe", 1), backup.Critical, "vma_queue_write"},
		"the notes, with a word": {head + "INFO: archive file size: 1.20GB\nINFO: adding notes to backup\nWARN: unable to add notes - timeout\nINFO: Finished Backup of VM 101 (00:01:00)", backup.Warning, "unable to add notes"},
	} {
		l := parseVzdumpLog(vzdumpLines(x.log))
		all := guestBackups(Task{Started: time.Unix(1, 0), Ended: time.Unix(61, 0), Exit: "job errors"}, &l)
		if len(all) != 1 || all[0].Status != x.status || !strings.Contains(all[0].Text, x.words) {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

func TestArchiveOfALog(t *testing.T) {
	for line, want := range map[string]string{
		"INFO: creating Proxmox Backup Server archive 'vm/101/2026-11-21T20:33:40Z'":              "vm/101/2026-11-21T20:33:40Z",
		"INFO: creating vzdump archive '/mnt/x/dump/vzdump-qemu-101-2026_11_21-20_33_40.vma.zst'": "vzdump-qemu-101-2026_11_21-20_33_40.vma.zst",
	} {
		if l := parseVzdumpLog([]string{"INFO: Starting Backup of VM 101 (qemu)", line}); l.Parts[0].Archive != want {
			t.Errorf("%q is %q", line, l.Parts[0].Archive)
		}
	}
}

// part is one guest's part of a night's log.
func part(id, begun, ended, took string) string {
	return "INFO: Starting Backup of VM " + id + " (qemu)\nINFO: Backup started at " + begun +
		"\nINFO: Finished Backup of VM " + id + " (" + took + ")\nINFO: Backup finished at " + ended + "\n"
}

func TestTimesOfANight(t *testing.T) {
	start := time.Unix(1795200000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	check := func(name, log string, end time.Time, want ...span) {
		t.Helper()
		got := place(parseVzdumpLog(vzdumpLines(log)).Parts, start, end)
		if !slices.EqualFunc(got, want, func(a, b span) bool { return a.start.Equal(b.start) && a.end.Equal(b.end) }) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	two := part("101", "2026-10-24 21:00:02", "2026-10-24 22:00:02", "01:00:00") + part("102", "2026-10-24 22:00:05", "2026-10-24 22:30:05", "00:30:00")
	hour, minute, sec := time.Hour, time.Minute, time.Second
	check("a plain night, in a zone that is not known", two, at(90*minute+6*sec),
		span{at(3 * sec), at(hour + 3*sec)}, span{at(hour + 6*sec), at(90*minute + 6*sec)})
	check("while it runs", part("101", "2026-10-24 21:00:00", "2026-10-24 22:00:00", "01:00:00")+"INFO: Starting Backup of VM 102 (qemu)\nINFO: Backup started at 2026-10-24 22:00:03",
		time.Time{}, span{at(0), at(hour)}, span{at(hour + 3*sec), time.Time{}})
	check("the clocks go back within a guest", part("101", "2026-10-25 02:30:00", "2026-10-25 02:30:00", "01:00:00")+part("102", "2026-10-25 02:30:00", "2026-10-25 02:40:00", "00:10:00"),
		at(70*minute), span{at(0), at(hour)}, span{at(hour), at(70 * minute)})
	check("the clocks go back between guests", part("101", "2026-10-25 02:00:00", "2026-10-25 02:59:59", "00:59:59")+part("102", "2026-10-25 02:00:00", "2026-10-25 02:10:00", "00:10:00"),
		at(70*minute), span{at(0), at(hour - sec)}, span{at(hour), at(70 * minute)})
	check("the clocks go forward between guests", part("101", "2026-03-29 01:00:00", "2026-03-29 01:59:59", "00:59:59")+part("102", "2026-03-29 03:00:00", "2026-03-29 03:10:00", "00:10:00"),
		at(70*minute-sec), span{at(0), at(hour - sec)}, span{at(hour - sec), at(70*minute - sec)})
	check("cut short in a guest", part("101", "2026-10-24 21:00:00", "2026-10-24 22:00:00", "01:00:00")+"INFO: Starting Backup of VM 102 (qemu)\nINFO: Backup started at 2026-10-24 22:00:00",
		at(61*minute), span{at(0), at(hour)}, span{at(hour), at(61 * minute)})
	check("nothing", "TASK ERROR: no", at(hour))
}

func TestGuestBackupsOfATask(t *testing.T) {
	start := time.Unix(1795200000, 0)
	task := Task{UPID: upid("pve1", 0, "vzdump", ""), Node: "pve1", Type: "vzdump", Started: start, Ended: start.Add(time.Hour), Exit: "job errors"}
	l := parseVzdumpLog(vzdumpLines("INFO: starting new backup job: vzdump 101 102 103 --mailnotification failure --storage pbs-usb --maxfiles 3\n" +
		part("101", "2026-11-21 20:00:00", "2026-11-21 20:10:00", "00:10:00") +
		"INFO: Starting Backup of VM 102 (lxc)\nINFO: Backup started at 2026-11-21 20:10:00\nERROR: Backup of VM 102 failed - it\nINFO: Failed at 2026-11-21 20:11:00"))
	got := guestBackups(task, &l)
	if len(got) != 3 || got[0].Status != backup.OK || got[0].Storage != "pbs-usb" || got[1].Status != backup.Critical || got[1].Text != "it" {
		t.Fatalf("backups %+v", got)
	}
	if never := got[2]; never.VMID != 103 || never.Status != backup.Critical || never.Text != "job errors" {
		t.Errorf("a guest that the job never reached is %+v", never)
	}
	if all := guestBackups(task, nil); all != nil {
		t.Errorf("without its log a task of several names %+v", all)
	}
	task.ID, task.Exit = "101", "OK"
	if one := guestBackups(task, nil); len(one) != 1 || one[0].Status != backup.OK || one[0].Consistency != backup.ConsistencyUnknown {
		t.Errorf("without its log a task of one is %+v", one)
	}
	cut := parseVzdumpLog(vzdumpLines("INFO: starting new backup job: vzdump 101 --storage x\nINFO: Starting Backup of VM 101 (qemu)\nINFO: status = running"))
	task.Exit = "unexpected status"
	if one := guestBackups(task, &cut); len(one) != 1 || one[0].Status != backup.Critical || one[0].Text != "unexpected status" {
		t.Errorf("a killed task is %+v", one)
	}
}

// A job of several nodes runs on each of them with the same command line.
func TestGuestsOfOtherNodesDidNotFail(t *testing.T) {
	start := time.Unix(1795200000, 0)
	task := Task{UPID: upid("pve1", 0, "vzdump", ""), Node: "pve1", Type: "vzdump", Started: start, Ended: start.Add(time.Hour), Exit: "job errors"}
	l := parseVzdumpLog(vzdumpLines("INFO: starting new backup job: vzdump 101 102 201 202 --quiet 1 --storage pbs-usb --mode snapshot\nINFO: skip external VMs: 201, 202\n" +
		part("101", "2026-11-21 20:00:00", "2026-11-21 20:10:00", "00:10:00") +
		"INFO: Starting Backup of VM 102 (lxc)\nINFO: Backup started at 2026-11-21 20:10:00\nERROR: Backup of VM 102 failed - it\nINFO: Failed at 2026-11-21 20:11:00"))
	for _, b := range guestBackups(task, &l) {
		if b.VMID > 200 {
			t.Errorf("guest %d of another node is %s: %s", b.VMID, b.Status, b.Text)
		}
	}
}

// A node keeps the line of a task in its list for longer than the task's log.
func TestLogThatIsThrownAwayMakesNothingUnknown(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	many, own := upid("pve1", 4800, "vzdump", ""), upid("pve1", 9000, "vzdump", "101")
	f.set("GET /nodes/pve1/tasks", "["+taskRow("pve1", 4800, "vzdump", "", "OK")+","+taskRow("pve1", 9000, "vzdump", "101", "OK")+"]")
	f.set("GET /nodes/pve1/tasks/"+many+"/log", `[{"n":1,"t":"unable to open file - No such file or directory"}]`)
	f.set("GET /nodes/pve1/tasks/"+own+"/log", `{"n":1,"t":"unable to open file - No such file or directory"}`)
	c := newTestClient(t, config(f))
	facts := survey1(t, c)
	if len(facts.Incomplete) != 0 || len(facts.Backups) != 1 || facts.Backups[0].Status != backup.OK {
		t.Errorf("incomplete %+v, backups %+v", facts.Incomplete, facts.Backups)
	}
	f.took()
	survey1(t, c)
	if calls := f.took(); len(calls) != 4 {
		t.Errorf("a log that is gone is asked for again: %v", calls)
	}
}

func TestSurveyReadsBackupLogs(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	many, own := upid("pve1", 4800, "vzdump", ""), upid("pve1", 9000, "vzdump", "101")
	f.set("GET /nodes/pve1/tasks", "["+taskRow("pve1", 4800, "vzdump", "", "WARNINGS: 1")+","+taskRow("pve1", 9000, "vzdump", "101", "")+"]")
	f.set("GET /cluster/tasks", "["+taskRow("pve1", 9000, "vzdump", "101", "")+"]")
	f.set("GET /nodes/pve1/tasks/"+many+"/log", `[{"n":2,"t":"INFO: Starting Backup of VM 101 (qemu)"},{"n":1,"t":"INFO: starting new backup job: vzdump --all 1 --storage local"},
		{"n":"3","t":"INFO: status = running"},{"n":4,"t":"INFO: creating vzdump archive '/var/lib/vz/dump/vzdump-qemu-101-2026_11_20-20_00_00.vma.zst'"},
		{"n":5,"t":"INFO: issuing guest-agent 'fs-freeze' command"},{"n":6,"t":"INFO: Finished Backup of VM 101 (00:00:30)"}]`)
	f.set("GET /nodes/pve1/tasks/"+own+"/log", `[{"n":1,"t":"INFO: Starting Backup of VM 101 (qemu)"},{"n":2,"t":"INFO: status = running"}]`)
	c := newTestClient(t, config(f))
	now := testNow
	c.Now = func() time.Time { return now }
	facts := survey1(t, c)
	if len(facts.Backups) != 2 || !facts.Backups[0].Ended.IsZero() || facts.Backups[0].UPID != own {
		t.Fatalf("backups %+v, incomplete %v", facts.Backups, facts.Incomplete)
	}
	if b := facts.Backups[1]; b.Consistency != backup.Frozen || b.VMID != 101 || b.Storage != "local" || b.Status != backup.OK {
		t.Errorf("the ended one is %+v", b)
	}
	for _, copy := range facts.Copies {
		if copy.Kind == "backup" && (copy.Consistency != backup.Frozen || copy.Finished.IsZero()) {
			t.Errorf("its archive is %+v", copy)
		}
	}
	if len(facts.Runs) != 2 || !facts.Runs[0].Running() || facts.Runs[0].Status != backup.Unknown || facts.Runs[1].Status != backup.Warning ||
		facts.Runs[0].Subject != "guest:home/101" || facts.Runs[1].Subject != "" {
		t.Errorf("runs %+v", facts.Runs)
	}
	f.took()
	survey1(t, c)
	calls := f.took()
	if !slices.ContainsFunc(calls, func(s string) bool { return strings.Contains(s, own+"/log") }) ||
		slices.ContainsFunc(calls, func(s string) bool { return strings.Contains(s, many+"/log") }) {
		t.Errorf("the log of what runs is read again, of what ended it is not: %v", calls)
	}
}

func TestUnreadableLogsAreNotAskedForAgain(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	own := upid("pve1", 9000, "vzdump", "101")
	f.set("GET /nodes/pve1/tasks", "["+taskRow("pve1", 9000, "vzdump", "101", "OK")+"]")
	f.fail("GET /nodes/pve1/tasks/"+own+"/log", "403 Permission check failed (/nodes/pve1, Sys.Audit)")
	c := newTestClient(t, config(f))
	facts := survey1(t, c)
	if len(facts.Backups) != 1 || facts.Backups[0].Status != backup.OK || facts.Backups[0].Consistency != backup.ConsistencyUnknown {
		t.Errorf("backups %+v", facts.Backups)
	}
	if len(facts.Hidden) != 1 || facts.Hidden[0].Privilege != "Sys.Audit" {
		t.Errorf("hidden %+v", facts.Hidden)
	}
	f.took()
	again := survey1(t, c)
	if len(f.took()) != 4 || len(again.Hidden) != 1 {
		t.Errorf("it was asked for again, or forgotten: %+v", again.Hidden)
	}
}

func TestMissedTasksAreFound(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	f.set("GET /cluster/tasks", "["+taskRow("pve1", 1, "vzdump", "", "OK")+"]")
	f.set("GET /nodes/pve1/tasks", "["+taskRow("pve1", 1, "vzdump", "", "OK")+"]")
	f.set("GET /nodes/pve1/tasks/"+upid("pve1", 1, "vzdump", "")+"/log", "[]")
	c := newTestClient(t, config(f))
	survey1(t, c)
	f.set("GET /cluster/tasks", "["+taskRow("pve1", 99, "qmstart", "101", "OK")+"]")
	f.took()
	survey1(t, c)
	if calls := f.took(); !slices.ContainsFunc(calls, func(s string) bool { return strings.HasPrefix(s, "GET /nodes/pve1/tasks?") }) {
		t.Errorf("none of the node's tasks was known, so others went by: %v", calls)
	}
}

// A job's command line quotes what people wrote: numbers in a note are no guests.
func TestNumbersInANoteAreNoGuests(t *testing.T) {
	l := parseVzdumpLog(vzdumpLines("INFO: starting new backup job: vzdump 104 105 --notes-template '{{guestname}} rack 12 of 2026' --mailto --fleecing '1,storage=local-lvm' --bwlimit 0 --storage nas --mode snapshot\n" +
		"INFO: Starting Backup of VM 104 (qemu)\nINFO: Backup started at 2026-11-20 01:00:02\nERROR: Backup of VM 104 failed - connection refused"))
	if !slices.Equal(l.Asked, []int{104, 105}) || l.Storage != "nas" {
		t.Fatalf("got %+v", l)
	}
	failed := Task{UPID: "u", Started: time.Unix(1, 0), Ended: time.Unix(60, 0), Exit: "job errors"}
	for _, b := range guestBackups(failed, &l) {
		if b.VMID != 104 && b.VMID != 105 {
			t.Errorf("nobody asked for %+v", b)
		}
	}
}
