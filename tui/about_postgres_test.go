package tui

import (
	"strings"
	"testing"
	"time"

	"cairn/pg"
)

func TestWALThatWasSeenOfAnotherTool(t *testing.T) {
	m := &Model{}
	m.o.Location = time.UTC
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	whole := pg.Archive{Segments: 70, From: at.Add(-time.Hour), To: at}
	torn := whole
	torn.Gaps = []pg.Gap{{First: "A", Last: "B", Count: 2}}
	for _, c := range []struct {
		seen pg.ToolWAL
		tone tone
		text string
	}{
		{pg.ToolWAL{Archive: whole}, plain, "from 2026-11-21 11:00:00 UTC to 2026-11-21 12:00:00 UTC; 70 WAL segments"},
		{pg.ToolWAL{Archive: torn}, alarm, "WAL is missing: A to B"},
		{pg.ToolWAL{Archive: pg.Archive{Segments: 1}}, caution, "no point in time"},
		{pg.ToolWAL{Unknown: "its repository lies in s3"}, doubt, "not known: its repository lies in s3"},
	} {
		if tone, text := m.toolWAL(c.seen); tone != c.tone || !strings.Contains(text, c.text) {
			t.Errorf("%+v: %v %q", c.seen, tone, text)
		}
	}
}
