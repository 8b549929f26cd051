package backup

// Keep is a retention policy: how many distinct periods of each kind hold a
// copy. It counts periods, not copies: five daily means five distinct days.
type Keep struct {
	Last    int `toml:"last" json:"last,omitempty"`
	Hourly  int `toml:"hourly" json:"hourly,omitempty"`
	Daily   int `toml:"daily" json:"daily,omitempty"`
	Weekly  int `toml:"weekly" json:"weekly,omitempty"`
	Monthly int `toml:"monthly" json:"monthly,omitempty"`
	Yearly  int `toml:"yearly" json:"yearly,omitempty"`
}
