//go:build race

package tui

// raceDetector says that the program needs several times its usual memory.
const raceDetector = true
