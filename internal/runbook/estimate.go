package runbook

import (
	"cmp"
	"encoding/json"
	"time"

	"cairn/internal/estimate"
	"cairn/internal/history"
	"cairn/internal/plan"
)

// assumptions are how long a step takes where nothing was measured: from runs
// on ordinary disks, halved.
var assumptions = map[string]estimate.Guess{
	kindSnapshot:         {Fixed: 5 * time.Second},
	kindDeleteSnapshot:   {Fixed: 30 * time.Second},
	kindRollback:         {Fixed: 20 * time.Second},
	kindStart:            {Fixed: 15 * time.Second},
	kindCheckRollback:    {Fixed: 2 * time.Second},
	kindGuestProtect:     {Fixed: time.Second},
	kindGuestRestore:     {Fixed: 10 * time.Second, Rate: 60 << 20},
	kindCheckRestored:    {Fixed: 2 * time.Second},
	kindUnplug:           {Fixed: time.Second},
	kindCheckGuest:       {Fixed: time.Minute},
	kindDestroy:          {Fixed: 10 * time.Second},
	kindShutdown:         {Fixed: 30 * time.Second},
	kindConfigure:        {Fixed: 2 * time.Second},
	kindJobs:             {Fixed: time.Second},
	kindHA:               {Fixed: time.Second},
	kindCheckProtected:   {Fixed: 2 * time.Second},
	kindDump:             {Fixed: 2 * time.Second, Rate: 30 << 20},
	kindBase:             {Fixed: 3 * time.Second, Rate: 70 << 20},
	kindPostgresForget:   {Fixed: 2 * time.Second},
	kindVerifyCopy:       {Fixed: time.Second, Rate: 200 << 20},
	kindVerifyTool:       {Fixed: time.Minute},
	kindVerdict:          {},
	kindVerifyDump:       {Fixed: time.Second, Rate: 200 << 20},
	kindDatabaseRoles:    {Fixed: time.Second},
	kindDatabaseRestore:  {Fixed: 2 * time.Second, Rate: 5 << 20},
	kindDatabaseValidate: {Fixed: 2 * time.Second, Rate: 100 << 20},
	kindDatabaseSwap:     {Fixed: 2 * time.Second},
	kindFlushWAL:         {Fixed: 2 * time.Second},
	kindCopyBase:         {Fixed: time.Second, Rate: 70 << 20},
	kindRecover:          {Fixed: 8 * time.Second, Rate: 20 << 20},
	kindExtract:          {Fixed: 2 * time.Second, Rate: 30 << 20},
	kindDiscard:          {Fixed: 2 * time.Second},
	kindLook:             {Fixed: 2 * time.Second},
	kindPromote:          {Fixed: 10 * time.Second},
	kindVerifyAll:        {Fixed: time.Second, Rate: 200 << 20},
	kindGlobals:          {Fixed: time.Second},
	kindRestoreAll:       {Fixed: 2 * time.Second, Rate: 8 << 20},
	kindValidateAll:      {Fixed: 2 * time.Second, Rate: 20 << 20},
	kindNameAll:          {Fixed: 2 * time.Second},
	kindGuard:            {Fixed: time.Second},
	kindWait:             {Fixed: time.Second},
	kindUnlock:           {Fixed: 3 * time.Second},
	kindInit:             {Fixed: 3 * time.Second},
	kindResticBackup:     {Fixed: 5 * time.Second, Rate: 50 << 20},
	kindCopy:             {Fixed: 5 * time.Second, Rate: 10 << 20},
	kindForgetOld:        {Fixed: 3 * time.Second},
	kindPrune:            {Fixed: 30 * time.Second},
	kindCheck:            {Fixed: 5 * time.Second, Rate: 50 << 20},
	kindRestore:          {Fixed: 3 * time.Second, Rate: 50 << 20},
	kindVerify:           {Fixed: 3 * time.Second, Rate: 50 << 20},
	kindSwap:             {Fixed: time.Second},
	kindSync:             {Fixed: 10 * time.Second},
	kindUnstore:          {Fixed: 10 * time.Second},
	kindUnmount:          {Fixed: 2 * time.Second},
	kindBackup:           {Fixed: 10 * time.Second, Rate: 40 << 20},
	kindAttach:           {Fixed: 5 * time.Second},
	kindFirewall:         {Fixed: 2 * time.Second},
	kindLineage:          {Fixed: 2 * time.Second},
	kindFetchFile:        {Fixed: 20 * time.Second, Rate: 20 << 20},
	kindRejob:            {Fixed: 2 * time.Second},
	kindServerJobs:       {Fixed: 2 * time.Second},
	kindPerson:           {Fixed: 45 * time.Minute}, // where its plan does not know better
	kindGuests:           {Fixed: time.Minute, Rate: 60 << 20},
	kindLeft:             {},
	kindProve:            {Fixed: 20 * time.Second},
	kindFetch:            {Fixed: 10 * time.Second, Rate: 5 << 20}, // over a line of 40 Mbit/s
	kindLayout:           {Fixed: 30 * time.Second},                // 65,536 directories
	kindHold:             {Fixed: time.Second},
	kindDiskThere:        {Fixed: time.Second},
	kindHoldServer:       {Fixed: time.Second},
	kindReleaseServer:    {Fixed: time.Second},
	kindLookServer:       {Fixed: time.Second},
	kindCheckStore:       {Fixed: 5 * time.Second, Rate: 100 << 20},
}

// estimate predicts a step that moves bytes. What it works on and what it reads
// from stand in its plan's target and its arguments.
func (l *Lab) estimate(target, kind string, args json.RawMessage, bytes int64) plan.Estimate {
	var from struct{ Source, Storage string }
	_ = json.Unmarshal(args, &from) // other shapes name no medium
	m := estimate.Of(l.past(), kind, cmp.Or(from.Source, from.Storage), target, assumptions[kind])
	median, p90 := m.Predict(bytes)
	return plan.Estimate{Median: median, P90: p90, Measured: m.Runs}
}

// measured are the runs that estimates rest on, newest first.
func measured(past func() []history.Measurement) []estimate.Run {
	if past == nil {
		return nil
	}
	var runs []estimate.Run
	for _, m := range past() {
		if m.OK {
			runs = append(runs, m.Run())
		}
	}
	return runs
}

// total is the sum of the steps: measured only when every step is. The sum of
// their p90 is on the safe side: they are rarely all slow at once.
func total(steps []plan.Step) plan.Estimate {
	var sum plan.Estimate
	for i, s := range steps {
		sum.Median += s.Estimate.Median
		sum.P90 += s.Estimate.P90
		if i == 0 || s.Estimate.Measured < sum.Measured {
			sum.Measured = s.Estimate.Measured
		}
	}
	return sum
}
