package pbs

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// store is one datastore as /admin/datastore and /status/datastore-usage list it.
type store struct {
	Store       text              `json:"store"`
	Mount       text              `json:"mount-status"`
	Maintenance text              `json:"maintenance"`
	Backend     text              `json:"backend-type"` // since PBS 4
	Total       number            `json:"total"`
	Used        number            `json:"used"`
	Avail       number            `json:"avail"`
	History     []json.RawMessage `json:"history"`
	From        number            `json:"history-start"`
	Step        number            `json:"history-delta"`
	Full        *number           `json:"estimated-full-date"`
	Err         text              `json:"error"`
}

// stores reads the datastores that the token may see, by name.
func (c *Client) stores(ctx context.Context) (map[string]store, error) {
	return c.storeList(ctx, request{what: "reading the datastores", path: "/admin/datastore"})
}

// usages reads how full they are: one call for all.
func (c *Client) usages(ctx context.Context) (map[string]store, error) {
	return c.storeList(ctx, request{what: "reading the usage of the datastores", path: "/status/datastore-usage"})
}

func (c *Client) storeList(ctx context.Context, rq request) (map[string]store, error) {
	all, _, err := rows[store](ctx, c, rq)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]store, len(all))
	for _, s := range all {
		byName[string(s.Store)] = s
	}
	return byName, nil
}

// far is how far ahead an estimate is believed: PBS extrapolates one month.
const far = 5 * 365 * 24 * time.Hour

// The bounds of a usage history, in seconds and samples: PBS sends about 1,500,
// each of half an hour.
const (
	longestStep = 7 * 24 * 3600
	mostSamples = 10_000
)

func (s store) usage(now time.Time) Usage {
	u := Usage{Total: s.Total.count(), Used: s.Used.count(), Available: s.Avail.count(), Err: firstLine(string(s.Err))}
	u.Full, u.Trend = s.estimate(now)
	start, step := s.From.time(), time.Duration(s.Step.count())
	if start.IsZero() || step <= 0 || step > longestStep {
		return u
	}
	for i, raw := range s.History[:min(len(s.History), mostSamples)] {
		var ratio *float64
		at := start.Add(time.Duration(i) * step * time.Second)
		if json.Unmarshal([]byte(strings.Trim(string(raw), `"`)), &ratio) != nil || ratio == nil || at.After(now.Add(step*time.Second)) {
			continue
		}
		if *ratio >= 0 && *ratio <= 1 {
			u.History = append(u.History, Sample{At: at, Ratio: *ratio})
		}
	}
	return u
}

// estimate reads the date at which PBS expects the datastore to be full: no
// date is too little data, 0 flat, one in the past shrinking.
func (s store) estimate(now time.Time) (time.Time, Trend) {
	switch {
	case s.Full == nil || !s.Full.known || s.Full.value == -1: // as it says where it could not look
		return time.Time{}, TooLittleData
	case s.Full.value == 0:
		return time.Time{}, Flat
	case s.Full.value < now.Unix():
		return time.Time{}, Shrinking
	case s.Full.value > now.Add(far).Unix():
		return time.Time{}, FarAway
	}
	return s.Full.time(), ""
}

// maintenanceWords turns PBS's property string (offline,message="disk swap")
// into words: "offline: disk swap".
func maintenanceWords(property string) string {
	mode, message := "", ""
	for rest := strings.TrimSpace(property); rest != ""; {
		var key, value string
		key, value, rest = nextProperty(rest)
		switch key {
		case "message":
			message = value
		case "type", "":
			mode = value
		}
	}
	if message != "" {
		return firstLine(mode + ": " + message)
	}
	return firstLine(mode)
}

// nextProperty cuts key=value or value off the front; a value may be quoted.
func nextProperty(s string) (key, value, rest string) {
	cut := strings.IndexAny(s, `=,"`)
	if cut >= 0 && s[cut] == '=' {
		key, s = strings.TrimSpace(s[:cut]), s[cut+1:]
	}
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ",")
		return key, strings.TrimSpace(value), strings.TrimSpace(rest)
	}
	var out strings.Builder
	i := 1
	for ; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out.WriteByte(s[i])
	}
	rest = s[min(i+1, len(s)):]
	return key, out.String(), strings.TrimSpace(strings.TrimPrefix(rest, ","))
}

// unreadable says why a walk of the datastore would fail, by its maintenance
// mode: PBS still reads one that is read-only or refreshes its cloud cache.
func unreadable(maintenance string) bool {
	mode, _, _ := strings.Cut(maintenance, ":")
	return mode == "offline" || mode == "delete" || mode == "unmount"
}

// storePath is the path of what belongs to the datastore.
func (c *Client) storePath(what string) string {
	return "/admin/datastore/" + url.PathEscape(c.cfg.Datastore) + "/" + what
}
