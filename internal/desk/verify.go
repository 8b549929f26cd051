package desk

import (
	"context"

	"cairn/internal/plan"
)

// VerifyPostgres plans to read copies of a configured server to their last byte:
// part is "", "dump", "base", a database, or another tool's name; all is each copy
// instead of the newest ones.
func (d *Desk) VerifyPostgres(ctx context.Context, source, part string, all bool) (plan.Plan, error) {
	return d.free(d.lab.Databases.Verify(ctx, source, part, all))
}
