package tui

import "regexp"

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")
