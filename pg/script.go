package pg

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// script passes a plain SQL dump on to where it is restored, and learns from it
// on the way. Everything that would act on another database than the one that is
// connected to is left out: a dump made with --create, and every one of
// pg_dumpall, would else change the live one.
type script struct {
	want  string // of pg_dumpall's: the database whose part is passed on; empty: all
	facts scriptFacts

	section    string // the database that the script is connected to; empty: none was named yet
	lex        lexer
	table      int  // index of the table whose rows come; -1: none
	start      bool // at the begin of a line
	statement  []byte
	collecting bool // of a statement about the database itself, which is left out
}

// scriptFacts is what a plain dump tells of itself.
type scriptFacts struct {
	Cluster    bool     // it is pg_dumpall's
	Complete   bool     // its last line is there
	Version    string   // the server's
	Tool       string   // pg_dump's version
	Databases  []string // that it connects to
	Tables     []DumpedTable
	Inserts    bool     // rows come as INSERT, which are not counted
	Statements []string // about the database itself: CREATE, ALTER, GRANT, COMMENT
	Owners     []string // roles that own something but the schema public
	Public     string   // whose that is, where it is said
	Rights     []string // statements about owners and grants
	Dropped    int      // commands of psql that were left out
}

// longestStatement bounds what is kept of a statement about the database.
const longestStatement = 1 << 20

var (
	copyLine     = regexp.MustCompile(`^COPY (.+?)(?: \(.*\))? +FROM stdin;\s*$`)
	databaseLine = regexp.MustCompile(`^(?:CREATE|DROP|ALTER|COMMENT ON|SECURITY LABEL .*ON) DATABASE |^(?:GRANT|REVOKE) .* ON DATABASE |^ALTER ROLE .* IN DATABASE `)
	ownerLine    = regexp.MustCompile(` OWNER TO (.+);\s*$`)
	connectLine  = regexp.MustCompile(`^\\c(?:onnect)?\s+(.*?)\s*$`)
)

// readScript reads a plain dump to its end, or to the first rows where onlyHead
// is set, and passes on what is to be run.
func readScript(from io.Reader, want string, to io.Writer, onlyHead bool) (scriptFacts, error) {
	s := &script{want: want, table: -1, start: true, lex: lexer{fresh: true}}
	r := bufio.NewReaderSize(from, 256<<10)
	out := bufio.NewWriterSize(to, 256<<10)
	for {
		part, err := r.ReadSlice('\n')
		if len(part) > 0 && s.take(part) {
			if _, err := out.Write(part); err != nil {
				return s.facts, fmt.Errorf("passing the script on: %w", err)
			}
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF), err == nil && onlyHead && s.table >= 0:
			return s.facts, out.Flush()
		case err != nil:
			return s.facts, errors.Join(fmt.Errorf("reading the script: %w", err), out.Flush())
		}
	}
}

// databaseKeyword is in every statement of databaseLine.
var databaseKeyword = []byte("DATABASE ")

// take looks at a part of a line and says whether it is passed on.
func (s *script) take(part []byte) bool {
	begins := s.start
	s.start = part[len(part)-1] == '\n'
	switch {
	case s.table >= 0:
		return s.row(part, begins)
	case s.collecting:
		s.collect(part)
		return false
	case begins && s.lex.fresh && part[0] == '\\':
		return s.command(string(bytes.TrimSpace(part)))
	case begins && s.lex.fresh && bytes.Contains(part, databaseKeyword) && databaseLine.Match(part): // most lines are rows
		s.collecting = true
		s.collect(part)
		return false
	case begins && s.lex.outside():
		s.learn(part)
	}
	fresh := s.lex.fresh
	s.lex.read(part)
	if begins && fresh && s.lex.fresh && bytes.HasPrefix(part, []byte("COPY ")) {
		if m := copyLine.FindSubmatch(part); m != nil {
			schema, name := splitQualified(string(m[1]))
			s.facts.Tables = append(s.facts.Tables, DumpedTable{Schema: schema, Name: name})
			s.table = len(s.facts.Tables) - 1
			if !s.passes() { // of another database
				s.facts.Tables = s.facts.Tables[:s.table]
				s.table = len(s.facts.Tables)
			}
		}
	}
	return s.passes()
}

// passes says whether what comes now belongs to what is wanted.
func (s *script) passes() bool { return s.want == "" || s.section == s.want }

// row counts a row of a COPY, which ends with a line of its own.
func (s *script) row(part []byte, begins bool) bool {
	passes := s.passes()
	switch {
	case !begins:
	case bytes.Equal(bytes.TrimRight(part, "\r\n"), []byte(`\.`)):
		s.table = -1
	case s.table < len(s.facts.Tables):
		s.facts.Tables[s.table].Rows++
	}
	return passes
}

// command takes a command of psql at the begin of a line: those that pg_dump
// writes to shut others out stay, all others go.
func (s *script) command(line string) bool {
	if m := connectLine.FindStringSubmatch(line); m != nil {
		s.section = connectName(m[1])
		s.facts.Databases = append(s.facts.Databases, s.section)
		return false
	}
	if strings.HasPrefix(line, `\restrict `) || strings.HasPrefix(line, `\unrestrict `) {
		return s.passes()
	}
	s.facts.Dropped++
	return false
}

// collect keeps a statement about the database until it ends.
func (s *script) collect(part []byte) {
	if len(s.statement) < longestStatement {
		s.statement = append(s.statement, part...)
	}
	if s.lex.read(part); !s.lex.fresh {
		return
	}
	text := strings.TrimSpace(string(s.statement))
	if _, name, ok := statementDatabase(text); ok && (s.want == "" || name == s.want) {
		s.facts.Statements = append(s.facts.Statements, text)
	}
	s.statement, s.collecting = nil, false
}

// learn reads what the comments and statements tell.
func (s *script) learn(line []byte) {
	switch {
	case bytes.HasPrefix(line, clusterEnd):
		s.facts.Complete = true
	case bytes.HasPrefix(line, plainEnd):
		s.facts.Complete = s.facts.Complete || !s.facts.Cluster
	case bytes.HasPrefix(line, clusterHead):
		s.facts.Cluster = true
	case bytes.HasPrefix(line, []byte("INSERT INTO ")):
		s.facts.Inserts = s.facts.Inserts || s.passes()
		return // the rest is data, whatever it looks like
	}
	if m := plainVersion.FindSubmatch(line); m != nil && s.facts.Version == "" {
		s.facts.Version = string(m[1])
	}
	if m := plainTool.FindSubmatch(line); m != nil && s.facts.Tool == "" {
		s.facts.Tool = string(m[1])
	}
	if rightLine.Match(bytes.TrimRight(line, "\r\n")) && !bytes.Contains(line, []byte(" LARGE OBJECT ")) && s.passes() {
		s.facts.Rights = append(s.facts.Rights, string(bytes.TrimRight(line, "\r\n")))
	}
	if m := ownerLine.FindSubmatch(line); m != nil && s.passes() {
		if bytes.HasPrefix(line, publicOwner) {
			s.facts.Public = unquoted(string(m[1]))
			return
		}
		if name := unquoted(string(m[1])); len(s.facts.Owners) < 10_000 && !contains(s.facts.Owners, name) {
			s.facts.Owners = append(s.facts.Owners, name)
		}
	}
}

var publicOwner = []byte("ALTER SCHEMA public OWNER TO ")

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

// connectName is the database that \connect goes to: a name, or a connection
// string in quotes where the name is unusual.
func connectName(argument string) string {
	argument = strings.TrimSpace(strings.TrimPrefix(argument, "-reuse-previous=on"))
	inner, quoted := strings.CutPrefix(argument, `"`)
	if !quoted {
		name, _, _ := strings.Cut(argument, " ")
		return name
	}
	inner = strings.ReplaceAll(strings.TrimSuffix(inner, `"`), `""`, `"`)
	value, isKey := strings.CutPrefix(inner, "dbname='")
	if !isKey {
		return inner
	}
	value = strings.TrimSuffix(value, "'")
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			i++
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

var databaseWord = regexp.MustCompile(`\bDATABASE ((?:"(?:[^"]|"")*")|[^\s;]+)`)

// statementDatabase finds the database in a statement about one; at is where its
// name begins and ends.
func statementDatabase(text string) (at []int, name string, ok bool) {
	m := databaseWord.FindStringSubmatchIndex(text)
	if m == nil {
		return nil, "", false
	}
	return m[2:4], unquoted(text[m[2]:m[3]]), true
}

// unquoted reads an identifier as SQL writes it.
func unquoted(identifier string) string {
	if len(identifier) >= 2 && identifier[0] == '"' && identifier[len(identifier)-1] == '"' {
		return strings.ReplaceAll(identifier[1:len(identifier)-1], `""`, `"`)
	}
	return identifier
}

// splitQualified takes `public."a b"` apart.
func splitQualified(text string) (schema, name string) {
	in := false
	for i := 0; i < len(text); i++ {
		if text[i] == '"' {
			in = !in
		}
		if text[i] == '.' && !in {
			return unquoted(text[:i]), unquoted(text[i+1:])
		}
	}
	return "", unquoted(text)
}
