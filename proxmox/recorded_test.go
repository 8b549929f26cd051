package proxmox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
)

// recording is one answer of a real server, pve-manager 8.4.21.
type recording struct{ Name, Method, Path, Status, Body string }

func recordings(t testing.TB) []recording {
	t.Helper()
	file, err := os.Open("testdata/pve-8.4.21.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []recording
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r recording
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if len(all) < 400 {
		t.Fatalf("%d recordings", len(all))
	}
	return all
}

// replay answers every request with one recording.
func replay(t testing.TB) (*api, *recording) {
	f := newFake(t)
	var now recording
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if strings.HasPrefix(now.Status, "200 ") {
			w.Write([]byte(now.Body)) // keeps the connection
			return
		}
		raw(w, now.Status, now.Body)
	})
	return newTestClient(t, config(f)).reading, &now
}

func TestRecordedErrors(t *testing.T) {
	a, now := replay(t)
	for _, r := range recordings(t) {
		code, reason, _ := strings.Cut(r.Status, " ")
		status, _ := strconv.Atoi(code)
		if status < 400 || r.Method == http.MethodPut {
			continue
		}
		*now = r
		var nothing json.RawMessage
		err := a.do(t.Context(), r.Method, r.Path, nil, &nothing)
		var e *Error
		if !errors.As(err, &e) || e.Status != status || e.Reason == "" {
			t.Errorf("%s: %v", r.Name, err)
			continue
		}
		if !strings.HasPrefix(e.Reason, strings.TrimSpace(reason)) {
			t.Errorf("%s: reason %q", r.Name, e.Reason)
		}
		if IsDenied(err) != (status == 403) || IsUnauthorized(err) != (status == 401) || IsNodeDown(err) != (status >= 595 || strings.HasPrefix(reason, "hostname")) {
			t.Errorf("%s: %v is taken for something else", r.Name, err)
		}
		if status == 403 && !strings.Contains(reason, "user != root@pam") && (e.Privilege == "" || e.Object == "") {
			t.Errorf("%s: which privilege is missing? %+v", r.Name, e)
		}
		if missing := strings.Contains(reason, "does not exist") && status == 500 || strings.Contains(r.Body, "no such task"); IsMissing(err) != missing {
			t.Errorf("%s: IsMissing is %v of %v", r.Name, IsMissing(err), err)
		}
	}
}

// parsers read each kind of answer as the client does, and say what makes no sense.
var parsers = []struct {
	path  *regexp.Regexp
	parse func(context.Context, *api, string) error
}{
	{regexp.MustCompile(`^/cluster/resources`), strict[resource]},
	{regexp.MustCompile(`/tasks(\?.*)?$`), func(ctx context.Context, a *api, path string) error {
		var found rows[wireTask]
		if err := a.get(ctx, path, &found); err != nil {
			return err
		}
		if len(listed(found)) != len(found.all) {
			return errors.New("a row is no task")
		}
		return oddRows(found.bad)
	}},
	{regexp.MustCompile(`^/cluster/backup$`), strict[wireJob]},
	{regexp.MustCompile(`/not-backed-up$`), strict[resource]},
	{regexp.MustCompile(`^/access/permissions`), object1[permissions]},
	{regexp.MustCompile(`^/storage$`), strict[storageConfig]},
	{regexp.MustCompile(`^/nodes/pve1/storage(\?.*)?$`), strict[nodeStorage]},
	{regexp.MustCompile(`/content(\?.*)?$`), strict[archive]},
	{regexp.MustCompile(`/snapshot$`), strict[wireSnapshot]},
	{regexp.MustCompile(`/config(\?.*)?$`), object1[Configuration]},
}

func strict[T any](ctx context.Context, a *api, path string) error {
	var found rows[T]
	if err := a.get(ctx, path, &found); err != nil {
		return err
	}
	return oddRows(found.bad)
}

func object1[T any](ctx context.Context, a *api, path string) error {
	var found T
	return a.get(ctx, path, &found)
}

func TestRecordedAnswersAreRead(t *testing.T) {
	a, now := replay(t)
	read := map[string]int{}
	for _, r := range recordings(t) {
		if r.Method != http.MethodGet || !strings.HasPrefix(r.Status, "200") {
			continue
		}
		for _, p := range parsers {
			if p.path.MatchString(r.Path) {
				read[p.path.String()]++
				*now = r
				if err := p.parse(t.Context(), a, r.Path); err != nil {
					t.Errorf("%s: %v", r.Name, err)
				}
				break
			}
		}
	}
	for _, p := range parsers {
		if read[p.path.String()] == 0 {
			t.Errorf("no recording matches %s", p.path)
		}
	}
}

func TestRecordedTasks(t *testing.T) {
	a, now := replay(t)
	statuses := map[backup.Status]int{}
	for _, r := range recordings(t) {
		base, _, _ := strings.Cut(strings.TrimPrefix(r.Path, "/nodes/pve1/tasks/"), "/")
		if r.Method != http.MethodGet || !strings.HasPrefix(r.Status, "200") || !strings.HasPrefix(base, "UPID:pve1:") {
			continue
		}
		*now = r
		switch {
		case strings.HasSuffix(r.Path, "/status"):
			task, err := a.task(t.Context(), base)
			if err != nil || task.Started.Year() < 2024 || task.Type == "" {
				t.Errorf("%s: %+v, %v", r.Name, task, err)
			}
			if task.Running != strings.Contains(r.Body, `"status":"running"`) {
				t.Errorf("%s: running is %v", r.Name, task.Running)
			}
			statuses[task.Status()]++
		case strings.Contains(r.Path, "/log") && !strings.Contains(r.Path, "download"):
			lines, err := a.taskLog(t.Context(), base, 0)
			if gone := strings.Contains(r.Name, "unknown"); gone != errors.Is(err, errNoLog) || !gone && err != nil {
				t.Errorf("%s: %v", r.Name, err)
			}
			if strings.Contains(r.Body, `"no content"`) && len(lines) != 0 {
				t.Errorf("%s: an empty log has the lines %q", r.Name, lines)
			}
		}
	}
	if statuses[backup.OK] < 20 || statuses[backup.Critical] < 10 || statuses[backup.Warning] < 1 || statuses[backup.Unknown] < 1 {
		t.Errorf("statuses %v: WARNINGS are done with warnings, any other text is a failure", statuses)
	}
}

func recorded(t testing.TB, name string) string {
	t.Helper()
	for _, r := range recordings(t) {
		if r.Name == name {
			return r.Body
		}
	}
	t.Fatalf("no recording %s", name)
	return ""
}

func data[T any](t testing.TB, body string) T {
	t.Helper()
	var envelope struct{ Data T }
	if err := json.Unmarshal([]byte(body), &envelope); err != nil {
		t.Fatal(err)
	}
	return envelope.Data
}

func TestRecordedSnapshotTree(t *testing.T) {
	tree := newTree(data[rows[wireSnapshot]](t, recorded(t, "154-snap-tree")))
	if tree.Parent != "branch" || tree.Running || tree.Digest == "" || len(tree.Snapshots) != 6 {
		t.Fatalf("the tree is %+v", tree)
	}
	var drawn []string
	for _, p := range tree.Walk() {
		drawn = append(drawn, strings.Repeat(">", p.Depth)+p.Name)
	}
	want := []string{"before-upgrade", ">second_1", ">>third", ">>>a234567890123456789012345678901234567890", ">>>>THIRD", ">>branch"}
	if !slices.Equal(drawn, want) {
		t.Errorf("drawn %q", drawn)
	}
	second, _ := tree.Find("second_1")
	if second.Description != "line one\nline two ü世\n\n- after an empty line" {
		t.Errorf("the description is %q", second.Description)
	}
	if _, ok := tree.Find("Third"); ok {
		t.Error("names are case-sensitive")
	}
	broken := newTree(data[rows[wireSnapshot]](t, recorded(t, "449-broken-delete-list")))
	if s, _ := broken.Find("broken"); s.State != "delete" {
		t.Errorf("the half-deleted snapshot is %+v", s)
	}
	during := newTree(data[rows[wireSnapshot]](t, recorded(t, "242-running-snap-vmstate-list-during")))
	if s, _ := during.Find("withram"); s.State != "prepare" || !s.RAM || !during.Running {
		t.Errorf("the snapshot being made is %+v", s)
	}
}

func logLines(t testing.TB, name string) []string {
	t.Helper()
	lines, err := parseLog(data[json.RawMessage](t, recorded(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestRecordedVzdumpLogs(t *testing.T) {
	two := parseVzdumpLog(logLines(t, "326-vzdump-two-tasklog"))
	if two.Storage != "vmstore" || !slices.Equal(two.Asked, []int{102, 103}) || len(two.Parts) != 2 {
		t.Fatalf("the log of two guests is %+v", two)
	}
	if p := two.Parts[0]; p.VMID != 102 || p.Status() != backup.OK || p.Took != 3*time.Second || p.Consistency() != backup.Stopped ||
		p.Archive != "vzdump-qemu-102-2026_11_21-20_33_21.vma" {
		t.Errorf("the first is %+v", p)
	}
	if p := two.Parts[1]; p.VMID != 103 || p.Status() != backup.Critical || p.Failure != "VM is locked (migrate)" {
		t.Errorf("the second is %+v", p)
	}
	missing := parseVzdumpLog(logLines(t, "332-vzdump-missing-vm-tasklog"))
	if len(missing.Parts) != 1 || missing.Parts[0].VMID != 999 || missing.Parts[0].Failure != "unable to find VM '999'" {
		t.Errorf("the missing guest is %+v", missing)
	}
	running := parseVzdumpLog(logLines(t, "359-vzdump-running-vm-tasklog"))
	if p := running.Parts[0]; p.Consistency() != backup.CrashConsistent || p.Status() != backup.Critical {
		t.Errorf("a running guest without agent is %+v, %s", p, p.Consistency())
	}
	if l := parseVzdumpLog(logLines(t, "329-vzdump-no-storage-tasklog")); len(l.Parts) != 0 {
		t.Errorf("a task that never began has parts %+v", l)
	}
}

func TestRecordedResources(t *testing.T) {
	all := sortResources(data[rows[resource]](t, recorded(t, "435-resources-othernode")))
	if len(all.guests) != 9 || all.bad != 0 || all.online("pve2") || !all.online("pve1") {
		t.Fatalf("resources are %+v", all)
	}
	var lost resource
	for _, g := range all.guests {
		if g.VMID == 200 {
			lost = g
		}
	}
	if g := lost.facts(); g.Node != "pve2" || g.Running {
		t.Errorf("the guest of the node without status is %+v", g)
	}
	locked := sortResources(data[rows[resource]](t, recorded(t, "225-locked-resources")))
	if g := locked.guests[3].facts(); g.VMID != 103 || g.Lock != "backup" {
		t.Errorf("the locked guest is %+v", g)
	}
	none := sortResources(data[rows[resource]](t, recorded(t, "066-resources-none")))
	if len(none.guests) != 0 || len(none.nodes) != 1 {
		t.Errorf("without rights %+v is seen", none)
	}
}

func TestRecordedPermissions(t *testing.T) {
	auditor := data[permissions](t, recorded(t, "016-permissions-ro"))
	if !auditor.has("/vms", "VM.Audit") || !auditor.has("/vms/100", "VM.Audit") || auditor.has("/vms/100", "VM.Snapshot") {
		t.Error("an auditor sees guests and changes none")
	}
	if path, privilege := auditor.lacksForBackups("vmstore"); path != "/storage/vmstore" || privilege != "Datastore.Allocate" {
		t.Errorf("an auditor lacks %s on %s to see backups", privilege, path)
	}
	root := data[permissions](t, recorded(t, "015-permissions"))
	if _, privilege := root.lacksForBackups("vmstore"); privilege != "" {
		t.Errorf("root lacks %s", privilege)
	}
	nothing := data[permissions](t, recorded(t, "018-permissions-none"))
	if nothing == nil || len(nothing.hides(nil)) != 3 {
		t.Errorf("no rights hide %v", nothing.hides(nil))
	}
}

func TestUnknownTasksLogOfPVE9(t *testing.T) {
	if lines, err := parseLog(json.RawMessage(`[{"n":1,"t":"unable to open file - No such file or directory"}]`)); !errors.Is(err, errNoLog) {
		t.Errorf("the log of an unknown task is %q, %v", lines, err)
	}
}
