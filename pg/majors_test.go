package pg

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/command"
	"cairn/internal/secret"
)

// TestArchivesOfOtherMajors reads what pg_dump of 16 (format 1.15) and of 18 (1.16)
// wrote of one small database.
func TestArchivesOfOtherMajors(t *testing.T) {
	for name, major := range map[string]int{"custom-16.dump": 16, "custom-18.dump": 18, "directory-18-toc.dat": 18} {
		path := filepath.Join("testdata", "majors", name)
		got, err := openTOC(path, time.UTC)
		if err != nil || got.database != "shop" || majorOf(got.server) != major || majorOf(got.tool) != major || got.reader() != major {
			t.Errorf("%s: %+v %v", name, got, err)
		}
		if !slices.Equal(got.owners, []string{"postgres", "shop"}) || len(got.data) != 2 || !slices.Contains(got.data, tocTable{"public", "t"}) {
			t.Errorf("%s: %+v", name, got)
		}
		if got.format != formatCustom {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for cut, want := range map[int]bool{0: true, 1: false, 100: false} {
			file := filepath.Join(t.TempDir(), name)
			put(t, file, text[:len(text)-cut])
			p := prober{zone: time.UTC, budget: 1 << 20}
			c := p.file(file, int64(len(text)-cut), parseDumpName(name, time.UTC))
			if (c.state == backup.Complete) != want || c.reader != major {
				t.Errorf("%s, %d bytes cut: %+v", name, cut, c)
			}
		}
	}
	if got, err := openTOC("testdata/majors/custom-14-by-15.dump", time.UTC); err != nil || majorOf(got.server) != 14 || got.reader() != 15 || got.public != "postgres" || !slices.Equal(got.owners, []string{"shop"}) {
		t.Errorf("of a server of 14, by pg_dump 15: %+v %v", got, err)
	}
	f, err := os.Open("testdata/majors/plain-18.sql")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	facts, err := readScript(f, "", io.Discard, false)
	if err != nil || !facts.Complete || majorOf(facts.Tool) != 18 || facts.Dropped != 0 || len(facts.Tables) != 2 || facts.Tables[1].Rows != 20 || !slices.Contains(facts.Owners, "shop") {
		t.Errorf("plain: %+v %v", facts, err)
	}
}

// toolsIn puts programs into PATH that only tell a version.
func toolsIn(t *testing.T, versions map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, version := range versions {
		path := filepath.Join(dir, name)
		put(t, path, []byte("#!/bin/sh\necho '"+name+" (PostgreSQL) "+version+"'\n"))
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	return dir
}

// TestWhichToolIsTaken looks for programs that no distribution has, so that PATH
// alone has them.
func TestWhichToolIsTaken(t *testing.T) {
	toolsIn(t, map[string]string{"pg_odd": "17.2", "pg_older": "14.9"})
	c := New("lab", Config{}, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
	for _, one := range []struct {
		program string
		major   int
		exact   bool
		why     string
	}{
		{"pg_odd", 16, false, ""}, {"pg_odd", 17, true, ""}, {"pg_odd", 0, false, ""},
		{"pg_odd", 16, true, "pg_odd is of version 17, and of 16 is needed"}, {"pg_odd", 18, false, "is of version 17, and of 18 is needed: install postgresql-client-18"},
		{"pg_older", 15, false, "is of version 14"}, {"pg_nosuch", 15, false, "it is not installed"},
	} {
		got, err := c.toolPath(t.Context(), one.program, one.major, one.exact)
		if one.why == "" && (err != nil || got != one.program) || one.why != "" && (err == nil || !strings.Contains(err.Error(), one.why)) {
			t.Errorf("%+v: %q %v", one, got, err)
		}
	}
}

// A pg_restore that was built without a way of compression says nothing of the dump.
func TestBuildThatCannotUnpack(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "pg_restore")
	put(t, script, []byte("#!/bin/sh\necho 'pg_restore: error: cannot restore from compressed archive (this build does not support compression with lz4)' >&2\nexit 1\n"))
	c := New("lab", Config{}, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
	err := c.readBy(context.WithoutCancel(t.Context()), "d", command.Spec{Argv: []string{"sh", script}})
	var damage *Damage
	if err == nil || errors.As(err, &damage) || !strings.Contains(err.Error(), "another build of it") {
		t.Error(err)
	}
}

// An older server does not know the limits that a newer pg_restore switches off.
func TestComplaintsThatMeanNothing(t *testing.T) {
	said := &complaints{scrub: func(s string) string { return s }}
	for _, line := range []string{`pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"`, "Command was: SET transaction_timeout = 0;",
		`psql:<stdin>:9: ERROR:  unrecognized configuration parameter "transaction_timeout"`, `pg_restore: error: could not execute query: ERROR:  role "a" does not exist`, "Command was: ALTER TABLE t OWNER TO a;"} {
		said.line([]byte(line))
	}
	if all := said.all(); len(all) != 1 || !strings.Contains(all[0], `role "a" does not exist (ALTER TABLE t OWNER TO a;)`) {
		t.Errorf("%q", all)
	}
}

// The schema public is nobody's own where a new database has it by itself.
func TestWhoseTheSchemaPublicIs(t *testing.T) {
	text := "--\n-- PostgreSQL database dump\n--\nALTER SCHEMA public OWNER TO postgres;\nALTER TABLE public.t OWNER TO shop;\n--\n-- PostgreSQL database dump complete\n--\n"
	facts, err := readScript(strings.NewReader(text), "", io.Discard, false)
	if err != nil || facts.Public != "postgres" || !slices.Equal(facts.Owners, []string{"shop"}) {
		t.Errorf("%+v %v", facts, err)
	}
	for _, c := range []struct {
		public string
		major  int
		want   []string
	}{{"postgres", 14, []string{"shop"}}, {"postgres", 15, []string{"shop", "postgres"}}, {"pg_database_owner", 17, []string{"shop"}}, {"", 17, []string{"shop"}}, {"shop", 17, []string{"shop"}}} {
		if got := withPublic([]string{"shop"}, c.public, c.major); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v", c, got)
		}
	}
	f := foreignDump{script: scriptFacts{Statements: []string{"CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C.UTF-8';"}}}
	if got := f.createStatement("x", 14); got != `CREATE DATABASE "x" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C.UTF-8'` {
		t.Error(got)
	}
	if got := f.createStatement("x", 12); !strings.HasSuffix(got, ` ENCODING = 'UTF8' LC_COLLATE = 'C.UTF-8' LC_CTYPE = 'C.UTF-8'`) {
		t.Error(got)
	}
	if got := f.createStatement("x", 15); !strings.Contains(got, " LOCALE_PROVIDER = libc ") {
		t.Error(got)
	}
}

// What sorts text comes back as it was, as far as the server has it.
func TestLocaleOfANewDatabase(t *testing.T) {
	icu := DumpedDatabase{Encoding: "UTF8", Collate: "C", CType: "C", Provider: "icu", ICULocale: "de-x-o'd", ICURules: "&a < b"}
	builtin := DumpedDatabase{Encoding: "UTF8", Collate: "C", CType: "C", Provider: "builtin", ICULocale: "C.UTF-8"}
	const libc = " ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
	for _, c := range []struct {
		d     DumpedDatabase
		major int
		want  string
	}{
		{icu, 14, libc}, {icu, 15, libc + " LOCALE_PROVIDER icu ICU_LOCALE 'de-x-o''d'"}, {icu, 16, libc + " LOCALE_PROVIDER icu ICU_LOCALE 'de-x-o''d' ICU_RULES '&a < b'"},
		{builtin, 16, libc + " LOCALE_PROVIDER libc"}, {builtin, 17, libc + " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"},
		{DumpedDatabase{Encoding: "UTF8", Collate: "C", CType: "C"}, 18, libc + " LOCALE_PROVIDER libc"}, // of a server before 15
	} {
		if got := localeOptions(c.d, c.major); got != c.want {
			t.Errorf("%s into %d: %s", c.d.Provider, c.major, got)
		}
	}
	for statement, want := range map[string]map[int]string{
		"CREATE DATABASE s WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = builtin LOCALE = 'C' BUILTIN_LOCALE = 'C.UTF-8';": {
			18: " ENCODING = 'UTF8' LOCALE_PROVIDER = builtin LOCALE = 'C' BUILTIN_LOCALE = 'C.UTF-8'", 15: " ENCODING = 'UTF8' LOCALE = 'C'"},
		"CREATE DATABASE s WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'C' ICU_LOCALE = 'und' ICU_RULES = '&a < b';": {
			16: " ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'C' ICU_LOCALE = 'und' ICU_RULES = '&a < b'",
			15: " ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'C' ICU_LOCALE = 'und'", 14: " ENCODING = 'UTF8' LOCALE = 'C'"},
	} {
		f := foreignDump{script: scriptFacts{Statements: []string{statement}}}
		for major, options := range want {
			if got := f.createStatement("x", major); got != `CREATE DATABASE "x" WITH TEMPLATE = template0`+options {
				t.Errorf("into %d: %s", major, got)
			}
		}
	}
}

// Memberships have options of their own since 16, which older servers do not know.
func TestMembershipsForOlderServers(t *testing.T) {
	var g globals
	for _, line := range []string{"CREATE ROLE a;", "GRANT b TO a WITH INHERIT TRUE GRANTED BY postgres;", "GRANT c TO a WITH ADMIN OPTION, INHERIT FALSE, SET FALSE GRANTED BY postgres;", "GRANT d TO a WITH ADMIN OPTION GRANTED BY postgres;", "GRANT e TO a GRANTED BY postgres;", "GRANT pg_of_newer TO a;", `GRANT "f f" TO e;`} {
		g.take(line)
	}
	if got := g.withGroups([]string{"a"}); strings.Join(got, ",") != "a,b,c,d,e,pg_of_newer,f f" {
		t.Errorf("%q", got)
	}
	for major, want := range map[int]string{
		15: "CREATE ROLE a;|GRANT b TO a|GRANT c TO a WITH ADMIN OPTION|GRANT d TO a WITH ADMIN OPTION|GRANT e TO a",
		16: "CREATE ROLE a;|GRANT b TO a WITH INHERIT TRUE|GRANT c TO a WITH ADMIN OPTION, INHERIT FALSE, SET FALSE|GRANT d TO a WITH ADMIN OPTION|GRANT e TO a",
	} {
		if got := strings.Join(g.statements([]string{"a"}, []string{"pg_of_newer"}, major), "|"); got != want {
			t.Errorf("%d: %s", major, got)
		}
	}
}
