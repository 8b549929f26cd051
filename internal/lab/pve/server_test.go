package pve

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAuthentication(t *testing.T) {
	w := homeWorld()
	w.Pace.AuthDelay = 50 * time.Millisecond
	l := startLab(t, w)
	began := time.Now()
	r := l.as("root@pam!nosuch", "GET", "/version")
	expect(t, r, 401, "Authentication failed!")
	if r.body != "" || time.Since(began) < 50*time.Millisecond {
		t.Errorf("body %q after %s: a 401 has none and is late", r.body, time.Since(began))
	}
	expect(t, l.call("GET", "/nosuch"), 501, "Method 'GET /nosuch' not implemented")
}

func TestFingerprintIsTheCertificates(t *testing.T) {
	l := startLab(t, homeWorld())
	peer := func() string {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(l.URL(), "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
		return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
	}
	old := l.Fingerprint()
	if peer() != old {
		t.Errorf("served %s, told %s", peer(), old)
	}
	if err := l.NewCertificate(); err != nil {
		t.Fatal(err)
	}
	if peer() == old || peer() != l.Fingerprint() {
		t.Error("the certificate did not change")
	}
	if r := l.call("GET", "/version"); r.status != 0 || !strings.Contains(r.reason, "certificate") {
		t.Errorf("the old authority still passes: %+v", r)
	}
}

func TestHiddenRowsAreNoErrors(t *testing.T) {
	l := startLab(t, homeWorld())
	for _, c := range []struct {
		token, path string
		rows        int
	}{
		{"audit@pve!t", "/nodes/pve1/storage/vmstore/content", 0},
		{"audit@pve!t", "/nodes/pve1/qemu", 4},
		{"bkp@pve!t", "/nodes/pve1/qemu", 0},
		{"bkp@pve!t", "/nodes/pve1/storage/vmstore/content?content=backup", 2},
		{"oper@pve!sep", "/cluster/resources?type=vm", 0},
		{"oper@pve!t", "/cluster/resources?type=vm", 7},
		{"bkp@pve!t", "/nodes/pve1/tasks", 0},
	} {
		r := l.as(c.token, "GET", c.path)
		rows, _ := r.data.([]any)
		if r.status != 200 || len(rows) != c.rows {
			t.Errorf("%s %s: %d with %d rows, want %d", c.token, c.path, r.status, len(rows), c.rows)
		}
	}
	// A privilege-separated token has what it and its user have.
	l.Grant(ACL{Path: "/vms/100", Who: "oper@pve!sep", Role: "PVEVMAdmin"})
	r := l.as("oper@pve!sep", "GET", "/access/permissions", "path=/vms/100")
	have := fmt.Sprint(r.data)
	if !strings.Contains(have, "VM.Backup") || strings.Contains(have, "VM.Snapshot") {
		t.Errorf("permissions %s", have)
	}
}

func TestRefuseOpensTheSamePortAgain(t *testing.T) {
	l := startLab(t, homeWorld())
	url := l.URL()
	if err := l.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if r := l.call("GET", "/version"); !strings.Contains(r.reason, "refused") {
		t.Errorf("while refusing: %+v", r)
	}
	if err := l.Refuse(false); err != nil {
		t.Fatal(err)
	}
	if r := l.call("GET", "/version"); r.status != 200 || l.URL() != url {
		t.Errorf("again: %+v", r)
	}
}

func TestFaults(t *testing.T) {
	l := startLab(t, homeWorld())
	version := regexp.MustCompile("/version$")
	clear := l.Fault(Fault{Match: version, Status: 596, Reason: "Connection timed out"})
	expect(t, l.call("GET", "/version"), 596, "Connection timed out")
	expect(t, l.call("GET", "/cluster/nextid"), 200, "OK")
	clear()
	l.Fault(Fault{Match: version, Times: 1, Malformed: true})
	if r := l.call("GET", "/version"); r.status != 200 || r.data != nil {
		t.Errorf("malformed: %+v", r)
	}
	l.Fault(Fault{Match: version, Times: 1, CutAfter: 7})
	if r := l.call("GET", "/version"); !strings.Contains(r.reason, "unexpected EOF") {
		t.Errorf("cut: %+v", r)
	}
	l.Fault(Fault{Match: version, Times: 1, Edit: func(s string) string { return strings.Replace(s, "8.4.21", "99", 1) }})
	if r := l.call("GET", "/version"); !strings.Contains(r.body, `"99"`) {
		t.Errorf("edited: %+v", r)
	}
	l.Fault(Fault{Match: version, Hang: true})
	l.client.Timeout = 100 * time.Millisecond
	if r := l.call("GET", "/version"); r.status != 0 {
		t.Errorf("hanging: %+v", r)
	}
	l.client.Timeout = 10 * time.Second
	l.ClearFaults()
	l.Latency(60 * time.Millisecond)
	began := time.Now()
	expect(t, l.call("GET", "/version"), 200, "OK")
	if time.Since(began) < 60*time.Millisecond {
		t.Error("no latency")
	}
	testkit.Until(t, time.Minute, "the call that hung is answered, to nobody", func() bool { return len(l.Requests()) == 7 })
	if l.Requests()[0].User != "" {
		t.Errorf("log %+v", l.Requests())
	}
	l.ResetRequests()
	l.call("GET", "/version")
	if got := l.Requests(); len(got) != 1 || got[0] != (Request{"GET", "/api2/json/version", root, 200}) {
		t.Errorf("log %+v", got)
	}
}

func TestNodeDown(t *testing.T) {
	l := startLab(t, homeWorld())
	l.NodeDown("pve2", true)
	r := l.call("GET", "/nodes/pve2/status")
	expect(t, r, 595, "No route to host")
	if r.body != "" {
		t.Errorf("body %q", r.body)
	}
	expect(t, l.as("bkp@pve!t", "GET", "/nodes/pve2/status"), 403, "Permission check failed (/nodes/pve2, Sys.Audit)")
	rows, _ := l.data("GET", "/cluster/resources", "type=vm").([]any)
	for _, row := range rows {
		if g := row.(map[string]any); g["node"] == "pve2" && (g["status"] != "unknown" || g["name"] != nil) {
			t.Errorf("a guest of a dead node: %v", g)
		}
	}
	l.NodeDown("pve2", false)
	expect(t, l.call("GET", "/nodes/pve2/status"), 200, "OK")
}

func TestTaskLists(t *testing.T) {
	l := startLab(t, homeWorld())
	l.TaskHistory(TaskInfo{Node: "pve1", Type: "vzdump", ID: "", User: "root@pam", Start: fixedNow.Add(-time.Hour), End: fixedNow.Add(-50 * time.Minute), Exit: "job errors", Log: []string{"INFO: x"}})
	for i := range 60 {
		l.TaskHistory(TaskInfo{Node: "pve1", Type: "qmstart", ID: "100", User: root, Start: fixedNow.Add(-2*time.Hour + time.Duration(i)*time.Second), End: fixedNow.Add(-2*time.Hour + time.Duration(i)*time.Second), Exit: "OK"})
	}
	rows, _ := l.data("GET", "/nodes/pve1/tasks").([]any)
	if len(rows) != 50 || rows[0].(map[string]any)["type"] != "vzdump" {
		t.Errorf("%d rows, first %v", len(rows), rows[0])
	}
	if rows, _ := l.data("GET", "/nodes/pve1/tasks", "errors=1").([]any); len(rows) != 1 {
		t.Errorf("%d errors", len(rows))
	}
	hold := l.HoldTask("qmsnapshot", "", "data")
	upid := l.data("POST", "/nodes/pve1/qemu/100/snapshot", "snapname=one").(string)
	<-hold.Reached()
	rows, _ = l.data("GET", "/nodes/pve1/tasks", "source=active").([]any)
	row := rows[0].(map[string]any)
	if row["status"] != "RUNNING" || row["user"] != root || row["tokenid"] != nil || row["endtime"] != nil {
		t.Errorf("active row %v", row)
	}
	status, _ := l.data("GET", "/nodes/pve1/tasks/"+upid+"/status").(map[string]any)
	if status["status"] != "running" || status["exitstatus"] != nil {
		t.Errorf("status %v", status)
	}
	log, _ := l.data("GET", "/nodes/pve1/tasks/"+upid+"/log").([]any)
	if len(log) != 1 || log[0].(map[string]any)["t"] != "no content" {
		t.Errorf("empty log %v", log)
	}
	hold.Release()
	expectExit(t, l.ended(upid), "OK")
}

func TestBackupEvictsByTheStoragesRule(t *testing.T) {
	w := homeWorld()
	now := fixedNow
	w.Now = func() time.Time { return now }
	l := startLab(t, w)
	count := func() (n, protected int) {
		rows, _ := l.data("GET", "/nodes/pve1/storage/keep1/content").([]any)
		for _, r := range rows {
			if fmt.Sprint(r.(map[string]any)["protected"]) == "1" {
				protected++
			}
		}
		return len(rows), protected
	}
	dump := func(params ...string) TaskInfo {
		l.mu.Lock()
		now = now.Add(time.Minute)
		l.mu.Unlock()
		return l.run("POST", "/nodes/pve1/vzdump", append([]string{"vmid=300", "storage=keep1"}, params...)...)
	}
	steps := []struct {
		params       []string
		exit         string
		n, protected int
	}{
		{nil, "OK", 1, 0},
		{nil, "OK", 1, 0}, // the first is gone
		{[]string{"remove=0", "protected=1"}, "OK", 2, 1},
		{nil, "OK", 2, 1},
		{[]string{"remove=0"}, "job errors", 2, 1},
		{[]string{"protected=1"}, "OK", 3, 2},
		{[]string{"prune-backups=keep-all=1"}, "OK", 4, 2},
	}
	for i, s := range steps {
		info := dump(s.params...)
		n, protected := count()
		if info.Exit != s.exit || n != s.n || protected != s.protected {
			t.Errorf("step %d %v: %s, %d backups, %d protected; want %s, %d, %d\n%s", i, s.params, info.Exit, n, protected, s.exit, s.n, s.protected, strings.Join(info.Log, "\n"))
		}
	}
	rows, _ := l.data("GET", "/nodes/pve1/storage/keep1/prunebackups").([]any)
	var marks []string
	for _, r := range rows {
		marks = append(marks, r.(map[string]any)["mark"].(string))
	}
	slices.Sort(marks)
	if fmt.Sprint(marks) != "[keep protected protected remove]" {
		t.Errorf("marks %v", marks)
	}
	expect(t, l.as("bkp@pve!t", "POST", "/nodes/pve1/vzdump", "vmid=300", "storage=vmstore", "prune-backups=keep-last=1"), 403, "Permission check failed (/storage/vmstore, Datastore.Allocate)")
	l.EditStorage("keep1", func(s *Storage) { s.MaxProtected = 2 })
	if info := dump("remove=0", "protected=1"); !slices.Contains(info.Log, "ERROR: Backup of VM 300 failed - The number of protected backups per guest is limited to 2 on storage 'keep1'") {
		t.Errorf("log %q", info.Log)
	}
}

func TestBackupOfSeveralGuests(t *testing.T) {
	l := startLab(t, homeWorld())
	l.SetLock(102, "migrate")
	l.EditGuest(100, func(g *Guest) { g.NoAgent = true })
	info := l.run("POST", "/nodes/pve1/vzdump", "vmid=100,101,102", "storage=local")
	expectExit(t, info, "job errors")
	if info.ID != "" || !strings.Contains(info.UPID, ":vzdump::") {
		t.Errorf("id %q of %s", info.ID, info.UPID)
	}
	for _, line := range []string{"INFO: Starting Backup of VM 101 (lxc)", "ERROR: Backup of VM 102 failed - VM is locked (migrate)",
		"INFO: skipping guest-agent 'fs-freeze', agent configured but not running?", "INFO: create storage snapshot 'vzdump'"} {
		if !slices.Contains(info.Log, line) {
			t.Errorf("no line %q in\n%s", line, strings.Join(info.Log, "\n"))
		}
	}
}

func TestBackupOfAContainerWithoutSnapshots(t *testing.T) {
	l := startLab(t, homeWorld())
	l.must("POST", "/nodes/pve1/lxc/350/status/start")
	info := l.must("POST", "/nodes/pve1/vzdump", "vmid=350", "storage=local")
	if !slices.Contains(info.Log, "INFO: trying 'suspend' mode instead") || slices.Contains(info.Log, "INFO: create storage snapshot 'vzdump'") {
		t.Errorf("log %q", info.Log)
	}
}

func TestStoppedBackupLeavesNothing(t *testing.T) {
	l := startLab(t, homeWorld())
	hold := l.HoldTask("vzdump", "", "data")
	upid := l.data("POST", "/nodes/pve1/vzdump", "vmid=100", "storage=pbs-usb").(string)
	<-hold.Reached()
	if l.Guest(100).Config["lock"] != "backup" {
		t.Error("no lock while the backup runs")
	}
	rows, _ := l.data("GET", "/nodes/pve1/storage/pbs-usb/content", "vmid=100").([]any)
	if len(rows) != 1 || fmt.Sprint(rows[0].(map[string]any)["size"]) != "1" {
		t.Errorf("in flight: %v", rows)
	}
	l.data("DELETE", "/nodes/pve1/tasks/"+upid)
	expectExit(t, l.ended(upid), "interrupted by signal")
	rows, _ = l.data("GET", "/nodes/pve1/storage/pbs-usb/content", "vmid=100").([]any)
	if len(rows) != 0 || l.Guest(100).Config["lock"] != "" {
		t.Errorf("left %v %v", rows, l.Guest(100).Config)
	}
	upid = l.data("POST", "/nodes/pve1/vzdump", "vmid=100", "storage=pbs-usb").(string)
	testkit.Until(t, time.Minute, "the upload is in flight", func() bool {
		rows, _ := l.data("GET", "/nodes/pve1/storage/pbs-usb/content", "vmid=100").([]any)
		return len(rows) == 1
	})
	l.CutTask(upid)
	l.ended(upid)
	rows, _ = l.data("GET", "/nodes/pve1/storage/pbs-usb/content", "vmid=100").([]any)
	if len(rows) != 1 || l.Guest(100).Config["lock"] != "backup" {
		t.Error("a killed backup leaves an orphan and the lock")
	}
	hold.Release()
}

func TestBackupWithWarnings(t *testing.T) {
	l := startLab(t, homeWorld())
	l.WarnTask("vzdump", "", "data", "the guest's clock is wrong", 1)
	info := l.run("POST", "/nodes/pve1/vzdump", "vmid=100", "storage=pbs-usb")
	expectExit(t, info, "WARNINGS: 1")
	if last := info.Log[len(info.Log)-1]; last != "TASK WARNINGS: 1" || !slices.Contains(info.Log, "WARN: the guest's clock is wrong") {
		t.Errorf("log %q", info.Log)
	}
}

func TestCrowd(t *testing.T) {
	w := Crowd(200, 20, fixedNow)
	w.Users[0].Tokens[0].Name = "lab"
	l := startLab(t, w)
	rows, _ := l.data("GET", "/cluster/resources", "type=vm").([]any)
	if len(rows) != 200 {
		t.Errorf("%d guests", len(rows))
	}
	expect(t, l.call("GET", "/nodes/pve2/qemu/199/snapshot"), 500, "Configuration file 'nodes/pve2/qemu-server/199.conf' does not exist")
	if rows, _ := l.data("GET", "/nodes/pve2/qemu/200/snapshot").([]any); len(rows) != 21 {
		t.Errorf("%d snapshots", len(rows)-1)
	}
}

func TestBackupServerDown(t *testing.T) {
	l := startLab(t, homeWorld())
	l.EditStorage("pbs-usb", func(s *Storage) {
		s.Store.(*MemoryStore).SetDown(fmt.Errorf("Can't connect to 127.0.0.1:8007 (Connection refused)"))
	})
	row, _ := l.data("GET", "/nodes/pve1/storage/pbs-usb/status").(map[string]any)
	if fmt.Sprint(row["active"]) != "0" || fmt.Sprint(row["total"]) != "0" {
		t.Errorf("status %v", row)
	}
	expect(t, l.call("GET", "/nodes/pve1/storage/pbs-usb/content"), 500, "pbs-usb: error fetching datastores - 500 Can't connect to 127.0.0.1:8007 (Connection refused)")
	if info := l.run("POST", "/nodes/pve1/vzdump", "vmid=100", "storage=pbs-usb"); !strings.HasPrefix(info.Exit, "could not activate storage 'pbs-usb': ") {
		t.Error(info.Exit)
	}
}

func TestJobs(t *testing.T) {
	l := startLab(t, homeWorld())
	rows, _ := l.data("GET", "/cluster/backup-info/not-backed-up").([]any)
	if len(rows) != 1 || fmt.Sprint(rows[0].(map[string]any)["vmid"]) != "102" {
		t.Errorf("not backed up: %v (a disabled job covers, too)", rows)
	}
	l.data("PUT", "/cluster/backup/nightly", "vmid=100,999")
	l.data("PUT", "/cluster/backup/nightly", "all=1")
	job, _ := l.data("GET", "/cluster/backup/nightly").(map[string]any)
	if job["vmid"] != nil || fmt.Sprint(job["all"]) != "1" || fmt.Sprint(job["prune-backups"].(map[string]any)["keep-daily"]) != "7" {
		t.Errorf("job %v", job)
	}
	expect(t, l.call("PUT", "/cluster/backup/nightly", "vmid=100;abc"), 400, "Parameter verification failed.")
}

func TestAgentPing(t *testing.T) {
	for version, priv := range map[string]string{"8.4.21": "VM.Monitor", "9.1.6": "VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted"} {
		w := homeWorld()
		w.Version = version
		l := startLab(t, w)
		expect(t, l.as("audit@pve!t", "POST", "/nodes/pve1/qemu/100/agent/ping"), 403, "Permission check failed (/vms/100, "+priv+")")
		expect(t, l.call("POST", "/nodes/pve1/qemu/100/agent/ping"), 200, "OK")
		l.EditGuest(100, func(g *Guest) { g.NoAgent = true })
		expect(t, l.call("POST", "/nodes/pve1/qemu/100/agent/ping"), 500, "QEMU guest agent is not running")
		l.must("POST", "/nodes/pve1/qemu/100/status/stop")
		expect(t, l.call("POST", "/nodes/pve1/qemu/100/agent/ping"), 500, "VM 100 is not running")
		expect(t, l.call("POST", "/nodes/pve1/qemu/300/agent/ping"), 500, "No QEMU guest agent configured")
		// The log of an unknown task is an object in 8.4, a list in 9.1.
		_, list := l.data("GET", "/nodes/pve1/tasks/UPID:pve1:00001234:00012345:65F00000:qmsnapshot:100:root@pam!lab:/log").([]any)
		if list != (version == "9.1.6") {
			t.Errorf("%s: list %v", version, list)
		}
	}
}

func TestCalendar(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ spec, now, want string }{
		{"21:00", "2026-11-21 20:33", "2026-11-21 21:00"},
		{"21:00", "2026-11-21 21:00", "2026-11-22 21:00"},
		{"sun 01:00", "2026-11-21 20:33", "2026-11-22 01:00"},
		{"mon..fri 03:30", "2026-11-21 20:33", "2026-11-23 03:30"},
		{"sat,sun 2:00", "2026-11-23 00:00", "2026-11-28 02:00"},
		{"*/2:00", "2026-11-21 20:33", "2026-11-21 22:00"},
		{"22..6/4:00", "2026-11-21 20:33", "bad"},
		{"*:0/15", "2026-11-21 20:33", "2026-11-21 20:45"},
		{"14,02:15", "2026-11-21 20:33", "2026-11-22 02:15"},
		{"*-*-01 02:00", "2026-11-21 20:33", "2026-12-01 02:00"},
		{"daily", "2026-11-21 20:33", "2026-11-22 00:00"},
		{"hourly", "2026-11-21 20:33", "2026-11-21 21:00"},
		{"weekly", "2026-11-21 20:33", "2026-11-23 00:00"},
		{"*/30", "2026-11-21 20:33", "2026-11-21 21:00"},
		{"03:00", "2026-03-29 01:30", "2026-03-29 03:00"}, // the clock goes forward
		{"whenever", "2026-11-21 20:33", "bad"},
		{"25:00", "2026-11-21 20:33", "bad"},
		{"", "2026-11-21 20:33", "bad"},
	} {
		now, err := time.ParseInLocation("2006-01-02 15:04", c.now, paris)
		if err != nil {
			t.Fatal(err)
		}
		cal, err := parseCalendar(c.spec)
		got := "bad"
		if err == nil {
			got = ""
			if next := cal.next(now); !next.IsZero() {
				got = next.Format("2006-01-02 15:04")
			}
		}
		if got != c.want {
			t.Errorf("%q after %s: %q, want %q (%v)", c.spec, c.now, got, c.want, err)
		}
	}
}

func FuzzRequests(f *testing.F) {
	for _, seed := range []string{"GET /version", "POST /nodes/pve1/qemu vmid=310&archive=" + archive300, "PUT /nodes/pve1/qemu/300/config net0=,,=&scsi0=::&delete=a,,b",
		"GET /nodes/pve1/tasks/UPID:::/status", "DELETE /nodes/pve1/storage/x/content/::", "POST /cluster/backup schedule=*/0:..&all=1&id=xx", "GET /nodes/pve1/storage/vmstore/prunebackups prune-backups=keep-last",
		"POST /nodes/pve1/lxc vmid=361&restore=1&ostemplate=x&rootfs=:::", "POST /nodes/pve1/qemu/100/snapshot {\"snapname\":[1]}"} {
		f.Add(seed)
	}
	s, err := Start(homeWorld())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Stop)
	f.Fuzz(func(t *testing.T, text string) {
		method, rest, _ := strings.Cut(text, " ")
		path, body, _ := strings.Cut(rest, " ")
		req, err := http.NewRequest(method, "https://x/api2/json"+path, strings.NewReader(body))
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "PVEAPIToken="+root+"=secret")
		if strings.HasPrefix(body, "{") {
			req.Header.Set("Content-Type", "application/json")
		}
		if a := s.serve(req); a.status < 200 || a.status > 599 {
			t.Errorf("%q: status %d", text, a.status)
		}
	})
}

func BenchmarkResourcesOfACrowd(b *testing.B) {
	s, err := Start(Crowd(200, 20, fixedNow))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop()
	req, err := http.NewRequest("GET", "https://x/api2/json/cluster/resources", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "PVEAPIToken=root@pam!bench=secret")
	for b.Loop() {
		if a := s.serve(req); a.status != 200 {
			b.Fatal(a.status, a.reason)
		}
	}
}
