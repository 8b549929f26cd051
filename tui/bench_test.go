package tui

import (
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// BenchmarkKey is what one cursor key costs, from the message to the frame.
func BenchmarkKey(b *testing.B) {
	for _, page := range []struct {
		name string
		keys []string
	}{{"board", nil}, {"assets", []string{"a"}}, {"proxmox", []string{"enter"}}} {
		b.Run(page.name, func(b *testing.B) {
			m := drawer(Options{First: manyGuests(), Location: noon.Location(), Now: func() (t time.Time) { return noon }})
			m.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
			m.View()
			for _, k := range page.keys {
				m.Update(keyOf(k))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Update(keyOf([]string{"j", "k"}[i%2]))
				m.View()
			}
		})
	}
}
