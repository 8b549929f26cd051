package pg

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cairn/internal/backup"
)

func iniOf(text string) ini {
	c := ini{}
	c.take([]byte(text))
	return c
}

func TestWherePgBackRestKeepsWAL(t *testing.T) {
	for _, c := range []struct {
		what, text string
		want       []walPlace
	}{
		{"nothing said", "", []walPlace{{repository: 1, dir: "/var/lib/pgbackrest/archive/lab"}}},
		{"of old, without a number", "[global]\nrepo-path=/old\n", []walPlace{{repository: 1, dir: "/old/archive/lab"}}},
		{"comments, spaces, another stanza", "# x\n[global]\n ; repo1-path=/no\nrepo1-path = /r \n[other]\nrepo1-path=/no\n", []walPlace{{repository: 1, dir: "/r/archive/lab"}}},
		{"the stanza's own", "[global]\nrepo1-path=/r\n[lab]\nrepo1-path=/own\n", []walPlace{{repository: 1, dir: "/own/archive/lab"}}},
		{"on another host", "[global]\nrepo1-path=/r\nrepo1-host=backup\n", []walPlace{{repository: 1, dir: "/r/archive/lab", away: "its repository lies on host backup"}}},
		{"two, one of them in S3", "[global]\nrepo1-path=/r\nrepo4-type=s3\nrepo4-path=/b\n", []walPlace{{repository: 1, dir: "/r/archive/lab"}, {repository: 4, dir: "/b/archive/lab", away: "its repository lies in s3"}}},
	} {
		if got := iniOf(c.text).repositories("lab"); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v", c.what, got)
		}
	}
	if _, err := (&PgBackRestConfig{Stanza: "lab", Config: filepath.Join(t.TempDir(), "none")}).places(); err == nil || !strings.Contains(err.Error(), "configuration cannot be read") {
		t.Error(err)
	}
}

func TestWhereBarmanKeepsWAL(t *testing.T) {
	for _, c := range []struct{ what, text, dir, incoming, labels string }{
		{"nothing said", "", "/var/lib/barman/lab/wals", "/var/lib/barman/lab/incoming", "/var/lib/barman/lab/base/*/backup.info"},
		{"a home", "[barman]\nbarman_home = /b\n", "/b/lab/wals", "/b/lab/incoming", "/b/lab/base/*/backup.info"},
		{"the server's own", "[barman]\nbarman_home = /b\n[lab]\nbackup_directory = /x\nwals_directory=/y\n[other]\nbackup_directory=/no\n", "/y", "/x/incoming", "/x/base/*/backup.info"},
		{"filled in", "[barman]\nbarman_home=/b\nbackup_directory=%(barman_home)s/of/%(name)s\n", "/b/of/lab/wals", "/b/of/lab/incoming", "/b/of/lab/base/*/backup.info"},
	} {
		p := iniOf(c.text).barman("lab")
		if p.dir != c.dir || p.also[0] != c.incoming || p.labels != c.labels {
			t.Errorf("%s: %+v", c.what, p)
		}
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "barman.conf"), []byte("[barman]\nbarman_home=/b\nconfiguration_files_directory="+dir+"/d\n"))
	put(t, filepath.Join(dir, "d/lab.conf"), []byte("[lab]\nbackup_directory=/own\n"))
	places, err := (&BarmanConfig{Server: "lab", Config: filepath.Join(dir, "barman.conf")}).places()
	if err != nil || len(places) != 1 || places[0].dir != "/own/wals" {
		t.Errorf("%+v %v", places, err)
	}
}

// What is no known kind of compression looks like a cut segment.
func TestBarmanWALThatIsNotToldApart(t *testing.T) {
	for text, away := range map[string]bool{
		"": false, "[lab]\ncompression = gzip\n": false, "[lab]\nencryption = none\n": false, "[other]\nencryption = gpg\n": false,
		"[barman]\ncompression = custom\n[lab]\ncompression = zstd\n": false,
		"[barman]\ncompression = custom\n":                            true, "[lab]\nencryption = gpg\n": true,
	} {
		if p := iniOf(text).barman("lab"); (p.away != "") != away {
			t.Errorf("%q: %q", text, p.away)
		}
	}
	dir := t.TempDir()
	p := iniOf("[lab]\nbackup_directory = " + dir + "\nencryption = gpg\n").barman("lab")
	name := segment{1, 1}.name(mib)
	put(t, filepath.Join(p.dir, name[:16], name), []byte("\x85\x01\x0c\x03 encrypted"))
	b := ToolBackup{Label: "x", State: backup.Complete, StartWAL: name, StopWAL: name}
	if w, tool := scanned(p, mib, b); !w.Away || w.Unknown == "" || tool.Backups[0].State != backup.Complete {
		t.Errorf("%+v %+v", w, tool.Backups)
	}
}

func FuzzToolConfig(f *testing.F) {
	f.Add("[global]\nrepo1-path=/r\n[lab]\n=\nrepo99999999999999999999-path=x\n")
	f.Add("[barman]\nbarman_home=%(name)s\n[")
	f.Fuzz(func(_ *testing.T, text string) {
		c := iniOf(text)
		c.repositories("lab")
		c.barman("lab")
	})
}
