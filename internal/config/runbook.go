package config

// Runbook is the table [runbook]: what the printed runbook says that no system
// can tell.
type Runbook struct {
	WriteTo  string            `toml:"write_to"` // file that is kept fresh; empty: none
	Contacts []Contact         `toml:"contacts"`
	Notify   []string          `toml:"notify"` // program and arguments that get a notice on standard input when an incident opens or closes; empty: none
	Keys     map[string]string `toml:"keys"`   // where the key of a source is kept, such as "restic.cloud"; never the key
}

// Contact is somebody to call.
type Contact struct {
	Name  string `toml:"name"`
	For   string `toml:"for"`
	Reach string `toml:"reach"` // telephone, mail, address
}
