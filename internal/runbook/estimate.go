package runbook

import (
	"slices"
	"time"

	"cairn/internal/history"
	"cairn/internal/plan"
)

// assumed is how long a step takes where nothing was measured: a fixed part and
// a rate in bytes a second, from runs on ordinary disks, halved.
type assumed struct {
	fixed time.Duration
	rate  float64 // 0: size does not matter
}

var assumptions = map[string]assumed{
	kindSnapshot:         {fixed: 5 * time.Second},
	kindDeleteSnapshot:   {fixed: 30 * time.Second},
	kindRollback:         {fixed: 20 * time.Second},
	kindStart:            {fixed: 15 * time.Second},
	kindCheckRollback:    {fixed: 2 * time.Second},
	kindGuestProtect:     {fixed: time.Second},
	kindGuestRestore:     {fixed: 10 * time.Second, rate: 60 << 20},
	kindCheckRestored:    {fixed: 2 * time.Second},
	kindUnplug:           {fixed: time.Second},
	kindCheckGuest:       {fixed: time.Minute},
	kindDestroy:          {fixed: 10 * time.Second},
	kindShutdown:         {fixed: 30 * time.Second},
	kindConfigure:        {fixed: 2 * time.Second},
	kindJobs:             {fixed: time.Second},
	kindHA:               {fixed: time.Second},
	kindCheckProtected:   {fixed: 2 * time.Second},
	kindDump:             {fixed: 2 * time.Second, rate: 30 << 20},
	kindBase:             {fixed: 3 * time.Second, rate: 70 << 20},
	kindPostgresForget:   {fixed: 2 * time.Second},
	kindVerifyDump:       {fixed: time.Second, rate: 200 << 20},
	kindDatabaseRoles:    {fixed: time.Second},
	kindDatabaseRestore:  {fixed: 2 * time.Second, rate: 5 << 20},
	kindDatabaseValidate: {fixed: 2 * time.Second, rate: 100 << 20},
	kindDatabaseSwap:     {fixed: 2 * time.Second},
	kindFlushWAL:         {fixed: 2 * time.Second},
	kindCopyBase:         {fixed: time.Second, rate: 70 << 20},
	kindRecover:          {fixed: 8 * time.Second, rate: 20 << 20},
	kindExtract:          {fixed: 2 * time.Second, rate: 30 << 20},
	kindDiscard:          {fixed: 2 * time.Second},
	kindGuard:            {fixed: time.Second},
	kindWait:             {fixed: time.Second},
	kindUnlock:           {fixed: 3 * time.Second},
	kindInit:             {fixed: 3 * time.Second},
	kindResticBackup:     {fixed: 5 * time.Second, rate: 50 << 20},
	kindCopy:             {fixed: 5 * time.Second, rate: 10 << 20},
	kindForgetOld:        {fixed: 3 * time.Second},
	kindPrune:            {fixed: 30 * time.Second},
	kindCheck:            {fixed: 5 * time.Second, rate: 50 << 20},
	kindRestore:          {fixed: 3 * time.Second, rate: 50 << 20},
	kindVerify:           {fixed: 3 * time.Second, rate: 50 << 20},
	kindSwap:             {fixed: time.Second},
	kindSync:             {fixed: 10 * time.Second},
	kindUnstore:          {fixed: 10 * time.Second},
	kindUnmount:          {fixed: 2 * time.Second},
	kindBackup:           {fixed: 10 * time.Second, rate: 40 << 20},
}

const (
	fewRuns   = 5   // below, the spread of runs is not known
	wideGuess = 2.5 // p90 of what was measured in fewer runs, as a factor on the median
)

// estimate predicts a step of kind that moves bytes: from runs of its kind, by
// their seconds, or by their seconds a byte where size matters; else assumed.
func estimate(past []history.Measurement, kind string, bytes int64) plan.Estimate {
	var took []time.Duration
	for _, m := range past {
		switch {
		case m.Kind != kind || !m.OK:
		case bytes > 0 && m.Bytes > 0:
			took = append(took, time.Duration(float64(m.Took)*float64(bytes)/float64(m.Bytes)))
		default:
			took = append(took, m.Took)
		}
	}
	if len(took) == 0 {
		a := assumptions[kind]
		d := a.fixed
		if a.rate > 0 {
			d += time.Duration(float64(bytes) / a.rate * float64(time.Second))
		}
		return plan.Estimate{Median: d, P90: scale(d, wideGuess)}
	}
	slices.Sort(took)
	e := plan.Estimate{Median: took[len(took)/2], Measured: len(took)}
	e.P90 = scale(e.Median, wideGuess)
	if len(took) >= fewRuns {
		e.P90 = max(e.Median, took[(len(took)*9)/10])
	}
	return e
}

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }

// total is the sum of the steps: measured only when every step is.
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
