package e2e

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cairn/internal/lab"
	"cairn/internal/lab/pbs"
	"cairn/internal/lab/pve"
)

// trouble is something bad that a source of the lab gets to read.
type trouble struct {
	name    string
	make    func(t *testing.T, l *lab.Lab) (edits []string) // edits of the configuration
	args    []string
	subject string   // the source in trouble
	code    string   // of its problem
	says    []string // in its sentence and hint, together
	spared  []string // sources that go on as ever
}

// readToken is the surveying token's name.
var (
	numbers = regexp.MustCompile(`([:\[,]\s*)(-?\d+(?:\.\d+)?)([,}\]])`)
	objects = regexp.MustCompile(`\{("[a-z])`)
)

// quoted makes every number of a JSON text a string.
func quoted(body []byte) []byte {
	return numbers.ReplaceAll(numbers.ReplaceAll(body, []byte(`$1"$2"$3`)), []byte(`$1"$2"$3`))
}

// strange adds a field that no version has to every object.
func strange(body []byte) []byte {
	return objects.ReplaceAll(body, []byte(`{"of-another-version":{"a":[1,null,{}]},$1`))
}

func pveFault(f pve.Fault) func(*testing.T, *lab.Lab) []string {
	return func(t *testing.T, l *lab.Lab) []string { l.PVE.Fault(f); return nil }
}

func pbsFault(f pbs.Fault) func(*testing.T, *lab.Lab) []string {
	return func(t *testing.T, l *lab.Lab) []string { l.PBS.Fault("", f); return nil }
}

func TestBadServers(t *testing.T) {
	all := []trouble{
		{name: "PBS refuses the connection", subject: "pbs.nas", code: "unreachable",
			make: func(t *testing.T, l *lab.Lab) []string { must(t, l.PBS.Refuse(true)); return nil },
		},
		{name: "PBS hangs", subject: "pbs.nas", code: "unreachable", args: []string{"--timeout", "1s"},
			make: func(t *testing.T, l *lab.Lab) []string { l.PBS.Hang(); return nil },
		},
		{name: "PBS has a new certificate", subject: "pbs.nas", code: "unreachable",
			make: func(t *testing.T, l *lab.Lab) []string { must(t, l.PBS.NewCertificate()); return nil },
		},
		{name: "PBS refuses the token", subject: "pbs.nas", code: "unreachable",
			make: func(t *testing.T, l *lab.Lab) []string { return []string{"cairn@pbs!read", "cairn@pbs!gone"} },
		},
		{name: "PBS hides what the token may not see", subject: "pbs.nas", code: "hidden",
			make: func(t *testing.T, l *lab.Lab) []string {
				l.PBS.Change(func(w *pbs.World) { w.Tokens[0].ACL = nil })
				return nil
			},
		},
		{name: "PBS cuts its answers", subject: "pbs.nas", code: "unreachable", make: pbsFault(pbs.Fault{Cut: true})},
		{name: "PBS sends no JSON", subject: "pbs.nas", code: "unreachable", make: pbsFault(pbs.Fault{Edit: pbs.Malformed})},
		{name: "PBS fails inside", subject: "pbs.nas", code: "unreachable", make: pbsFault(pbs.Fault{Status: 500, Body: "proxy error"})},
		{name: "PBS has another clock", subject: "pbs.nas", code: "clock",
			make: func(t *testing.T, l *lab.Lab) []string {
				l.PBS.Change(func(w *pbs.World) { w.Now = func() time.Time { return time.Now().Add(-time.Hour) } })
				return nil
			},
		},
		{name: "PBS has lost its disk", subject: "pbs.nas", code: "not-mounted",
			make: func(t *testing.T, l *lab.Lab) []string {
				l.PBS.Change(func(w *pbs.World) { w.Datastores[0].Mount, w.Datastores[0].Absent = pbs.NotMounted, true })
				return nil
			},
		},
		{name: "PVE hangs", subject: "proxmox.home", code: "unreachable", args: []string{"--timeout", "1s"},
			make: func(t *testing.T, l *lab.Lab) []string { l.PVE.Hang(true); return nil },
		},
		{name: "PVE is down", subject: "proxmox.home", code: "unreachable",
			make: func(t *testing.T, l *lab.Lab) []string { return []string{l.PVE.URL(), "https://127.0.0.1:1"} },
		},
		{name: "PVE has a new certificate", subject: "proxmox.home", code: "unreachable",
			make: func(t *testing.T, l *lab.Lab) []string {
				return []string{l.PVE.Fingerprint(), strings.Repeat("AB:", 31) + "AB"}
			},
		},
		{name: "PVE refuses the token", subject: "proxmox.home", code: "unreachable",
			make: func(t *testing.T, l *lab.Lab) []string { return []string{"cairn@pve!read", "cairn@pve!gone"} },
		},
		{name: "PVE hides what the token may not see", subject: "proxmox.home", code: "hidden",
			make: func(t *testing.T, l *lab.Lab) []string { l.PVE.Revoke("/", "cairn@pve!read"); return nil },
		},
		{name: "PVE cuts its answers", subject: "proxmox.home", code: "unreachable", make: pveFault(pve.Fault{CutAfter: 20})},
		{name: "PVE sends no JSON", subject: "proxmox.home", code: "unreachable", make: pveFault(pve.Fault{Malformed: true})},
		{name: "PVE fails inside", subject: "proxmox.home", code: "unreachable", make: pveFault(pve.Fault{Status: 500, Reason: "Internal Server Error"})},
		{name: "a node of PVE is away", subject: "proxmox.home", code: "unreachable",
			make: func(t *testing.T, l *lab.Lab) []string { l.PVE.NodeDown("pve2", true); return nil },
		},
		{name: "PVE sends numbers as strings", subject: "proxmox.home", make: pveFault(pve.Fault{Edit: func(b string) string { return string(quoted([]byte(b))) }})},
		{name: "PVE sends unknown fields", subject: "proxmox.home", make: pveFault(pve.Fault{Edit: func(b string) string { return string(strange([]byte(b))) }})},
		{name: "PBS sends numbers as strings", subject: "pbs.nas", make: pbsFault(pbs.Fault{Edit: quoted})},
		{name: "PBS sends unknown fields", subject: "pbs.nas", make: pbsFault(pbs.Fault{Edit: strange})},
	}
	for _, one := range all {
		t.Run(one.name, func(t *testing.T) {
			l := start(t, lab.Servers)
			edits := one.make(t, l)
			rep, r := check(t, config(t, l, edits...), one.args...)
			t.Logf("exit %d %s %s\n%s%s", r.code, r.took, r.err, rep.tell(), strings.Join(rep.Warnings, "\n"))
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var _ = bytes.Equal
var _ = http.MethodGet
var _ = os.Args
var _ = filepath.Join
