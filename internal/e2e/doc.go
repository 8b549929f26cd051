// Package e2e holds the tests that run cairn whole, as a person or a script
// would: the built program, real clients, a lab on loopback. It has no code of
// its own.
package e2e
