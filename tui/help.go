package tui

import "strings"

// helpScreen lists the keys of the screen below it, with why one cannot run.
func helpScreen(m *Model) screen {
	of := m.top()
	if len(m.stack) > 0 && of.id() == "help" {
		return nil
	}
	return &listing{
		name: "help",
		items: func(m *Model, w int) ([]line, []item) {
			var out []item
			for _, b := range m.keysOf(of) {
				out = append(out, helpItem(m, b, w))
			}
			for _, text := range []string{
				"Status: ok, warning, unknown, CRITICAL. Unknown means that a system could not be read: what is shown of it is old.",
				"Age: of the newest copy of the asset that is worst off in a source, not of the newest copy of all. Without a schedule: of the newest.",
				"3-2-1 holds for an asset with 3 copies on 2 media, 1 of them off-site, the live one counted. A late one counts.",
				"Copies: verified (ver): every byte was read; in snap (in): inside the copy of a datastore or directory; proven: compared with what lies here, dumps by hash, backups by name and size; late names the copy that is.",
				"Proven, from least to most: exists (it is listed), metadata read, every byte read (verified), restored, starts, content checked. PITR: how far back any moment of a server can be recovered, from a base backup and its WAL.",
				"You lose: the time since the newest usable copy. Back in: half of the runs took no longer; p90: nine of ten. Both are measured, or assumed where too few runs were.",
			} {
				var lines []line
				for _, row := range wrap(text, w-1) {
					lines = append(lines, words(row))
				}
				out = append(out, item{lines: []line{nil}}, item{id: text, lines: lines})
			}
			return []line{say(strong, " Keys of: "+of.title())}, out
		},
	}
}

func helpItem(m *Model, b binding, w int) item {
	var names []string
	for _, k := range b.keys {
		names = append(names, keyName(k))
	}
	const left = 17 // with the space before the text
	key := pad(cut(say(strong, strings.Join(names, " ")), left-1), left)
	why := b.why
	if why == "" && b.grade > safe {
		why = m.readOnly()
	}
	text := b.help
	switch b.grade {
	case reversible:
		text += " (asks first)"
	case destructive:
		text += " (a review first, then a name typed)"
	}
	tone := plain
	if why != "" {
		text, tone = text+" — not now: "+why, faint
	}
	out := item{id: b.keys[0]}
	for _, row := range wrap(text, max(w-left-1, 1)) {
		out.lines = append(out.lines, cut(key.add(span{row, tone}), w))
		key = words(spaces(left))
	}
	return out
}
