package pg

import "bytes"

// lexer follows the SQL of a dump just far enough to know where a statement
// begins: what stands in quotes, bodies and comments is none.
type lexer struct {
	fresh   bool   // no statement is open: the last one ended, and only space came since
	quote   byte   // ' or " that is open; $: a body; *: a comment; 0: none
	tag     string // that ends the body, such as $function$
	escapes bool   // a backslash escapes in the string that is open (E'…')
	depth   int    // of comments
	before  byte   // the byte before, inside of one part
}

// outside says whether nothing is open that could hold any text.
func (l *lexer) outside() bool { return l.quote == 0 }

// read follows a part of a line. A token that is cut between two parts is taken
// for what its halves are: parts are long, and lines of SQL short.
func (l *lexer) read(part []byte) {
	for i := 0; i < len(part); {
		i += l.step(part[i:])
	}
	l.before = 0
}

// step takes what stands at the begin of rest and returns how long it is.
func (l *lexer) step(rest []byte) int {
	ch := rest[0]
	n := 1
	switch l.quote {
	case '\'':
		n = l.inString(rest)
	case '"':
		if ch == '"' {
			l.quote = 0
		}
	case '$':
		if ch == '$' && bytes.HasPrefix(rest, []byte(l.tag)) {
			l.quote, n = 0, len(l.tag)
		}
	case '*':
		n = l.inComment(rest)
	default:
		n = l.open(rest)
	}
	l.before = rest[n-1]
	return n
}

func (l *lexer) inString(rest []byte) int {
	switch {
	case rest[0] == '\\' && l.escapes && len(rest) > 1:
		return 2
	case rest[0] == '\'' && len(rest) > 1 && rest[1] == '\'':
		return 2
	case rest[0] == '\'':
		l.quote, l.escapes = 0, false
	}
	return 1
}

func (l *lexer) inComment(rest []byte) int {
	switch {
	case bytes.HasPrefix(rest, []byte("*/")):
		if l.depth--; l.depth == 0 {
			l.quote = 0
		}
		return 2
	case bytes.HasPrefix(rest, []byte("/*")):
		l.depth++
		return 2
	}
	return 1
}

// open takes what stands outside of quotes and comments.
func (l *lexer) open(rest []byte) int {
	switch ch := rest[0]; {
	case ch == ';':
		l.fresh = true
		return 1
	case ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r':
		return 1
	case bytes.HasPrefix(rest, []byte("--")):
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			return end + 1
		}
		return len(rest)
	case bytes.HasPrefix(rest, []byte("/*")):
		l.quote, l.depth = '*', 1
		return 2
	case ch == '\'' || ch == '"':
		l.quote, l.escapes = ch, ch == '\'' && (l.before == 'E' || l.before == 'e')
	case ch == '$' && !wordByte(l.before):
		if tag := bodyTag(rest); tag != "" {
			l.quote, l.tag = '$', tag
			l.fresh = false
			return len(tag)
		}
	}
	l.fresh = false
	return 1
}

// bodyTag is the $…$ that begins a body; empty where there is none.
func bodyTag(rest []byte) string {
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == '$':
			return string(rest[:i+1])
		case !wordByte(rest[i]) || i == 1 && rest[i] >= '0' && rest[i] <= '9':
			return ""
		}
	}
	return ""
}

func wordByte(ch byte) bool {
	return ch == '_' || ch >= '0' && ch <= '9' || ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch >= 0x80
}
