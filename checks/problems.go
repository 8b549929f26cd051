package checks

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cairn/internal/backup"
)

// found makes a problem. The grade says how bad it is: names of what is
// affected, or NAME=NUMBER; an acknowledgement ends when one is added or grows.
func found(status backup.Status, code, subject, summary, hint string, grade ...string) Problem {
	return Problem{ID: code + ":" + subject, Code: code, Subject: subject, Status: status,
		Summary: summary, Hint: hint, Fingerprint: fingerprint(status, grade)}
}

func fingerprint(status backup.Status, grade []string) string {
	sorted := slices.Clone(grade)
	slices.Sort(sorted)
	return strings.Join(append([]string{status.String()}, slices.Compact(sorted)...), "|")
}

// covers says whether an acknowledgement still holds for what the problem has
// become: no worse a status, nothing more affected, no number grown.
func covers(acknowledged, now string) bool {
	if acknowledged == now {
		return true
	}
	old, current := strings.Split(acknowledged, "|"), strings.Split(now, "|")
	var before, after backup.Status
	if before.UnmarshalText([]byte(old[0])) != nil || after.UnmarshalText([]byte(current[0])) != nil || after > before {
		return false
	}
	had := map[string]float64{}
	for _, part := range old[1:] {
		name, value := grade(part)
		had[name] = value
	}
	for _, part := range current[1:] {
		name, value := grade(part)
		if was, ok := had[name]; !ok || value > was {
			return false
		}
	}
	return true
}

func grade(part string) (string, float64) {
	if i := strings.LastIndexByte(part, '='); i >= 0 {
		if value, err := strconv.ParseFloat(part[i+1:], 64); err == nil {
			return part[:i], value
		}
	}
	return part, 0
}

// settle gives every problem its age and acknowledgement, leaves out doubles
// and sorts: worst first, the acknowledged ones last.
func settle(all []Problem, past Past, now time.Time) []Problem {
	byID := make(map[string]int, len(all))
	out := make([]Problem, 0, len(all))
	for _, p := range all {
		if i, ok := byID[p.ID]; ok {
			if p.Status > out[i].Status {
				out[i] = p
			}
			continue
		}
		byID[p.ID] = len(out)
		out = append(out, p)
	}
	for i := range out {
		p := &out[i]
		p.Since = now
		if since, ok := past.Since[p.ID]; ok && !since.IsZero() && !since.After(now) {
			p.Since = since
		}
		if ack, ok := past.Acks[p.ID]; ok {
			p.Acknowledged = covers(ack, p.Fingerprint)
		}
	}
	slices.SortStableFunc(out, func(a, b Problem) int {
		if a.Acknowledged != b.Acknowledged {
			if a.Acknowledged {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(b.Status, a.Status), strings.Compare(a.Subject, b.Subject), strings.Compare(a.Code, b.Code))
	})
	return out
}

// worstOf is the status that counts: of all that nobody has acknowledged.
func worstOf(problems []Problem) backup.Status {
	worst := backup.OK
	for _, p := range problems {
		if !p.Acknowledged {
			worst = max(worst, p.Status)
		}
	}
	return worst
}

// listed writes at most namesShown names and counts the rest.
func listed(names []string) string {
	if len(names) <= namesShown+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:namesShown], ", "), len(names)-namesShown)
}

// counted writes "1 guest" or "3 guests".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	switch {
	case strings.HasSuffix(noun, "y"):
		noun = strings.TrimSuffix(noun, "y") + "ies"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// verb chooses by number: verb(n, "was", "were").
func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// percent writes a share without decimals, never 100 % for less.
func percent(ratio float64) string {
	return strconv.Itoa(int(ratio*100)) + " %"
}

// size writes bytes as a person reads them.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return strconv.FormatInt(n, 10) + " B"
	}
	value, names := float64(n)/unit, "KMGTPE"
	i := 0
	for value >= unit && i < len(names)-1 {
		value /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", value, names[i])
}

// sentence makes an error's text fit into a summary: one line, no final stop.
func sentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.TrimRight(text, ".")
}

// capital makes text begin as a sentence does.
func capital(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	if n == 0 {
		return text
	}
	return string(unicode.ToUpper(r)) + text[n:]
}
