//go:build !faults

package operation

// dieAfter is where a binary built with the tag faults, for tests, kills itself.
func dieAfter(string, int) {}
