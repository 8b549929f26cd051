package checks

import (
	"fmt"
	"math"
	"slices"
	"time"

	"cairn/internal/backup"
)

// fullRange is when a disk will be full: between two dates. Zero: no estimate;
// a zero latest with an earliest: it may as well stop growing.
type fullRange struct{ earliest, latest time.Time }

// forecast extrapolates a disk's fill level. The slopes between all pairs of
// samples at least a day apart are ordered, and the quarter at each end is left
// out: prunes, collections and single large copies move them little. There is
// none for less than a week of samples, nor when the level is flat or falls.
func forecast(samples []FillSample, available int64, now time.Time) fullRange {
	points := usablePoints(samples, now)
	if len(points) < 3 || available <= 0 || points[len(points)-1].At.Sub(points[0].At) < forecastSpan {
		return fullRange{}
	}
	var slopes []float64 // bytes a second
	for i, a := range points {
		for _, b := range points[i+1:] {
			if span := b.At.Sub(a.At); span >= forecastPair {
				slopes = append(slopes, float64(b.Used-a.Used)/span.Seconds())
			}
		}
	}
	if len(slopes) == 0 {
		return fullRange{}
	}
	slices.Sort(slopes)
	middle := slopes[len(slopes)/2]
	total := float64(points[len(points)-1].Total)
	if middle <= 0 || middle*forecastWindow.Seconds() < forecastFlat*total {
		return fullRange{}
	}
	slow, fast := slopes[len(slopes)/4], slopes[len(slopes)*3/4]
	out := fullRange{earliest: when(now, available, fast)}
	if out.earliest.IsZero() {
		return fullRange{}
	}
	out.latest = when(now, available, slow)
	return out
}

// when the available bytes are used up at a rate; zero: never, or too far off.
func when(now time.Time, available int64, rate float64) time.Time {
	if rate <= 0 {
		return time.Time{}
	}
	seconds := float64(available) / rate
	if math.IsNaN(seconds) || seconds > forecastMax.Seconds() {
		return time.Time{}
	}
	return now.Add(time.Duration(seconds * float64(time.Second)))
}

// usablePoints are the samples of the window, in order of time, of the disk that
// is in now (another one that takes its turn has another size), thinned out.
func usablePoints(samples []FillSample, now time.Time) []FillSample {
	var points []FillSample
	for _, s := range samples {
		if age := now.Sub(s.At); age >= 0 && age <= forecastWindow && s.Total > 0 && s.Used >= 0 {
			points = append(points, s)
		}
	}
	slices.SortStableFunc(points, func(a, b FillSample) int { return a.At.Compare(b.At) })
	if len(points) == 0 {
		return nil
	}
	total := points[len(points)-1].Total
	points = slices.DeleteFunc(points, func(s FillSample) bool { return s.Total != total })
	if step := (len(points) + forecastPoints - 1) / forecastPoints; step > 1 {
		thin := points[:0]
		for i := range points {
			if i%step == 0 || i == len(points)-1 {
				thin = append(thin, points[i])
			}
		}
		points = thin
	}
	return points
}

func judgeForecast(name string, full fullRange, now time.Time) []Problem {
	if full.earliest.IsZero() || full.earliest.Sub(now) > fullSoon {
		return nil
	}
	text := "in " + backup.Age(full.earliest.Sub(now)) + " or later"
	if !full.latest.IsZero() {
		text = fmt.Sprintf("in %s to %s", backup.Age(full.earliest.Sub(now)), backup.Age(full.latest.Sub(now)))
	}
	return []Problem{found(backup.Warning, "disk-full-soon", "disk."+name,
		fmt.Sprintf("Disk %s will be full %s at the pace of the last weeks, the limit is %s", name, text, backup.Age(fullSoon)),
		"Keep less, collect garbage, or order a larger disk")}
}
