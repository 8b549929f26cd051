package pbs

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
)

func TestParseUPID(t *testing.T) {
	for text, want := range map[string]UPID{
		`UPID:pbs-01:000003A9:00000612:000017CD:643F3D37:backup:Backup\x2dVms\x3avm-6002:backup@pbs:`: {
			"pbs-01", time.Unix(0x643F3D37, 0).UTC(), "backup", "Backup-Vms:vm/6002", "backup@pbs"},
		`UPID:nas:00000025:000023D8:00000015:6ABA2CE2:syncjob:far\x3astore1\x3astore2\x3a\x3asjob\x2ddead:cairn@pbs!act:`: {
			"nas", time.Unix(0x6ABA2CE2, 0).UTC(), "syncjob", "far:store1:store2::sjob-dead", "cairn@pbs!act"},
		`UPID:nas:00000025:0123456789:00000015:6ABA2CE2:aptupdate::root@pam:`: {
			"nas", time.Unix(0x6ABA2CE2, 0).UTC(), "aptupdate", "", "root@pam"},
	} {
		if got, err := ParseUPID(text); err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "UPID", ":::::::::", "UPID:nas:1:1:1:1:backup:x:root@pam",
		"UPID:pve1:0000C3F1:01C2B5F6:6ABA2CE2:vzdump:101:root@pam:", // PVE's has a field less
		"UPID:nas:00000025:000023D8:00000015:zzz:gc:usb:root@pam:",  // no hexadecimal
		"UPID:nas:x:000023D8:00000015:6ABA2CE2:gc:usb:root@pam:",    // no pid
		"UPID:nas:1:1:1:FFFFFFFFFFFFFFFF:gc:usb:root@pam:",          // no time
		`UPID:nas:1:1:1:6ABA2CE2:gc:us\x3:root@pam:`, `UPID:nas:1:1:1:6ABA2CE2:gc:us\q:root@pam:`, `UPID:nas:1:1:1:6ABA2CE2:gc:us\xzz:root@pam:`,
	} {
		if got, err := ParseUPID(text); err == nil {
			t.Errorf("%q gave %+v", text, got)
		}
	}
}

func FuzzParseUPID(f *testing.F) {
	f.Add(`UPID:pbs-01:000003A9:00000612:000017CD:643F3D37:backup:Backup\x2dVms\x3avm-6002:backup@pbs:`)
	f.Add(`UPID:a:1:1:1:1:t:\x:u:`)
	f.Add(strings.Repeat(":", 9))
	f.Fuzz(func(t *testing.T, text string) {
		task, err := ParseUPID(text)
		if err == nil && (task.Node == "" || task.Type == "" || task.Started.Unix() > lastSecond) {
			t.Errorf("%q gave %+v", text, task)
		}
	})
}

func TestNamespacePatterns(t *testing.T) {
	existing := []string{"", "lab", "lab/nodes", "lab/nodes/a", "labour"}
	for _, c := range []struct{ patterns, chosen, missing []string }{
		{nil, existing, nil},
		{[]string{"**"}, existing, nil},
		{[]string{""}, []string{""}, nil},
		{[]string{"lab"}, []string{"lab"}, nil},
		{[]string{"lab/**"}, []string{"lab", "lab/nodes", "lab/nodes/a"}, nil},
		{[]string{"", "lab/**", "lab"}, []string{"", "lab", "lab/nodes", "lab/nodes/a"}, nil},
		{[]string{"Lab", "lab/nodes/**"}, []string{"lab/nodes", "lab/nodes/a"}, []string{"Lab"}},
	} {
		chosen, missing := choose(c.patterns, existing)
		if !slices.Equal(chosen, c.chosen) || !slices.Equal(missing, c.missing) {
			t.Errorf("%q: chose %q, missing %q", c.patterns, chosen, missing)
		}
	}
	for pattern, ok := range map[string]bool{
		"": true, "**": true, "lab": true, "lab/**": true, "a/b/c": true, "a/b/**": true,
		"*": false, "lab*": false, "/**": false, "lab/*": false, "lab/**/x": false, "/lab": false, "lab/": false, "a//b": false, "a//**": false,
	} {
		if err := CheckNamespace(pattern); (err == nil) != ok {
			t.Errorf("CheckNamespace(%q) = %v", pattern, err)
		}
	}
}

func FuzzNamespacePatterns(f *testing.F) {
	for _, p := range []string{"", "**", "lab/**", "lab", "/**", "a//b", "*"} {
		f.Add(p, "lab/nodes")
	}
	f.Fuzz(func(t *testing.T, pattern, ns string) {
		chosen, missing := choose([]string{pattern}, []string{ns})
		if len(chosen)+len(missing) != 1 || (len(chosen) == 1) != matches(pattern, ns) {
			t.Errorf("%q on %q: chosen %q, missing %q", pattern, ns, chosen, missing)
		}
		if CheckNamespace(pattern) == nil && !strings.Contains(pattern, "*") && matches(pattern, ns) != (pattern == ns) {
			t.Errorf("%q should match itself only, not %q", pattern, ns)
		}
	})
}

func TestTaskStatus(t *testing.T) {
	for state, want := range map[string]backup.Status{
		"OK": backup.OK, " OK ": backup.OK, "WARNINGS: 1": backup.Warning, "unknown": backup.Unknown, "": backup.Unknown,
		"ok": backup.Critical, "OK, but": backup.Critical, "WARNINGS": backup.Critical,
		"sync failed with some errors.": backup.Critical, "client error (Connect)": backup.Critical, "task aborted": backup.Critical,
		"verification failed - please check the log for details": backup.Critical, "no route": backup.Critical,
	} {
		if got := taskStatus(state); got != want {
			t.Errorf("%q is %s, want %s", state, got, want)
		}
	}
}

func FuzzJobs(f *testing.F) {
	f.Add([]byte(usual()["/admin/verify"]))
	f.Add([]byte(usual()["/admin/prune"]))
	f.Add([]byte(usual()["/admin/sync?sync-direction=all"]))
	f.Add([]byte(`{"data":[{"id":1,"store":null,"last-run-upid":7,"last-run-state":false,"last-run-endtime":"1e9","keep-last":1e300,"next-run":-1}]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		_, _ = decodeList(bytes.NewReader(answer), func(r *jobRow) {
			for _, kind := range []JobKind{VerifyJob, PruneJob, SyncJob} {
				j := r.job("pbs.nas", kind)
				if j.LastRun.Status == backup.OK && r.State != "" && strings.TrimSpace(string(r.State)) != "OK" {
					t.Errorf("%q passes for OK", r.State)
				}
				if j.LastRun.Running() && r.State != "" {
					t.Errorf("it ended with %q and runs", r.State)
				}
				j.finish(nil, true)
				if j.LastRun.Running() || j.Keep.Last < 0 {
					t.Errorf("%+v", j)
				}
			}
		})
	})
}

func FuzzTasks(f *testing.F) {
	f.Add([]byte(usual()["/nodes/localhost/tasks"]))
	f.Add([]byte(usual()["/nodes/localhost/tasks?limit=5000&running=1"]))
	f.Add([]byte(`{"data":[{"upid":"x","starttime":"9","status":"OK"},{"worker_type":"syncjob","worker_id":"::::"},{}]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		_, _ = decodeList(bytes.NewReader(answer), func(r *taskRow) {
			if run := r.run("pbs.nas"); run.Running() && r.Status != "" {
				t.Errorf("it ended with %q and runs", r.Status)
			}
			taskStore(string(r.Type), string(r.ID))
		})
	})
}

func FuzzSnapshots(f *testing.F) {
	f.Add([]byte(usual()["/admin/datastore/usb/snapshots"]))
	f.Add([]byte(usual()["/admin/datastore/usb/snapshots?ns=lab"]))
	f.Add([]byte(`{"data":[null,1,{"backup-type":"vm","backup-id":"1","backup-time":"99999999999999999999","files":{}}]}`))
	f.Add([]byte(`{"data":[{"backup-type":"vm"`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		all, odd, err := parseSnapshots(bytes.NewReader(answer), "lab")
		if err != nil && (all != nil || odd != 0) {
			t.Error("a part of a list passes for all of it")
		}
		for _, s := range all {
			if s.Type == "" || s.ID == "" || s.Time.IsZero() || s.Size < 0 || s.Namespace != "lab" {
				t.Errorf("%+v", s)
			}
			hasIndex := slices.ContainsFunc(s.Files, func(f File) bool { return f.Name == indexName })
			if s.InFlight == hasIndex || s.InFlight && s.Verified() {
				t.Errorf("in flight %t with index %t", s.InFlight, hasIndex)
			}
			if _, err := json.Marshal(s); err != nil {
				t.Errorf("facts are kept as JSON: %v", err)
			}
		}
	})
}

func TestUsageEstimates(t *testing.T) {
	now := fakeNow
	for full, want := range map[string]Trend{
		`null`: TooLittleData, `0`: Flat, `"0"`: Flat, `1`: Shrinking, `-5`: Shrinking, `253402300800`: FarAway,
		`9223372036854775807`: FarAway, `"soon"`: TooLittleData,
	} {
		u := readStore(t, `{"store":"usb","estimated-full-date":`+full+`}`).usage(now)
		if !u.Full.IsZero() || u.Trend != want {
			t.Errorf("%s: %s %q, want %q", full, u.Full, u.Trend, want)
		}
	}
	if u := readStore(t, `{"store":"usb"}`).usage(now); u.Trend != TooLittleData || u.Total != 0 {
		t.Errorf("absent: %+v", u)
	}
	u := readStore(t, `{"store":"usb","estimated-full-date":1777000000,"error":"cannot\nread"}`).usage(now)
	if u.Full.Unix() != 1777000000 || u.Trend != "" || u.Err != "cannot" {
		t.Errorf("%+v", u)
	}
}

func readStore(t *testing.T, row string) store {
	t.Helper()
	var s store
	if err := json.Unmarshal([]byte(row), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUsageOfTheSurvey(t *testing.T) {
	u := surveyed(t, usual()).Usage
	if u.Total != 1000 || u.Used != 250 || u.Available != 750 || u.Full.IsZero() {
		t.Errorf("%+v", u)
	}
	want := []Sample{
		{fakeNow.Add(-90 * time.Minute), 0.1}, {fakeNow.Add(-60 * time.Minute), 0.2}, {fakeNow.Add(-30 * time.Minute), 0.25},
	}
	if !slices.Equal(u.History, want) {
		t.Errorf("history %v, want %v", u.History, want)
	}
}

func FuzzUsage(f *testing.F) {
	f.Add([]byte(usual()["/status/datastore-usage"]))
	f.Add([]byte(`{"data":[{"store":"usb","history":[1e999,"x",{},-1,2,null],"history-start":1,"history-delta":1e18,"total":-1,"maintenance":"offline,message=\"a\\"}]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		_, _ = decodeList(bytes.NewReader(answer), func(s *store) {
			u := s.usage(fakeNow)
			if u.Total < 0 || u.Used < 0 || u.Available < 0 || len(u.History) > mostSamples {
				t.Errorf("%+v", u)
			}
			for _, h := range u.History {
				if h.Ratio < 0 || h.Ratio > 1 || h.At.Before(time.Unix(0, 0)) {
					t.Errorf("%+v", h)
				}
			}
			maintenanceWords(string(s.Maintenance))
		})
	})
}

func TestTasksBelongToTheirDatastore(t *testing.T) {
	for _, c := range []struct{ kind, id, store, subject string }{
		{"backup", "usb:vm/101", "usb", "vm/101"},
		{"backup", "usb:lab/nodes:vm/101", "usb", "lab/nodes/vm/101"},
		{"backup", "usb:ns/lab:ct/200", "usb", "lab/ct/200"},
		{"verify_group", "usb:ns/lab/ns/nodes:ct/200", "usb", "lab/nodes/ct/200"},
		{"garbage_collection", "usb", "usb", ""},
		{"syncjob", "far:their:usb::j", "usb", "j"},
		{"syncjob", "far:usb:mine:ns:j", "mine", "j"},
		{"verificationjob", "usb:v-weekly", "usb", "v-weekly"},
		{"aptupdate", "", "", ""},
	} {
		if store, subject := taskStore(c.kind, c.id), taskSubject(c.kind, c.id); store != c.store || subject != c.subject {
			t.Errorf("%s %s: %q %q", c.kind, c.id, store, subject)
		}
	}
}

func TestPermissionsAreInherited(t *testing.T) {
	p := permissions{
		"/":                     {"Sys.Audit": true},
		"/datastore":            {datastoreAudit: true, "Datastore.Read": false},
		"/datastore/usb/hidden": {"Datastore.Backup": true},
	}
	for _, c := range []struct {
		path, privilege string
		here, below     bool
	}{
		{"/datastore", datastoreAudit, true, true},
		{"/datastore/usb", datastoreAudit, true, true},
		{"/datastore/usb", "Datastore.Read", false, false},
		{"/datastore", "Datastore.Read", true, false},
		{"/datastore/usb/hidden", datastoreAudit, false, false},
		{"/datastore/usb/hidden/x", datastoreAudit, false, false},
		{"/system/tasks", "Sys.Audit", true, true},
		{"/remote", remoteAudit, false, false},
	} {
		if here, below := p.on(c.path, c.privilege); here != c.here || below != c.below {
			t.Errorf("%s on %s: %t %t", c.privilege, c.path, here, below)
		}
	}
}

func FuzzPermissions(f *testing.F) {
	f.Add([]byte(usual()["/access/permissions"]), "/datastore/usb")
	f.Add([]byte(`{"data":{"":{"Datastore.Audit":1}}}`), "datastore")
	f.Fuzz(func(t *testing.T, answer []byte, path string) {
		p, err := decodeValue[permissions](bytes.NewReader(answer))
		if err != nil {
			return
		}
		if here, below := p.on("/datastore/"+path, datastoreAudit); len(p) == 0 && (here || below) {
			t.Error("nothing is granted, and yet it is")
		}
	})
}

func TestTolerantScalars(t *testing.T) {
	type all struct {
		N number
		F flag
		T text
	}
	for in, want := range map[string]all{
		`{"N":12,"F":true,"T":"x"}`:           {number{12, true}, true, "x"},
		`{"N":"12","F":1,"T":12}`:             {number{12, true}, true, "12"},
		`{"N":12.9,"F":"1","T":true}`:         {number{12, true}, true, "true"},
		`{"N":null,"F":null,"T":null}`:        {},
		`{"N":"","F":"","T":""}`:              {},
		`{"N":{},"F":[],"T":{"a":1}}`:         {},
		`{"N":1e99,"F":0,"T":"\u00e9\n\"\\"}`: {number{}, false, "é\n\"\\"},
		`{"N":-3,"F":"no","T":[1]}`:           {number{-3, true}, false, ""},
		`{}`:                                  {},
	} {
		var got all
		if err := json.Unmarshal([]byte(in), &got); err != nil || got != want {
			t.Errorf("%s: %+v %v", in, got, err)
		}
	}
}

func TestACutListIsAnError(t *testing.T) {
	whole := `{"data":[{"backup-type":"vm","backup-id":"1","backup-time":1790585935}],"total":1}`
	for end := range whole {
		if all, _, err := parseSnapshots(strings.NewReader(whole[:end]), ""); err == nil || len(all) > 0 {
			t.Errorf("%q gave %v, %v", whole[:end], all, err)
		}
	}
	if all, odd, err := parseSnapshots(strings.NewReader(whole), ""); err != nil || len(all) != 1 || odd != 0 {
		t.Error(all, odd, err)
	}
	var syntax *json.SyntaxError
	if _, _, err := parseSnapshots(strings.NewReader(`{"data":[{,]}`), ""); !errors.As(err, &syntax) {
		t.Errorf("%v", err)
	}
}

func TestFingerprints(t *testing.T) {
	plain := strings.Repeat("0a", 32)
	for _, good := range []string{plain, strings.ToUpper(plain), strings.TrimSuffix(strings.Repeat("0A:", 32), ":"), " " + plain + "\n"} {
		if sum, err := ParseFingerprint(good); err != nil || formatFingerprint(sum) != strings.TrimSuffix(strings.Repeat("0a:", 32), ":") {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "0a", plain + "0a", strings.Repeat("zz", 32), plain[:63]} {
		if _, err := ParseFingerprint(bad); err == nil {
			t.Errorf("%q is no fingerprint", bad)
		}
	}
}

// Where PBS cannot read a snapshot's index it lists the files by name alone: that
// is no backup that could be restored, and no upload that goes on either.
func TestIndexThatCannotBeRead(t *testing.T) {
	all, odd, err := parseSnapshots(strings.NewReader(`{"data":[
		{"backup-type":"vm","backup-id":"100","backup-time":1700000000,"owner":"b@pbs","protected":false,"size":null,"verification":{"state":"ok","upid":"x"},
		 "files":[{"filename":"drive-scsi0.img.fidx"},{"filename":"index.json.blob","size":null,"crypt-mode":null}]},
		{"backup-type":"vm","backup-id":"101","backup-time":1700000000,"owner":"b@pbs","size":0,"verification":null,"files":[{"filename":"index.json.blob"}]},
		{"backup-type":"vm","backup-id":"102","backup-time":1700000000,"owner":"b@pbs!t","files":[{"filename":"index.json.blob","crypt-mode":"none","size":90}]}]}`), "")
	if err != nil || odd != 0 || len(all) != 3 {
		t.Fatalf("%v, %d odd, %+v", err, odd, all)
	}
	f := Facts{TasksComplete: true}
	if state, why := f.State(all[0]); state != backup.Damaged || all[0].Verified() || !strings.Contains(why, "cannot read its index") {
		t.Errorf("%s: %s", state, why)
	}
	for _, s := range all[1:] {
		if state, why := f.State(s); state != backup.Complete {
			t.Errorf("%s: %s %s", s.Key(), state, why)
		}
	}
}

// A key's fingerprint stands beside a backup that was only signed, too.
func TestEncryptedOrSigned(t *testing.T) {
	index := File{Name: indexName, Crypt: "sign-only"}
	for name, c := range map[string]struct {
		s    Snapshot
		want bool
	}{
		"encrypted":              {Snapshot{Fingerprint: "aa:bb", Files: []File{{Name: "a.fidx", Crypt: "encrypt"}, index}}, true},
		"a part is encrypted":    {Snapshot{Files: []File{{Name: "a.conf.blob", Crypt: "none"}, {Name: "a.fidx", Crypt: "encrypt"}, index}}, true},
		"signed":                 {Snapshot{Fingerprint: "aa:bb", Files: []File{{Name: "a.fidx", Crypt: "sign-only"}, index}}, false},
		"plain":                  {Snapshot{Files: []File{{Name: "a.fidx", Crypt: "none"}, {Name: indexName, Crypt: "none"}}}, false},
		"the files tell nothing": {Snapshot{Fingerprint: "aa:bb", Files: []File{{Name: "a.fidx"}}}, true},
	} {
		if got := c.s.Encrypted(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
