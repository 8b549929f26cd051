// Package background keeps a start from asking the terminal for its background
// colour. Bubble Tea's own initialisation asks for every subcommand, and waits
// 5 s on a terminal that does not answer; once the answer is set it asks no
// more. Packages are initialised in the order of their import paths, so this
// one, which imports lipgloss only, comes before Bubble Tea's.
package background

import "github.com/charmbracelet/lipgloss"

func init() { lipgloss.SetHasDarkBackground(true) }
