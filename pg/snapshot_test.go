package pg

import "testing"

// A role may have a limit for transactions since PostgreSQL 17: a dump is longer.
func TestSnapshotHasNoLimit(t *testing.T) {
	c := running(t)
	since17 := majorOf(c.ask(t, "postgres", "SHOW server_version")) >= 17
	client := acting(t, c, func(cfg *Config) {
		if since17 {
			cfg.DSN += " options='-c transaction_timeout=1h'"
		}
	})
	snap, err := client.server.hold(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer snap.close(t.Context())
	var limits string
	err = snap.tx.QueryRow(t.Context(), `SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
		WHERE name IN ('transaction_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout') AND setting <> '0'`).Scan(nullText{&limits})
	if err != nil || limits != "" {
		t.Errorf("%s %v", limits, err)
	}
}
